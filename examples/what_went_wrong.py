"""Trains a small EfficientNet by the recipe and by the settings that public notes have instead.

One curve each, on the same data, batches and first weights; an Xception with and without batch norm
in its separable convolutions beside them.

    python examples/digits.py DIGITS
    python examples/what_went_wrong.py DIGITS docs/results/what_went_wrong.json [--epochs 30]
    python docs/what_went_wrong.py   # the page and its picture, from these results
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import platform
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from efficientnet_rosetta.common import spec
from efficientnet_rosetta.common._util.atomic import replacing
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.images.augment import Augmentation
from efficientnet_rosetta.common.images.batches import NO_IMAGE, Batches
from efficientnet_rosetta.common.images.datasets import DataSet, read_folder
from efficientnet_rosetta.common.network import Dialect, Layer, Network
from efficientnet_rosetta.common.spec import MBConvBlock
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.recipes import Recipe, get_recipe
from efficientnet_rosetta.common.training.run import EPOCHS, Run, read_table
from efficientnet_rosetta.common.training.schedules import Optimization, Schedule
from efficientnet_rosetta.common.weights.initial import initial
from efficientnet_rosetta.torch_impl import efficientnet
from efficientnet_rosetta.torch_impl.efficientnet import (
    MBConv,
    PointwiseConv,
    squeeze_and_excitation,
    swish,
)
from efficientnet_rosetta.torch_impl.optimizer import cross_entropy, make_optimizer

BATCH, SEED, HELD_OUT = 32, 0, 0.2
NETWORK = {"width": 0.5, "depth": 0.5, "resolution": 32}
# A digit in a mirror, or a twelfth of one, is no longer that digit.
AUGMENTATION = Augmentation(crop_area=(0.5, 1.0))
KEPT = ("epoch", "loss", "val_loss", "val_top1", "learning_rate")

Row = dict[str, float]


def main() -> None:
    """Train all of them, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DIGITS", help="a folder for each class")
    parser.add_argument("results", type=Path, metavar="FILE", help="JSON")
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    found = study(read_folder(arguments.data, HELD_OUT, SEED), arguments.epochs)
    with replacing(arguments.results) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")


def study(data: DataSet, epochs: int) -> dict:
    """Everything that the page says, as plain data."""
    network = spec.resolve("b0", num_classes=len(data.classes), **NETWORK)
    runs = {
        **{name: fitted(name, run) for name, run in trainings(network, data, epochs).items()},
        **{name: fitted_xception(name, data, epochs) for name in XCEPTIONS},
    }
    return {
        "command": f"python examples/what_went_wrong.py DIGITS FILE --epochs {epochs}",
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "settings": {**NETWORK, "batch": BATCH, "epochs": epochs, "seed": SEED},
        "images": {"train": len(data.train), "val": len(data.val)},
        "runs": runs,
    }


def report(name: str, row: Row) -> None:
    """A line for an epoch."""
    sys.stdout.write(
        f"{name:<20}{row['epoch']:>4.0f}  loss {row['loss']:.4f}  top-1 {row['val_top1']:.2%}  "
        f"rate {row['learning_rate']:.2e}\n"
    )


# ------------------------------------------------------------------ other rates


@dataclass(frozen=True)
class Divided:
    """A schedule under `decay` of Keras's old optimizers (optimizer_v2.py, _decayed_lr)."""

    schedule: Schedule
    decay: float

    def __call__(self, step: int) -> float:
        return self.schedule(step) / (1 + self.decay * step)


@dataclass(frozen=True)
class WithKerasDecay(Recipe):
    """A recipe whose `decay` is given to an old Keras optimizer, where it divides the rate."""

    def optimization(self, batch: int, steps_per_epoch: float, phase: int = 0) -> Optimization:
        """As the recipe's, with a rate that is divided."""
        right = super().optimization(batch, steps_per_epoch, phase)
        return replace(right, rate=Divided(right.rate, self.decay))


def recipes(epochs: int) -> dict[str, Recipe]:
    """The official recipe, and what becomes of it when a number is taken for another."""
    right = replace(get_recipe("official"), batch=BATCH, epochs=epochs, augmentation=AUGMENTATION)
    return {
        "recipe": right,
        "epsilon": replace(right, epsilon=1.0),
        "decay": WithKerasDecay(**vars(right)),
        "gamma": replace(right, factor=0.03),
    }


# ------------------------------------------------------------------ another block


