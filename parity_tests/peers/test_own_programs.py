"""timm's own V2s and KerasHub's networks of two paddings, against the programs of this project.

No two libraries compute these alike, so that a file of one is run here: in float64, at an even and
an odd side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.architectures import changed, resolve
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.port import port
from efficientnet_rosetta.common.edgetpu import EDGETPU
from efficientnet_rosetta.common.errors import UnfaithfulError
from efficientnet_rosetta.common.v2_rw import V2_RW
from efficientnet_rosetta.common.weights.canonical import load, save
from parity_tests.peers.test_lineage_peers import (
    TOLERANCE,
    double,  # noqa: F401, a fixture
    keras_hub_run,
    noise,
    of_timm,
    run_torch,
)
from parity_tests.support import BACKENDS, weights_of

SLOW = pytest.mark.slow
SIDES = (64, 65)  # paddings differ at the even one
OF_KERAS_HUB = [*EDGETPU.presets, "v2-rw-t", "v2-rw-s", "v2-rw-m"]


def images_of(side: int) -> np.ndarray:
    return noise(side)[:2]


def ours(path: Path, backend: str, images: np.ndarray) -> np.ndarray:
    """The logits of a canonical file in float64."""
    network, weights = load(path)
    module = get_backend(backend)
    model = module.build(changed(network, resolution=images.shape[2:]), "float64")
    module.load_weights(model, weights)
    return module.endpoints(model, images)["logits"]


def check_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() < TOLERANCE * expected.std()


@pytest.mark.parametrize(
    "preset",
    [pytest.param(name, marks=[] if name == "v2-test" else SLOW) for name in V2_RW.presets],
)
def test_what_timm_saves_is_computed_here_and_carried_back(preset, tmp_path):
    model = of_timm(preset, "")
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    done = port(tmp_path / "timm.pth", tmp_path / "x.safetensors", "canonical", run=False)
    assert (done.source.preset, done.source.dialect) == (preset, "pytorch")
    for side in SIDES:
        expected = run_torch(model, images_of(side))
        for backend in BACKENDS:
            check_alike(ours(tmp_path / "x.safetensors", backend, images_of(side)), expected)
    port(tmp_path / "x.safetensors", tmp_path / "back.pth", "timm", run=False)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    model.float().load_state_dict(back, strict=True)


@SLOW
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("preset", OF_KERAS_HUB)
def test_keras_hub_loads_its_mixed_networks_and_computes_as_here(preset, tmp_path):
    network = resolve(preset, resolution=64, dialect="keras-hub-mixed")
    save(tmp_path / "x.safetensors", network, weights_of(network))
    path = tmp_path / "x.weights.h5"
    done = port(tmp_path / "x.safetensors", path, "keras-hub", run=False)
    assert done.faithful
    found = inspect(path)
    assert (found.preset, found.dialect, found.layouts) == (
        preset,
        "keras-hub-mixed",
        ("keras-hub",),
    )
    assert (found.dialect_from, found.fingerprint) == ("the layout", done.fingerprint)
    for side in SIDES:
        expected = keras_hub_run(preset, path, images_of(side))
        for backend in BACKENDS:
            check_alike(ours(tmp_path / "x.safetensors", backend, images_of(side)), expected)


@SLOW
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("preset", ["edgetpu-s", "v2-rw-t"])
def test_timms_weights_are_others_in_keras_hub_and_the_reverse(preset, tmp_path):
    model = of_timm(preset, "")
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    hub, back = tmp_path / "hub.weights.h5", tmp_path / "back.pth"
    with pytest.raises(UnfaithfulError, match=r"runs .* with mixed padding and epsilon 1e-05"):
        port(tmp_path / "timm.pth", hub, "keras-hub", dialect="pytorch", run=False)
    port(tmp_path / "timm.pth", hub, "keras-hub", dialect="pytorch", run=False, force=True)
    at_64, at_65 = (
        np.abs(keras_hub_run(preset, hub, images_of(side)) - run_torch(model, images_of(side)))
        for side in SIDES
    )
    assert at_64.max() > 0.1 * run_torch(model, images_of(64)).std()
    assert at_65.max() < TOLERANCE * run_torch(model, images_of(65)).std()  # where all pad alike
    with pytest.raises(UnfaithfulError, match=r"these weights need mixed padding .* but timm"):
        port(hub, back, "timm", run=False)
