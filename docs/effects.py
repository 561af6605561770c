"""Measures what single differences between the frameworks cost, for the pages that name a cost.

python docs/effects.py

Effects on logits are of B0 and of Xception at their own size on the built-in photograph, with
calibrated weights, in PyTorch in float64: the largest change of any logit over the spread of the
logits.  What changes the network sees the photograph as `rosetta parity` does; what changes the
image is compared with it as `rosetta evaluate` sees it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import torch

from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common import network as conventions
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, photograph
from efficientnet_rosetta.common.images.families import FAMILIES
from efficientnet_rosetta.common.images.family import Family
from efficientnet_rosetta.common.images.normalization import INCEPTION, RAW, Normalization
from efficientnet_rosetta.common.images.transforms import evaluation_image
from efficientnet_rosetta.common.images.usual import OFFICIAL
from efficientnet_rosetta.common.network import PYTORCH, TENSORFLOW, Network
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training.schedules import Exponential
from efficientnet_rosetta.common.weights.calibration import calibrated
from efficientnet_rosetta.torch_impl.optimizer import RMSProp

RESULT = Path(__file__).parent / "results" / "effects.json"
ODD = 225  # pixels: every map that a stride of two halves is odd, down to the last
MEAN_SIDE = 190  # of the first maps of B4, the largest that any of its means is taken over
# Rates of one weight's steps, lower from the middle on, and what is the same for all three rules.
STEPS, RATES = 10, Exponential(0.1, 0.1, 5)
DECAY, MOMENTUM, EPSILON = 0.9, 0.9, 1e-3
# What the dialects differ in, one by one and together.
OTHERWISE = {
    "epsilon": replace(TENSORFLOW, epsilon=PYTORCH.epsilon),
    "padding": replace(TENSORFLOW, padding=PYTORCH.padding),
    "dialect": replace(TENSORFLOW, epsilon=PYTORCH.epsilon, padding=PYTORCH.padding),
}
ONE = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # 0 to 1, and nothing else


def main() -> None:
    """Measure everything, and keep it."""
    found = {
        "schema": 1,
        "command": "python docs/effects.py",
        "versions": get_backend("torch").versions() | get_backend("keras").versions(),
        "logits": dict(logits()),
        "xception": dict(xception()),
        "weight": weights_after_steps(),
        "mean": means(),
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


# ------------------------------------------------------------------ logits


def logits() -> Iterator[tuple[str, float]]:
    """The change of the logits for everything that is done in another way."""
    network = resolve("b0")
    weights = calibrated(network)

    def error(network: Network, seen: np.ndarray, reference: np.ndarray) -> float:
        return change_of(run(network, weights, seen), reference)

    seen = shown(network)
    right = run(network, weights, seen)
    for name, dialect in OTHERWISE.items():
        other = changed(network, dialect=vars(dialect))
        yield name, error(other, seen, right)
        if name == "padding":
            odd = changed(network, resolution=ODD)
            larger = shown(odd)
            reference = run(odd, weights, larger)
            yield "padding at 225", error(changed(other, resolution=ODD), larger, reference)
    with patch.object(conventions, "same_padding", before):
        yield "same lower", error(network, seen, right)
    yield "BGR", error(network, seen[:, ::-1], right)

    right = run(network, weights, image(OFFICIAL))
    for name, normalization in (("0 to 1", ONE), ("-1 to 1", INCEPTION), ("0 to 255", RAW)):
        family = replace(OFFICIAL, normalization=normalization)
        yield name, error(network, image(family), right)
    for name in ("tpu", "keras-hub", "transformers"):
        yield f"resized as {name}", error(network, image(FAMILIES[name]), right)


def xception() -> Iterator[tuple[str, float]]:
    """The change of Xception's logits, where the only paddings that differ are of its poolings."""
    network = architectures.resolve("xception")
    weights = calibrated(network)
    seen = shown(network)
    right = run(network, weights, seen)
    for name, dialect in OTHERWISE.items():
        other = changed(network, dialect=vars(dialect))
        yield name, change_of(run(other, weights, seen), right)


def change_of(found: np.ndarray, reference: np.ndarray) -> float:
    """The largest change of any logit, in standard deviations of the logits."""
    (only,) = compare_endpoints("", {"logits": reference}, {"logits": found}).errors
    return only.largest


def before(size: int, kernel: int, stride: int, rule=conventions.same_padding) -> tuple[int, int]:
    """SAME with the odd zero before, ONNX's SAME_LOWER."""
    return rule(size, kernel, stride)[::-1]


def shown(network: Network) -> np.ndarray:
    """The photograph as `rosetta parity` shows it to a network, a batch of one."""
    return photograph(PHOTOGRAPH, network.in_channels, network.resolution)[None]


def image(family: Family) -> np.ndarray:
    """The photograph as a family evaluates it, a batch of one."""
    from PIL import Image

    pixels = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))
    return evaluation_image(pixels, resolve("b0").resolution, family)[None]


def run(network: Network, weights: dict, images: np.ndarray) -> np.ndarray:
    """The logits in float64."""
    backend = get_backend("torch")
    model = backend.build(network, "float64")
    backend.load_weights(model, weights)
    return backend.run(model, images)


# ------------------------------------------------------------------ one weight, three rules


def weights_after_steps() -> dict[str, float]:
    """A weight that starts at 1 after ten steps on half its square, the rate lower from the sixth.

    The same numbers for all: decay 0.9, momentum 0.9, epsilon 0.001.
    """
    ours = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    paper = RMSProp([{"params": [ours]}], RATES, DECAY, MOMENTUM, EPSILON)
    theirs = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    pytorch = torch.optim.RMSprop([theirs], alpha=DECAY, eps=EPSILON, momentum=MOMENTUM)
    variable = keras.Variable(np.array([1.0]), dtype="float64")
    own = keras.optimizers.RMSprop(rho=DECAY, momentum=MOMENTUM, epsilon=EPSILON)
    for step in range(STEPS):
        for weight, optimizer in ((ours, paper), (theirs, pytorch)):
            weight.grad = weight.detach().clone()
            for group in optimizer.param_groups:
                group["lr"] = RATES(step)
            optimizer.step()
        own.learning_rate = RATES(step)
        own.apply([keras.ops.copy(variable.value)], [variable])
    return {
        "TensorFlow 1, and here": ours.item(),
        "Keras": float(keras.ops.convert_to_numpy(variable)[0]),
        "PyTorch": theirs.item(),
    }


# ------------------------------------------------------------------ means over large maps


def means() -> dict[str, float]:
    """The relative error of a mean over 190 x 190 pixels in float32, in one step and row by row."""
    maps = np.random.default_rng(0).random((1, MEAN_SIDE, MEAN_SIDE, 64)).astype(np.float32)
    right = maps.astype(np.float64).mean((1, 2))
    tensor = keras.ops.convert_to_tensor(maps)
    once = keras.ops.mean(tensor, axis=(1, 2))
    rows = keras.ops.mean(keras.ops.mean(tensor, axis=2), axis=1)
    pytorch = torch.tensor(maps).mean((1, 2))
    return {
        "Keras, in one step": apart(keras.ops.convert_to_numpy(once), right),
        "Keras, row by row": apart(keras.ops.convert_to_numpy(rows), right),
        "PyTorch, in one step": apart(pytorch.numpy(), right),
    }


def apart(found: np.ndarray, right: np.ndarray) -> float:
    """The largest relative error."""
    return float(np.abs(found / right - 1).max())


if __name__ == "__main__":
    main()
