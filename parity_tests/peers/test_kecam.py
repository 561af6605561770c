"""keras_cv_attention_models and keras-efficientnet-v2 load what is ported to them, and compute it.

The weights are timm's, calibrated; all is compared in float64.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.architectures import PRESETS
from efficientnet_rosetta.common.checkpoints.inspect import inspect
from efficientnet_rosetta.common.checkpoints.layouts import layout_of
from efficientnet_rosetta.common.checkpoints.port import port
from parity_tests.peers import kecam
from parity_tests.peers.of_timm import noise, of_timm, run_torch

KECAM, BEFORE = kecam.LIBRARIES
TOLERANCE = 1e-11  # of the deviation of the logits
SIDES = (64, 65)  # at which the paddings differ, and do not


def ported(folder: Path, preset: str) -> dict[int, np.ndarray]:
    """The file of a library's model, from timm's; and what it must compute, by side."""
    architecture = PRESETS[preset].name
    model = of_timm(
        preset,
        prefix="" if architecture == "edgetpu" else "tf_",
        scale=3.0 if architecture == "lite" else 1.0,
    )
    torch.save(model.state_dict(), folder / "timm.pth")
    (dialect,) = layout_of("kecam", preset).dialects[preset]
    to = folder / "weights.h5"
    done = port(folder / "timm.pth", to, "kecam", dialect=dialect.name, run=False)
    assert done.faithful
    return {side: run_torch(model, noise(side)[:2]) for side in SIDES}


def agrees(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.abs(found - expected).max() < TOLERANCE * expected.std()


def is_read(path: Path, preset: str, fingerprint: str) -> None:
    found = inspect(path)
    assert (found.layouts, found.preset, found.num_classes) == (("kecam",), preset, 1000), path
    assert found.fingerprint == fingerprint, path


MODELS = [
    (library, preset)
    for preset, architecture in PRESETS.items()
    for library in kecam.LIBRARIES
    if layout_of("kecam", preset) and preset not in ("l2", "v2-xl")  # these take gigabytes
    if library == KECAM or architecture.name in ("efficientnet", "v2")
]


@pytest.mark.parametrize(
    ("library", "preset"),
    [pytest.param(*one, marks=pytest.mark.slow, id="-".join(one)) for one in MODELS],
)
def test_on_keras_2(library, preset, tmp_path):
    """It loads every weight, computes what timm does, and what it saves is read."""
    expected = ported(tmp_path, preset)
    for side in SIDES:
        np.save(tmp_path / f"images-{side}.npy", noise(side)[:2].transpose(0, 2, 3, 1))
    kecam.run(library, preset, tmp_path)
    for side, theirs in expected.items():
        assert agrees(np.load(tmp_path / f"logits-{side}.npy"), theirs), side
    *whole, nested = (tmp_path / name for name in kecam.SAVED)
    for path in whole:
        is_read(path, preset, inspect(tmp_path / "weights.h5").fingerprint)
    assert (inspect(nested).preset, inspect(nested).num_classes) == (preset, 5)


@pytest.mark.parametrize(
    "preset",
    [
        "lite0",
        *(pytest.param(preset, marks=pytest.mark.slow) for preset in ("b0", "v2-b1", "edgetpu-l")),
    ],
)
def test_on_pytorch(preset, tmp_path):
    for side, theirs in ported(tmp_path, preset).items():
        path, saved = tmp_path / "weights.h5", tmp_path / f"{side}.h5"
        found = kecam.run_on_pytorch(preset, path, noise(side)[:2], saved)
        assert agrees(found, theirs), side
        is_read(saved, preset, inspect(path).fingerprint)
