"""The claims beyond the forward pass hold, and every mistake breaks the one that guards it."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from common import claims
from common.backend import get_backend
from common.cli import app
from common.recipe import Cosine, Exponential, average_decay, is_decayed, scaled_rate
from common.spec import PRESETS, resolve
from common.weights import initial
from parity_tests.mutations import MUTATIONS, study
from parity_tests.support import LARGEST

SMALL = resolve(width=0.5, depth=0.5)  # all that a block can be, in ten blocks
QUICK = ("gradients", "initialisation")  # test_negative_controls.py has those of the forward pass


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.__name__)
def test_a_claim_holds(claim):
    found = list(claim(SMALL, 0))
    assert found
    for one in found:
        assert one.holds, one


@pytest.mark.slow
@pytest.mark.parametrize("preset", [name for name in PRESETS if name != LARGEST])
def test_every_claim_holds_for_every_preset(preset):
    for one in claims.check(resolve(preset)):
        assert one.holds, one


def test_a_claim_of_no_number_does_not_hold():
    assert not claims.Claim("x", "keras", float("nan"), 1.0, "").holds


# ------------------------------------------------------------------ mistakes


def caught(mutation):
    found = study(mutation)
    assert found.by, mutation.name
    return found


@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if m.claim in QUICK], ids=lambda m: m.name
)
def test_a_mistake_is_caught(mutation):
    caught(mutation)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation", [m for m in MUTATIONS if m.claim not in QUICK], ids=lambda m: m.name
)
def test_every_other_mistake_is_caught(mutation):
    caught(mutation)


def test_there_are_enough_mistakes_and_default_initialisation_hides_some():
    assert len(MUTATIONS) >= 40
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS)
    (epsilon,) = [m for m in MUTATIONS if m.name.startswith("epsilon 1e-5")]
    found = caught(epsilon)
    assert not found.seen_by_shapes
    assert not found.seen_on_default_initialisation


@pytest.mark.parametrize("library", ["torchvision", "transformers"])
def test_known_deviations_of_initialisation_are_seen(library):
    """torchvision's fan-out knows no groups; transformers draws N(0, 0.02), scales included."""
    network = resolve("b0")
    weights = initial(network)
    assert claims.unlikely(network, weights)[0] < claims.DEVIATIONS
    random = np.random.default_rng(0)
    for layer in network.layers:
        if library == "torchvision" and layer.kind == "depthwise_conv":
            std = np.sqrt(2 / (layer.kernel**2 * layer.out_channels))
        elif library == "transformers" and layer.kind == "conv":
            std = 0.02
        else:
            continue
        shape = layer.tensors[f"{layer.role}.weight"]
        weights[f"{layer.role}.weight"] = random.normal(0, std, shape).astype(np.float32)
    assert claims.unlikely(network, weights)[0] > 100


# ------------------------------------------------------------------ the rules themselves


def test_running_variance_of_pytorchs_own_batch_norm_is_n_over_n_minus_one_of_kerass():
    network = resolve(width=0.25, depth=0.25, resolution=32)
    backend = get_backend("torch")
    model = backend.build(network, "float64")
    x = torch.randn(4, network.stem.out_channels, 3, 3, dtype=torch.float64)
    theirs = torch.nn.BatchNorm2d(network.stem.out_channels, momentum=0.01).double()
    ours = model.stem.bn.train()
    theirs(x), ours(x)
    count = 4 * 3 * 3
    gained = [norm - 0.99 for norm in (theirs.running_var, ours.variance)]
    torch.testing.assert_close(gained[0], gained[1] * count / (count - 1))


def test_the_official_schedule_falls_where_the_warm_up_ends():
    steps = 1000  # of an epoch
    rate = Exponential(scaled_rate(0.016, 2048), 0.97, 2.4 * steps, warmup=5 * steps)
    assert rate(0) == 0
    assert rate(2500) == pytest.approx(0.064)
    assert rate(4999) == pytest.approx(0.128, rel=1e-3)
    assert rate(5000) == pytest.approx(0.128 * 0.97**2)  # 0.1204: decay counts from step 0
    assert rate(7199) == rate(5000)
    assert rate(7200) == pytest.approx(0.128 * 0.97**3)


def test_the_cosine_starts_at_its_base_and_ends_at_nothing():
    rate = Cosine(0.1, steps=11_000, warmup=1000)
    assert [rate(step) for step in (0, 500, 1000, 6000, 11_000, 12_000)] == pytest.approx(
        [0, 0.05, 0.1, 0.05, 0, 0]
    )


def test_the_average_warms_up():
    assert average_decay(0) == pytest.approx(0.1)
    assert average_decay(90) == pytest.approx(0.91)
    assert average_decay(10**6) == 0.9999


def test_l2_covers_all_but_batch_norm():
    network = resolve("b0")
    left = [name for name in network.tensors if not is_decayed(name)]
    assert all(name.rpartition(".")[0].endswith("bn") for name in left)
    assert len(left) == 4 * 49
    assert is_decayed("stages.3.blocks.0.se_reduce.bias")
    assert is_decayed("classifier.bias")


def test_one_step_of_rmsprop_is_that_of_the_released_code():
    """P-16's scalar example, by hand: five steps, the learning rate halved at the third."""
    from torch_impl.optimizer import RMSProp

    parameter = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    rate = Exponential(0.1, 0.5, 2)
    optimizer = RMSProp([{"params": [parameter]}], rate, 0.9, 0.9, 1e-3)
    value, square, momentum = 1.0, 1.0, 0.0
    for step in range(5):
        parameter.grad = 2 * parameter.detach()
        gradient = 2 * value
        square = 0.9 * square + 0.1 * gradient**2
        momentum = 0.9 * momentum + rate(step) * gradient / np.sqrt(square + 1e-3)
        value -= momentum
        optimizer.step()
        assert parameter.item() == pytest.approx(value, rel=1e-12)


# ------------------------------------------------------------------ the command line


def test_parity_full_prints_claims_and_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", (claims.initialisation,))
    arguments = ["parity", "b0", "--size", "64", "--full", "--json", str(tmp_path / "out.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "2 of 2 claims hold" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())["claims"]["b0"]
    assert [(claim["backend"], claim["holds"]) for claim in found] == [
        ("torch", True),
        ("keras", True),
    ]


def test_parity_full_fails_where_a_claim_is_broken(monkeypatch):
    broken = claims.Claim("gradients", "keras", 1.0, 1e-10, "stem.conv.weight")
    monkeypatch.setattr(claims, "CLAIMS", (lambda network, seed: iter([broken]),))
    done = CliRunner().invoke(app, ["parity", "b0", "--size", "64", "--full"])
    assert done.exit_code == 1
    assert "BROKEN  stem.conv.weight" in done.stdout
    assert "0 of 1 claims hold" in done.stdout


def test_mutants_prints_a_table():
    done = CliRunner().invoke(app, ["mutants", "--claim", "initialisation"])
    assert done.exit_code == 0, done.output
    assert "5 of 5 caught" in done.stdout
    done = CliRunner().invoke(app, ["mutants", "--claim", "nothing"])
    assert "unknown claim 'nothing'; choose from forward" in str(done.exception)
