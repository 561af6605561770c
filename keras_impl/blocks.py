"""The blocks of Lite, V2 and EdgeTPU in Keras, and the network that is made of them.

The same program as `torch_impl/blocks.py`, name for name: every number comes from `common.blocks`,
and layers with weights are named by their canonical roles.  Maps are (N, H, W, C).  Only built-in
layers and operations are used, so that a saved model loads without this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import KerasTensor, layers

from efficientnet_rosetta.common import blocks
from efficientnet_rosetta.common.network import ConvBlock, Dialect

from .efficientnet import StochasticDepth
from .layers import (
    BatchNorm,
    Classifier,
    Conv,
    DepthwiseConv,
    activation,
    endpoint,
    functional,
    global_average_pool,
)


class PlainMBConv:
    """MBConv without squeeze-and-excitation: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C')."""

    def __init__(self, block: blocks.PlainMBConvBlock, dialect: Dialect):
        # step: block
        self.block = block
        at = block.role
        inner = block.expanded_channels
        outer = block.out_channels
        kernel, stride = block.kernel, block.stride
        # step: expand
        if block.has_expansion:
            self.expand_conv = Conv(inner, 1, 1, dialect, f"{at}.expand_conv")
            self.expand_bn = BatchNorm(dialect, f"{at}.expand_bn")
        # step: depthwise
        self.depthwise_conv = DepthwiseConv(kernel, stride, dialect, f"{at}.depthwise_conv")
        self.depthwise_bn = BatchNorm(dialect, f"{at}.depthwise_bn")
        # step: project
        self.project_conv = Conv(outer, 1, 1, dialect, f"{at}.project_conv")
        self.project_bn = BatchNorm(dialect, f"{at}.project_bn")
        # step: skip
        self.drop_path = StochasticDepth(block.drop_path_rate, f"{at}.drop_path")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: block
        skip, function = x, self.block.activation
        # step: expand
        if self.block.has_expansion:
            x = activation(self.expand_bn(self.expand_conv(x)), function)
        # step: depthwise
        x = activation(self.depthwise_bn(self.depthwise_conv(x)), function)
        # step: project
        x = self.project_bn(self.project_conv(x))
        # step: skip
        if self.block.has_skip:
            x = self.drop_path(x) + skip
        return x


class FusedMBConv:
    """One convolution for two of MBConv: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C')."""

    def __init__(self, block: blocks.FusedMBConvBlock, dialect: Dialect):
        # step: block
        self.block = block
        at = block.role
        inner = block.expanded_channels
        outer = block.out_channels
        kernel, stride = block.kernel, block.stride
        # step: fused
        if block.has_expansion:
            self.expand_conv = Conv(inner, kernel, stride, dialect, f"{at}.expand_conv")
            self.expand_bn = BatchNorm(dialect, f"{at}.expand_bn")
        # step: project
        if block.has_expansion:
            self.project_conv = Conv(outer, 1, 1, dialect, f"{at}.project_conv")
        else:
            self.project_conv = Conv(outer, kernel, stride, dialect, f"{at}.project_conv")
        self.project_bn = BatchNorm(dialect, f"{at}.project_bn")
        # step: skip
        self.drop_path = StochasticDepth(block.drop_path_rate, f"{at}.drop_path")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: block
        skip, function = x, self.block.activation
        # step: fused
        if self.block.has_expansion:
            x = activation(self.expand_bn(self.expand_conv(x)), function)
        # step: project
        x = self.project_bn(self.project_conv(x))
        if not self.block.has_expansion:
            # The block's only convolution; a projection is followed by none.
            x = activation(x, function)
        # step: skip
        if self.block.has_skip:
            x = self.drop_path(x) + skip
        return x


class ConvBnAct:
    """Stem and head: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C')."""

    def __init__(self, part: ConvBlock, dialect: Dialect):
        self.function = part.activation
        filters, at = part.out_channels, part.role
        kernel, stride = part.kernel, part.stride
        self.conv = Conv(filters, kernel, stride, dialect, f"{at}.conv")
        self.bn = BatchNorm(dialect, f"{at}.bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        return activation(self.bn(self.conv(x)), self.function)


def StagedNetwork(
    network: blocks.StagedNetwork, kinds: Mapping[Any, Callable[..., Any]]
) -> keras.Model:
    """The network: images (N, H, W, C) of any size -> logits (N, classes) or features (N, C').

    `kinds` says which class builds a block of which specification.
    """
    every = {**kinds, ConvBlock: ConvBnAct}
    x = image = keras.Input((None, None, network.in_channels), name="image")
    for section in network.maps:
        x = every[type(section)](section, network.dialect)(x)
        x = endpoint(x, section.role)
        if section.reduction:
            x = endpoint(x, section.reduction)
    x = endpoint(global_average_pool(x), "features")
    last = network.classifier
    if last is not None:
        x = layers.Dropout(last.dropout, name="dropout")(x)
        x = Classifier(last.num_classes, "classifier")(x)
        x = endpoint(x, "logits")
    return functional(image, x, f"efficientnet_{network.name}")
