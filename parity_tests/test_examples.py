"""What the examples show is what they say, and the page that stands on them follows from it."""

import json
import runpy
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.weights.initial import initial
from efficientnet_rosetta.torch_impl.efficientnet import MBConv
from parity_tests.peers.operators import declare

ROOT = Path(__file__).parent.parent
PROGRAM = runpy.run_path(str(ROOT / "examples" / "what_went_wrong.py"))
PAGE = runpy.run_path(str(ROOT / "docs" / "what_went_wrong.py"))
STEPS = 44  # an epoch of the page's runs


def rate(name, step):
    return PROGRAM["recipes"](30)[name].optimization(PROGRAM["BATCH"], STEPS).rate(step)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        # Half of the warm-up; then after 5 epochs, 2 periods of 2.4; then after 24, 10 of them.
        ("recipe", {100: 9.0909e-4, 110: 1e-3, 220: 0.002 * 0.9409, 1056: 0.002 * 0.737424}),
        ("epsilon", {100: 9.0909e-4, 110: 1e-3, 220: 0.002 * 0.9409, 1056: 0.002 * 0.737424}),
        ("decay", {0: 0.0, 100: 9.0909e-4 / 91, 110: 1e-3 / 100, 220: 0.0018818 / 199}),
        ("gamma", {100: 9.0909e-4, 110: 1e-3, 220: 1.8e-6, 1056: 0.002 * 0.03**10}),
    ],
)
def test_rates_by_step(name, rates):
    assert {step: rate(name, step) for step in rates} == pytest.approx(rates, rel=1e-4)


def test_only_what_is_stated_is_changed():
    right = PROGRAM["recipes"](30)["recipe"]
    for name, changed in (
        ("epsilon", {"epsilon": 1.0}),
        ("gamma", {"factor": 0.03}),
        ("decay", {}),
    ):
        other = vars(PROGRAM["recipes"](30)[name])
        assert {key: value for key, value in other.items() if value != vars(right)[key]} == changed


def test_the_old_keras_argument_divides_the_rate():
    """As the page says, and what the newer versions do with it."""
    old = tf_keras.optimizers.legacy.RMSprop(learning_rate=1.0, decay=0.9)
    divided = PROGRAM["Divided"](lambda step: 1.0, 0.9)
    for step in (0, 1, 100):
        old.iterations.assign(step)
        assert float(old._decayed_lr(tf.float32)) == pytest.approx(divided(step), rel=1e-6)
    assert divided(100) == pytest.approx(1 / 91)
    with pytest.raises(ValueError, match="decay is deprecated"):
        tf_keras.optimizers.RMSprop(decay=0.9)
    with pytest.warns(UserWarning, match="`decay` is no longer supported and will be ignored"):
        assert keras.optimizers.RMSprop(decay=0.9).rho == 0.9


def test_a_fractional_step_size_never_comes():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2.4, gamma=0.97)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there was no step of the optimizer
        for _ in range(30):
            schedule.step()
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_late_excitation_gates_the_shift_of_the_projection_too():
    """With gates of a half, a shift of one by the last batch norm becomes a half."""
    network = resolve("b0", num_classes=10, **PROGRAM["NETWORK"])
    block = network.blocks[1]
    outputs = []
    for kind in (MBConv, PROGRAM["LateMBConv"]):
        torch.manual_seed(0)
        mbconv = kind(block, network.dialect).eval()
        torch.manual_seed(1)
        for conv in (mbconv.depthwise_conv, mbconv.project_conv, mbconv.expand_conv):
            nn.init.normal_(conv.weight)
        for conv in (mbconv.se_reduce, mbconv.se_expand):
            nn.init.zeros_(conv.weight)
        nn.init.ones_(mbconv.project_bn.bias)
        with torch.no_grad():
            outputs.append(mbconv(torch.randn(2, block.in_channels, 8, 8)))
    torch.testing.assert_close(outputs[1], outputs[0] - 0.5)


