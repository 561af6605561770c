"""Mistakes in how weights are drawn before training."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import torch
from torch import nn

from efficientnet_rosetta.torch_impl.efficientnet import PointwiseConv
from efficientnet_rosetta.torch_impl.layers import Classifier, Conv, DepthwiseConv

from .machine import Apply, Mutation
from .making import around


def _drawn(change: Callable[[Any], object], kind: type[nn.Module]) -> Apply:
    """Kernels of one kind are drawn in another way."""

    def init(right: Callable[..., None], self: nn.Module, *arguments: object) -> None:
        right(self, *arguments)
        with torch.no_grad():
            change(self)

    return around(kind, "__init__", init)


MISTAKES = (
    Mutation(
        "fan-out of depthwise kernels without groups",
        "initialisation",
        _drawn(lambda m: nn.init.kaiming_normal_(m.weight, mode="fan_out"), DepthwiseConv),
        size=200,
    ),
    Mutation(
        "normal with standard deviation 0.02 everywhere",
        "initialisation",
        _drawn(lambda m: nn.init.normal_(m.weight, std=0.02), Conv),
        size=600,
    ),
    # Biases are not 0, and what is constant is that or is infinitely far off.
    Mutation(
        "PyTorch's default initialisation",
        "initialisation",
        _drawn(lambda m: m.reset_parameters(), PointwiseConv),
        size=inf,
    ),
    Mutation(
        "kernels drawn by fan-in",
        "initialisation",
        _drawn(lambda m: nn.init.kaiming_normal_(m.weight, mode="fan_in"), Conv),
        size=1000,
    ),
    Mutation(
        "classifier drawn with the fan-in's bound",
        "initialisation",
        _drawn(lambda m: m.reset_parameters(), Classifier),
        size=inf,
    ),
)
