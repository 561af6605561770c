"""Mistakes in Xception."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from unittest.mock import patch

from torch import Tensor
from torch.nn import functional as F

from efficientnet_rosetta.common.network import PYTORCH, Dialect
from efficientnet_rosetta.torch_impl import layers, xception
from efficientnet_rosetta.torch_impl.xception import SeparableConv, XceptionBlock

from .machine import WEIGHTS, Apply, Mutation
from .making import around, other_code

QUARTER = {"width": 0.25, "middle_blocks": 2}  # whose width plays no part in any


def _mistake(name: str, apply: Apply, size: float, by: str | None = None) -> Mutation:
    return Mutation(name, "forward", apply, size, by, preset="xception", scaling=QUARTER)


# ------------------------------------------------------------------ blocks


def _block(forward: Callable[[XceptionBlock, Tensor], Tensor]) -> Apply:
    return other_code(XceptionBlock, "forward", forward)


def _beside(block: XceptionBlock, skip: Tensor) -> Tensor:
    if block.block.has_projection:
        skip = block.shortcut_bn(block.shortcut_conv(skip))
    return skip


def _through(block: XceptionBlock, x: Tensor) -> Tensor:
    for conv in block.separable:
        x = conv(x)
    return block.pool(x) if block.block.has_pool else x


def _chained(self: XceptionBlock, x: Tensor) -> Tensor:
    skip = _beside(self, getattr(x, "chained", x))
    y = _through(self, x) + skip
    y.chained = skip  # type: ignore[attr-defined]
    return y


def _after_the_relu(self: XceptionBlock, x: Tensor) -> Tensor:
    skip = F.relu(x) if self.block.separable[0].relu_first else x
    return _through(self, x) + _beside(self, skip)


def _no_shortcut(self: XceptionBlock, x: Tensor) -> Tensor:
    return _through(self, x) + 0 * _beside(self, x)


def _no_batch_norm_beside(self: XceptionBlock, x: Tensor) -> Tensor:
    return _through(self, x) + (self.shortcut_conv(x) if self.block.has_projection else x)


# ------------------------------------------------------------------ separable convolutions


def _separable(forward: Callable[[SeparableConv, Tensor], Tensor]) -> Apply:
    return other_code(SeparableConv, "forward", forward)


def _convolved(conv: SeparableConv, x: Tensor) -> Tensor:
    y: Tensor = conv.pointwise_conv(conv.depthwise_conv(x))
    return y


def _first(conv: SeparableConv, x: Tensor) -> Tensor:
    return F.relu(x) if conv.relu_first else x


def _no_batch_norm(self: SeparableConv, x: Tensor) -> Tensor:
    return _convolved(self, _first(self, x))


def _relu_after(self: SeparableConv, x: Tensor) -> Tensor:
    return _first(self, self.bn(_convolved(self, x)))


def _relu_between(self: SeparableConv, x: Tensor) -> Tensor:
    inner = F.relu(self.depthwise_conv(_first(self, x)))
    y: Tensor = self.bn(self.pointwise_conv(inner))
    return y


def _full(
    self: layers.DepthwiseConv, channels: int, kernel: int, stride: int, dialect: Dialect
) -> None:
    layers.Conv.__init__(self, channels, channels, kernel, stride, dialect)


# ------------------------------------------------------------------ poolings and stem

Pooling = Callable[[layers.MaxPool, Tensor], Tensor]


def _symmetric(right: Pooling, self: layers.MaxPool, x: Tensor) -> Tensor:
    with patch.object(self, "dialect", PYTORCH):
        return right(self, x)


def _zeros(self: layers.MaxPool, x: Tensor) -> Tensor:
    window = self.kernel, self.stride, "max_pool"
    (top, bottom), (left, right) = (self.dialect.pad(side, *window) for side in x.shape[2:])
    return F.max_pool2d(F.pad(x, (left, right, top, bottom)), self.kernel, self.stride)


def _mean(self: layers.MaxPool, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, self.kernel, self.stride, 1)


def _padded(right: Callable[..., Tensor], self: layers.Conv, x: Tensor) -> Tensor:
    with patch.object(self, "padded", True):
        return right(self, x)


MISTAKES = (
    _mistake("shortcuts chained from one another", _block(_chained), size=6),
    _mistake(
        "shortcut from after the ReLU, as one in place leaves it",
        _block(_after_the_relu),
        size=10,
    ),
    _mistake("no shortcuts", _block(_no_shortcut), size=30),
    _mistake("no batch norm in the shortcuts", _block(_no_batch_norm_beside), size=6),
    _mistake("no batch norm after separable convolutions", _separable(_no_batch_norm), size=9),
    _mistake("ReLU after separable convolutions, not before", _separable(_relu_after), size=5),
    _mistake(
        "ReLU between depthwise and pointwise convolution", _separable(_relu_between), size=10
    ),
    _mistake("swish for ReLU", other_code(xception, "relu", F.silu), size=7),
    _mistake(
        "full for depthwise convolutions",
        other_code(layers.DepthwiseConv, "__init__", _full),
        size=inf,
        by=WEIGHTS,
    ),
    _mistake("symmetric for SAME poolings", around(layers.MaxPool, "forward", _symmetric), size=3),
    _mistake("zeros around what is pooled", other_code(layers.MaxPool, "forward", _zeros), size=1),
    _mistake(
        "mean for the largest in poolings", other_code(layers.MaxPool, "forward", _mean), size=6
    ),
    # The maps inside are of another size.
    _mistake("stem that pads", around(layers.Conv, "forward", _padded), size=inf),
)
