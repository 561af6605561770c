"""Mistakes in the layers and blocks of EfficientNet, which show in the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from efficientnet_rosetta.common.network import Dialect, Padding, same_padding
from efficientnet_rosetta.torch_impl import efficientnet, layers
from efficientnet_rosetta.torch_impl.efficientnet import MBConv, PointwiseConv

from .machine import SHAPES, WEIGHTS, Apply, Mutation
from .making import around, other_code

Gate = Callable[[Tensor, PointwiseConv, PointwiseConv], Tensor]


# ------------------------------------------------------------------ layers


def _odd_zero_before(self: Dialect, size: int, kernel: int, stride: int, kind: str) -> Padding:
    after, before = same_padding(size, kernel, stride)
    return before, after


def _same_lower(right: Callable[..., Tensor], self: layers.Conv, x: Tensor) -> Tensor:
    with patch.object(Dialect, "pad", _odd_zero_before):
        return right(self, x)


def _with_bias(right: Callable[..., None], self: layers.Conv, *arguments: object) -> None:
    right(self, *arguments)
    self.bias = nn.Parameter(torch.zeros(self.out_channels))


def _largest_before_the_classifier(x: Tensor, keepdims: bool = False) -> Tensor:
    return x.mean((2, 3), keepdim=True) if keepdims else x.amax((2, 3))


# ------------------------------------------------------------------ squeeze-and-excitation


def _excitation(gate: Gate) -> Apply:
    """Squeeze-and-excitation, with another gate."""

    def wrong(x: Tensor, reduce: PointwiseConv, expand: PointwiseConv) -> Tensor:
        return x * gate(x, reduce, expand)

    return other_code(efficientnet, "squeeze_and_excitation", wrong)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _largest(x: Tensor) -> Tensor:
    return x.amax((2, 3), keepdim=True)


def _gated(block: MBConv, x: Tensor) -> Tensor:
    return efficientnet.squeeze_and_excitation(x, block.se_reduce, block.se_expand)


# ------------------------------------------------------------------ blocks


def _block(forward: Callable[[MBConv, Tensor], Tensor]) -> Apply:
    return other_code(MBConv, "forward", forward)


def _unchanged(x: Tensor) -> Tensor:
    return x


def _expanded(block: MBConv, x: Tensor, activation: Callable[[Tensor], Tensor] = F.silu) -> Tensor:
    return activation(block.expand_bn(block.expand_conv(x))) if block.block.has_expansion else x


def _inner(block: MBConv, x: Tensor, activation: Callable[[Tensor], Tensor] = F.silu) -> Tensor:
    x = _expanded(block, x, activation)
    return F.silu(block.depthwise_bn(block.depthwise_conv(x)))


def _projected(block: MBConv, x: Tensor) -> Tensor:
    y: Tensor = block.project_bn(block.project_conv(x))
    return y


def _beside_the_shortcut(block: MBConv, y: Tensor, x: Tensor) -> Tensor:
    return block.drop_path(y) + x if block.block.has_skip else y


def _gate_before_activation(self: MBConv, x: Tensor) -> Tensor:
    inner = self.depthwise_bn(self.depthwise_conv(_expanded(self, x)))
    return _beside_the_shortcut(self, _projected(self, F.silu(_gated(self, inner))), x)


def _gate_after_projection(self: MBConv, x: Tensor) -> Tensor:
    return _beside_the_shortcut(self, _gated(self, _projected(self, _inner(self, x))), x)


def _activation_after_projection(self: MBConv, x: Tensor) -> Tensor:
    y = F.silu(_projected(self, _gated(self, _inner(self, x))))
    return _beside_the_shortcut(self, y, x)


def _no_activation_after_expansion(self: MBConv, x: Tensor) -> Tensor:
    y = _projected(self, _gated(self, _inner(self, x, _unchanged)))
    return _beside_the_shortcut(self, y, x)


def _no_batch_norm_after_projection(self: MBConv, x: Tensor) -> Tensor:
    y = self.project_conv(_gated(self, _inner(self, x)))
    return _beside_the_shortcut(self, y, x)


def _dropping_everywhere(self: MBConv, x: Tensor) -> Tensor:
    y: Tensor = self.drop_path(_projected(self, _gated(self, _inner(self, x))))
    return y + x if self.block.has_skip else y


MISTAKES = (
    Mutation(
        "SAME_LOWER for SAME_UPPER",
        "forward",
        around(layers.Conv, "forward", _same_lower),
        size=10,
    ),
    Mutation("ReLU for swish", "forward", other_code(efficientnet, "swish", F.relu), size=30),
    Mutation(
        "hard swish for swish", "forward", other_code(efficientnet, "swish", F.hardswish), size=10
    ),
    Mutation(
        "hard sigmoid in the gate",
        "forward",
        _excitation(lambda x, reduce, expand: F.hardsigmoid(expand(F.silu(reduce(_mean(x)))))),
        size=7,
    ),
    Mutation(
        "ReLU in squeeze-and-excitation",
        "forward",
        _excitation(lambda x, reduce, expand: torch.sigmoid(expand(F.relu(reduce(_mean(x)))))),
        size=10,
    ),
    Mutation(
        "no activation in squeeze-and-excitation",
        "forward",
        _excitation(lambda x, reduce, expand: torch.sigmoid(expand(reduce(_mean(x))))),
        size=10,
    ),
    Mutation(
        "largest value for the mean in the squeeze",
        "forward",
        _excitation(lambda x, reduce, expand: torch.sigmoid(expand(F.silu(reduce(_largest(x)))))),
        size=20,
    ),
    Mutation(
        "no squeeze-and-excitation",
        "forward",
        other_code(efficientnet, "squeeze_and_excitation", lambda x, reduce, expand: x),
        size=10,
    ),
    Mutation(
        "squeeze-and-excitation before the depthwise activation",
        "forward",
        _block(_gate_before_activation),
        size=10,
    ),
    Mutation(
        "squeeze-and-excitation after the projection",
        "forward",
        _block(_gate_after_projection),
        size=inf,
        by=SHAPES,
    ),
    Mutation(
        "activation after the projection",
        "forward",
        _block(_activation_after_projection),
        size=30,
    ),
    Mutation(
        "no activation after the expansion",
        "forward",
        _block(_no_activation_after_expansion),
        size=10,
    ),
    Mutation(
        "no batch norm after the projection",
        "forward",
        _block(_no_batch_norm_after_projection),
        size=80,
    ),
    Mutation(
        "stochastic depth on blocks without a skip",
        "stochastic_depth",
        _block(_dropping_everywhere),
        size=2,
        by="dropping, given masks",
    ),
    Mutation(
        "largest value for the mean before the classifier",
        "forward",
        other_code(efficientnet, "global_average_pool", _largest_before_the_classifier),
        size=5,
    ),
    Mutation(
        "convolutions with bias",
        "forward",
        around(layers.Conv, "__init__", _with_bias),
        size=inf,
        by=WEIGHTS,
    ),
)