def test_late_excitation_changes_no_other_weight():
    network = resolve("b0", num_classes=10, **PROGRAM["NETWORK"])
    right, other = (initial(net) for net in (network, PROGRAM["late"](network)))
    assert list(right) == list(other)
    for name, array in right.items():
        assert ".se_" in name or (other[name] == array).all(), name
    block = network.blocks[-1]
    shape = (block.squeezed_channels, block.out_channels, 1, 1)
    assert other[f"{block.role}.se_reduce.weight"].shape == shape


def test_xception_lacks_batch_norm_in_its_separable_convolutions_only():
    models = []
    for normalised in PROGRAM["XCEPTIONS"].values():
        torch.manual_seed(0)
        models.append(PROGRAM["Xception"](10, normalised))
    norms = [
        [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
        for model in models
    ]
    of_convs = [
        f"{name}.bn"
        for name, module in models[0].named_modules()
        if isinstance(module, PROGRAM["SeparableConv"])
    ]
    assert len(of_convs) == 20
    assert set(norms[0]) - set(norms[1]) == set(of_convs)
    assert norms[1] == ["stem_bn", "flow.0.skip_bn", "flow.1.skip_bn", "flow.6.skip_bn"]
    first, second = (model.state_dict() for model in models)
    assert set(second) < set(first)
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_it_runs_from_end_to_end(tmp_path, monkeypatch, capsys):
    """One epoch of one step, on 33 images."""
    declare()  # Lightning's metrics import torchvision
    scans = load_digits(n_class=3)
    for number in range(42):
        path = tmp_path / "data" / str(scans.target[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((scans.images[number] * 255 / 16).astype(np.uint8)).save(path)
    out = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "data"), str(out), "--epochs", "1"])
    PROGRAM["main"]()
    found = json.loads(out.read_text())
    kept = json.loads(PAGE["RESULTS"].read_text())
    assert list(found["runs"]) == list(kept["runs"]) == [*PAGE["EFFICIENTNETS"], *PAGE["XCEPTIONS"]]
    for name, run in found["runs"].items():
        assert run.keys() == kept["runs"][name].keys()
        assert [row["epoch"] for row in run["epochs"]] == [1]
        assert all(np.isfinite(list(row.values())).all() for row in run["epochs"])
    assert capsys.readouterr().out.count("top-1") == len(found["runs"])
    assert "**" in PAGE["page"](found)  # however short


def test_the_page_is_what_its_results_say():
    results = json.loads(PAGE["RESULTS"].read_text())
    assert PAGE["page"](results) == (ROOT / "docs" / "what_went_wrong.md").read_text()


def test_what_the_page_says_in_words_holds():
    results = json.loads(PAGE["RESULTS"].read_text())
    runs = results["runs"]
    last = {name: run["epochs"][-1] for name, run in runs.items()}
    assert "`decay=0.9` and `gamma=0.03` stop learning" in " ".join(PAGE["page"](results).split())
    assert last["decay"]["loss"] > np.log(10)
    warm = runs["gamma"]["epochs"][4]
    assert last["gamma"]["loss"] > warm["loss"]
    assert last["gamma"]["val_top1"] > warm["val_top1"] + 0.4  # without any learning
    # Half the gradients are so small that epsilon alone divides.
    assert runs["recipe"]["gradient"] ** 2 < 1e-3 / 100
    assert last["epsilon"]["loss"] > last["recipe"]["loss"] + 0.1
    for name in ("epsilon", "excitation"):
        assert last[name]["val_top1"] > last["recipe"]["val_top1"] - 0.01
    first_at = PAGE["first_at"]
    assert first_at(runs["xception without"], 0.95) >= first_at(runs["xception"], 0.95) + 5
    for shares in runs["xception without"]["shares"]:
        assert max(shares[PAGE["MIDDLE"]]) < 0.05