class LateBlock(MBConvBlock):
    """An MBConv whose squeeze-and-excitation has the channels of the projection."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The same layers, two of them with other channels."""
        squeezed, outer = self.squeezed_channels, self.out_channels
        changed = {
            f"{self.role}.se_reduce": {"in_channels": outer, "out_channels": squeezed},
            f"{self.role}.se_expand": {"in_channels": squeezed, "out_channels": outer},
        }
        return tuple(replace(layer, **changed.get(layer.role, {})) for layer in super().layers)


class LateMBConv(MBConv):
    """Squeeze-and-excitation after the projection, else an MBConv of the same shapes."""

    def __init__(self, block: MBConvBlock, dialect: Dialect):
        super().__init__(block, dialect)
        self.se_reduce = PointwiseConv(block.out_channels, block.squeezed_channels)
        self.se_expand = PointwiseConv(block.squeezed_channels, block.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        skip = x
        if self.block.has_expansion:
            x = swish(self.expand_bn(self.expand_conv(x)))
        x = swish(self.depthwise_bn(self.depthwise_conv(x)))
        x = self.project_bn(self.project_conv(x))
        x = squeeze_and_excitation(x, self.se_reduce, self.se_expand)
        if self.block.has_skip:
            x = self.drop_path(x) + skip
        return x


def late(network: Network) -> Network:
    """A network of such blocks."""
    return replace(network, blocks=tuple(LateBlock(**vars(block)) for block in network.blocks))


# ------------------------------------------------------------------ runs of EfficientNet


def trainings(network: Network, data: DataSet, epochs: int) -> dict[str, Training]:
    """The recipe's, and others with one thing changed in each."""
    train, val = batches(data)
    chosen = recipes(epochs)
    found = {
        name: Training(network, recipe, train, val, seed=SEED) for name, recipe in chosen.items()
    }
    return {**found, "excitation": replace(found["recipe"], network=late(network))}


def batches(data: DataSet) -> tuple[Batches, Batches]:
    """To train on and to validate on."""
    size = (NETWORK["resolution"],) * 2
    return Batches(data.train, size, BATCH, AUGMENTATION, SEED), Batches(data.val, size, BATCH)


def fitted(name: str, training: Training) -> dict:
    """Train, and say what it gave.

    `rates` is the sum of the learning rates of all steps, and `gradient` the median over all
    weights of the root that RMSProp keeps of their squared gradients, after the last step.
    """
    network, (phase,) = training.network, training.phases
    mbconv = LateMBConv if isinstance(network.blocks[0], LateBlock) else MBConv
    # The loop builds the network by itself, of whatever goes by this name.
    with TemporaryDirectory() as folder, patch.object(efficientnet, "MBConv", mbconv):
        run = Run(folder, lambda row: report(name, vars(row)))
        get_backend("torch").fit(training, initial(network, SEED), run)
        rows = [{key: row[key] for key in KEPT} for row in read_table(Path(folder, EPOCHS))]
    squares = np.concatenate([array.ravel() for array in run.state.slots["square"].values()])
    steps = len(rows) * training.steps_per_epoch
    return {
        "epochs": rows,
        "rates": sum(phase.optimization.rate(step) for step in range(steps)),
        "gradient": float(np.median(squares)) ** 0.5,
        "weights": sum(math.prod(shape) for shape in network.tensors.values()),
    }


# ------------------------------------------------------------------ Xception

XCEPTIONS = {"xception": True, "xception without": False}  # whether all of it is normalised


class SeparableConv(nn.Module):
    """Depthwise and pointwise convolution: (N, C, H, W) -> (N, C', H, W) (arXiv 1610.02357)."""

    def __init__(self, channels: int, filters: int, normalised: bool):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, filters, 1)
        self.bn = nn.BatchNorm2d(filters) if normalised else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.pointwise(self.depthwise(x)))


class XceptionModule(nn.Module):
    """Separable convolutions beside a shortcut: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s))."""

    def __init__(self, channels: tuple[int, ...], stride: int, normalised: bool):
        super().__init__()
        self.stride = stride
        self.convs = nn.ModuleList(
            SeparableConv(before, after, normalised)
            for before, after in itertools.pairwise(channels)
        )
        if stride > 1:
            self.skip_conv = nn.Conv2d(channels[0], channels[-1], 1, stride, bias=False)
            self.skip_bn = nn.BatchNorm2d(channels[-1])

    def branch(self, x: Tensor) -> Tensor:
        """What is added to the shortcut."""
        for conv in self.convs:
            x = conv(F.relu(x))
        return F.max_pool2d(x, 3, self.stride, 1) if self.stride > 1 else x

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip_bn(self.skip_conv(x)) if self.stride > 1 else x
        return self.branch(x) + skip


