"""Xception in Keras, in the order of the paper's figure 5 (arXiv 1610.02357).

The same program as `torch_impl/xception.py`, name for name: every number comes from
`common.xception`, and layers with weights are named by their canonical roles.  Maps are
(N, H, W, C).  Only built-in layers and operations are used, so that a saved model loads
without this package.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from common.spec import ConvBlock, Dialect
from common.xception import Block, XceptionSpec
from common.xception import SeparableBlock as SeparableSpec
from common.xception import SeparableConv as SeparableConvSpec
from keras_impl.layers import (
    BatchNorm,
    Classifier,
    Conv,
    DepthwiseConv,
    MaxPool,
    endpoint,
    functional,
    global_average_pool,
)


def relu(x: KerasTensor) -> KerasTensor:
    """max(x, 0), elementwise."""
    return ops.relu(x)


class ConvBnRelu:
    """Stem, without padding: (N, H, W, C) -> (N, floor((H-k)/s)+1, floor((W-k)/s)+1, C')."""

    def __init__(self, part: ConvBlock, dialect: Dialect):
        filters, role = part.out_channels, part.role
        self.conv = Conv(filters, part.kernel, part.stride, dialect, f"{role}.conv", part.padded)
        self.bn = BatchNorm(dialect, f"{role}.bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        return relu(self.bn(self.conv(x)))


class SeparableConv:
    """Depthwise, then pointwise, then batch norm: (N, H, W, C) -> (N, H, W, C') (section 2)."""

    def __init__(self, part: SeparableConvSpec, dialect: Dialect):
        self.relu_first, role = part.relu_first, part.role
        self.depthwise_conv = DepthwiseConv(part.kernel, 1, dialect, f"{role}.depthwise_conv")
        self.pointwise_conv = Conv(part.out_channels, 1, 1, dialect, f"{role}.pointwise_conv")
        self.bn = BatchNorm(dialect, f"{role}.bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        x = relu(x) if self.relu_first else x
        return self.bn(self.pointwise_conv(self.depthwise_conv(x)))


class XceptionBlock:
    """Separable convolutions beside a shortcut: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C')."""

    def __init__(self, block: Block, dialect: Dialect):
        self.block, role = block, block.role
        self.separable = [SeparableConv(part, dialect) for part in block.separable]
        if block.has_pool:
            self.pool = MaxPool(block.kernel, block.stride, dialect, f"{role}.pool")
        if block.has_projection:
            filters, name = block.out_channels, f"{role}.shortcut_conv"
            self.shortcut_conv = Conv(filters, 1, block.stride, dialect, name)
            self.shortcut_bn = BatchNorm(dialect, f"{role}.shortcut_bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        skip = x  # the block's own input, before its first ReLU
        for conv in self.separable:
            x = conv(x)
        if self.block.has_pool:
            x = self.pool(x)
        if self.block.has_projection:
            skip = self.shortcut_bn(self.shortcut_conv(skip))
        return x + skip


class SeparableConvRelu(SeparableConv):
    """The end of the exit flow: (N, H, W, C) -> (N, H, W, C')."""

    def __init__(self, part: SeparableSpec, dialect: Dialect):
        super().__init__(part.separable, dialect)

    def __call__(self, x: KerasTensor) -> KerasTensor:
        return relu(super().__call__(x))


def Xception(network: XceptionSpec) -> keras.Model:
    """The network: images (N, H, W, C) of any size -> logits (N, classes) or features (N, C')."""
    dialect = network.dialect
    parts = {
        **{part.role: ConvBnRelu(part, dialect) for part in network.stem},
        **{block.role: XceptionBlock(block, dialect) for block in network.blocks},
        **{part.role: SeparableConvRelu(part, dialect) for part in network.head},
    }
    x = image = keras.Input((None, None, network.in_channels), name="image")
    for section in network.maps:
        x = endpoint(parts[section.role](x), section.role)
        if section.reduction:
            x = endpoint(x, section.reduction)
    x = endpoint(global_average_pool(x), "features")
    if network.classifier is not None:
        x = layers.Dropout(network.classifier.dropout, name="dropout")(x)
        x = endpoint(Classifier(network.classifier.num_classes, "classifier")(x), "logits")
    return functional(image, x, "xception")
