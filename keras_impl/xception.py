"""Xception in Keras, in the order of the paper's figure 5 (arXiv 1610.02357).

The same program as `torch_impl/xception.py`, name for name: every number comes from
`common.xception`, and layers with weights are named by their canonical roles.  Maps are
(N, H, W, C).  Only built-in layers and operations are used, so that a saved model loads
without this package.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import KerasTensor, layers, ops

from efficientnet_rosetta.common.network import ConvBlock, Dialect
from efficientnet_rosetta.common.xception import ResidualBlock, XceptionSpec
from efficientnet_rosetta.common.xception import SeparableBlock as SeparableSpec
from efficientnet_rosetta.common.xception import SeparableConv as SeparableConvSpec

from .layers import (
    BatchNorm,
    Classifier,
    Conv,
    DepthwiseConv,
    MaxPool,
    endpoint,
    functional,
    global_average_pool,
)

Part = Callable[[KerasTensor], KerasTensor]


def relu(x: KerasTensor) -> KerasTensor:
    """max(x, 0), elementwise."""
    return ops.relu(x)


class ConvBnRelu:
    """Stem, without padding: (N, H, W, C) -> (N, floor((H-k)/s)+1, floor((W-k)/s)+1, C')."""

    def __init__(self, part: ConvBlock, dialect: Dialect):
        # step: stem
        filters, role = part.out_channels, part.role
        self.conv = Conv(
            filters,
            part.kernel,
            part.stride,
            dialect,
            f"{role}.conv",
            part.padded,
        )
        self.bn = BatchNorm(dialect, f"{role}.bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: stem
        return relu(self.bn(self.conv(x)))


class SeparableConv:
    """Depthwise, then pointwise, then batch norm: (N, H, W, C) -> (N, H, W, C') (section 1.2)."""

    def __init__(self, part: SeparableConvSpec, dialect: Dialect):
        # step: separable
        self.relu_first = part.relu_first
        kernel, role = part.kernel, part.role
        self.depthwise_conv = DepthwiseConv(
            kernel,
            1,
            dialect,
            f"{role}.depthwise_conv",
        )
        filters, name = part.out_channels, f"{role}.pointwise_conv"
        self.pointwise_conv = Conv(filters, 1, 1, dialect, name)
        self.bn = BatchNorm(dialect, f"{role}.bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: separable
        x = relu(x) if self.relu_first else x
        return self.bn(self.pointwise_conv(self.depthwise_conv(x)))


class XceptionBlock:
    """Separable convolutions beside a shortcut: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C')."""

    def __init__(self, block: ResidualBlock, dialect: Dialect):
        # step: block
        self.block, role = block, block.role
        stride = block.stride
        convs = [SeparableConv(c, dialect) for c in block.separable]
        self.separable = convs
        # step: pool
        if block.has_pool:
            name = f"{role}.pool"
            self.pool = MaxPool(block.kernel, stride, dialect, name)
        # step: shortcut
        filters, name = block.out_channels, f"{role}.shortcut"
        if block.has_projection:
            self.shortcut_conv = Conv(
                filters,
                1,
                stride,
                dialect,
                f"{name}_conv",
            )
            self.shortcut_bn = BatchNorm(dialect, f"{name}_bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: block
        skip = x  # the block's own input, before its first ReLU
        for conv in self.separable:
            x = conv(x)
        # step: pool
        if self.block.has_pool:
            x = self.pool(x)
        # step: shortcut
        if self.block.has_projection:
            skip = self.shortcut_bn(self.shortcut_conv(skip))
        return x + skip


class SeparableConvRelu(SeparableConv):
    """The end of the exit flow: (N, H, W, C) -> (N, H, W, C')."""

    def __init__(self, part: SeparableSpec, dialect: Dialect):
        # step: end
        super().__init__(part.separable, dialect)

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: end
        return relu(super().__call__(x))


def Xception(network: XceptionSpec) -> keras.Model:
    """The network: images (N, H, W, C), of 7 pixels or more -> logits or features (N, C')."""
    # step: flows
    dialect = network.dialect
    stem = [ConvBnRelu(part, dialect) for part in network.stem]
    blocks = [XceptionBlock(b, dialect) for b in network.blocks]
    end = network.head
    head = [SeparableConvRelu(part, dialect) for part in end]
    parts: list[Part] = [*stem, *blocks, *head]
    any_size = (None, None, network.in_channels)
    x = image = keras.Input(any_size, name="image")
    for part, section in zip(parts, network.maps, strict=True):
        x = endpoint(part(x), section.role)
        if section.reduction:
            x = endpoint(x, section.reduction)
    # step: classifier
    x = endpoint(global_average_pool(x), "features")
    last = network.classifier
    if last is not None:
        x = layers.Dropout(last.dropout, name="dropout")(x)
        x = Classifier(last.num_classes, "classifier")(x)
        x = endpoint(x, "logits")
    return functional(image, x, "xception")