class Xception(nn.Module):
    """A small one, with four modules in the middle for eight: (N, 3, H, W) -> (N, classes).

    The convolutions that are not separable are always normalised.
    """

    def __init__(self, classes: int, normalised: bool):
        super().__init__()
        self.stem_conv = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
        self.stem_bn = nn.BatchNorm2d(64)
        self.flow = nn.ModuleList(
            [
                XceptionModule((64, 128, 128), 2, normalised),
                XceptionModule((128, 192, 192), 2, normalised),
                *(XceptionModule((192,) * 4, 1, normalised) for _ in range(4)),
                XceptionModule((192, 192, 256), 2, normalised),
            ]
        )
        self.last = nn.ModuleList(
            [SeparableConv(256, 384, normalised), SeparableConv(384, 512, normalised)]
        )
        self.classifier = nn.Linear(512, classes)

    def stem(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 64, H/2, W/2)."""
        return F.relu(self.stem_bn(self.stem_conv(x)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for module in self.flow:
            x = module(x)
        for conv in self.last:
            x = F.relu(conv(x))
        return self.classifier(x.mean((2, 3)))


def fitted_xception(name: str, data: DataSet, epochs: int) -> dict:
    """Train by the recipe of Xception's paper, and say what it gave.

    `gradient` is the median of the norms of the first gradients of separable kernels, over the
    norm of the kernel; `shares` are before and after the training.
    """
    torch.manual_seed(SEED)
    model = Xception(len(data.classes), XCEPTIONS[name])
    train, val = batches(data)
    optimization = get_recipe("xception").optimization(BATCH, len(train))
    optimizer = make_optimizer(model, optimization)
    first = torch.from_numpy(train.read(0, 0).images)
    before, rows, gradients = shares(model, first), [], []
    for epoch in range(epochs):
        model.train()
        losses = []
        for number in range(len(train)):
            images, labels, *_ = train.read(epoch, number)
            logits = model(torch.from_numpy(images))
            loss = cross_entropy(logits, torch.from_numpy(labels), optimization.label_smoothing)
            model.zero_grad()
            loss.backward()
            gradients = gradients or relative_gradients(model)
            optimizer.step()
            losses.append(loss.item())
        rate = optimization.rate(optimizer.steps - 1)
        scored = zip(("val_loss", "val_top1"), scores(model, val), strict=True)
        row = {"epoch": epoch + 1, "loss": statistics.fmean(losses), "learning_rate": rate}
        rows.append({**row, **dict(scored)})
        report(name, rows[-1])
    return {
        "epochs": rows,
        "gradient": statistics.median(gradients),
        "shares": [before, shares(model, first)],
    }


def relative_gradients(model: Xception) -> list[float]:
    """The norm of the gradient of every separable kernel, over that of the kernel."""
    kernels = [
        kernel
        for conv in model.modules()
        if isinstance(conv, SeparableConv)
        for kernel in (conv.depthwise.weight, conv.pointwise.weight)
    ]
    return [(kernel.grad.norm() / kernel.norm()).item() for kernel in kernels]


@torch.no_grad()
def shares(model: Xception, images: Tensor) -> list[float]:
    """How much of each module's output its separable convolutions make up, in training.

    By standard deviations: near 0 where the shortcut is all there is.
    """
    model = copy.deepcopy(model).train()  # whose running statistics are not wanted
    x, found = model.stem(images), []
    for module in model.flow:
        branch, x = module.branch(x), module(x)
        found.append((branch.std() / x.std()).item())
    return found


@torch.no_grad()
def scores(model: nn.Module, batches: Batches) -> tuple[float, float]:
    """Cross-entropy and top-1, means over images."""
    model.eval()
    loss = right = 0.0
    for number in range(len(batches)):
        images, labels, *_ = batches.read(0, number)
        there = labels != NO_IMAGE
        logits, labels = model(torch.from_numpy(images[there])), torch.from_numpy(labels[there])
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        right += (logits.argmax(1) == labels).sum().item()
    return loss / len(batches.samples), right / len(batches.samples)


if __name__ == "__main__":
    main()
