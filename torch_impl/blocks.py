"""The blocks of Lite, V2 and EdgeTPU in PyTorch, and the network that is made of them.

The same program as `keras_impl/blocks.py`, name for name: every number comes from `common.blocks`,
and the keys of `state_dict()` are the canonical tensor names.  Maps are (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

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
    global_average_pool,
)


class PlainMBConv(nn.Module):
    """MBConv without squeeze-and-excitation: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s))."""

    def __init__(self, block: blocks.PlainMBConvBlock, dialect: Dialect):
        super().__init__()
        # step: block
        self.block = block
        channels = block.in_channels
        inner = block.expanded_channels
        outer = block.out_channels
        # step: expand
        if block.has_expansion:
            self.expand_conv = Conv(channels, inner, 1, 1, dialect)
            self.expand_bn = BatchNorm(inner, dialect)
        # step: depthwise
        self.depthwise_conv = DepthwiseConv(inner, block.kernel, block.stride, dialect)
        self.depthwise_bn = BatchNorm(inner, dialect)
        # step: project
        self.project_conv = Conv(inner, outer, 1, 1, dialect)
        self.project_bn = BatchNorm(outer, dialect)
        # step: skip
        self.drop_path = StochasticDepth(block.drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
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


class FusedMBConv(nn.Module):
    """One convolution for two of MBConv: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s))."""

    def __init__(self, block: blocks.FusedMBConvBlock, dialect: Dialect):
        super().__init__()
        # step: block
        self.block = block
        channels = block.in_channels
        inner = block.expanded_channels
        outer = block.out_channels
        kernel, stride = block.kernel, block.stride
        # step: fused
        if block.has_expansion:
            self.expand_conv = Conv(channels, inner, kernel, stride, dialect)
            self.expand_bn = BatchNorm(inner, dialect)
        # step: project
        if block.has_expansion:
            self.project_conv = Conv(inner, outer, 1, 1, dialect)
        else:
            self.project_conv = Conv(channels, outer, kernel, stride, dialect)
        self.project_bn = BatchNorm(outer, dialect)
        # step: skip
        self.drop_path = StochasticDepth(block.drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
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


class ConvBnAct(nn.Module):
    """Stem and head: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s))."""

    def __init__(self, part: ConvBlock, dialect: Dialect):
        super().__init__()
        self.function = part.activation
        channels, filters = part.in_channels, part.out_channels
        kernel, stride = part.kernel, part.stride
        self.conv = Conv(channels, filters, kernel, stride, dialect)
        self.bn = BatchNorm(filters, dialect)

    def forward(self, x: Tensor) -> Tensor:
        return activation(self.bn(self.conv(x)), self.function)


class _Stage(nn.Module):
    """The blocks of one stage, so that their keys read `stages.3.blocks.0`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()


class StagedNetwork(nn.Module):
    """The network: images (N, C, H, W) of any size -> logits (N, classes) or features (N, C').

    `kinds` says which class builds a block of which specification.
    """

    def __init__(
        self, network: blocks.StagedNetwork, kinds: Mapping[Any, Callable[..., nn.Module]]
    ):
        super().__init__()
        self.network, dialect = network, network.dialect
        self.maps = network.maps
        self.stem = ConvBnAct(network.stem, dialect)
        stages: dict[str, Any] = {}
        for block in network.blocks:
            stage = stages.setdefault(str(block.stage), _Stage())
            stage.blocks.append(kinds[type(block)](block, dialect))
        self.stages = nn.ModuleDict(stages)
        self.head = ConvBnAct(network.head, dialect)
        last = network.classifier
        if last is not None:
            channels, classes = last.in_channels, last.num_classes
            self.dropout = nn.Dropout(last.dropout)
            self.classifier = Classifier(channels, classes)

    def forward(self, x: Tensor, endpoints: dict[str, Tensor] | None = None) -> Tensor:
        """`endpoints`, where given, is filled with the value of every endpoint."""
        for section in self.maps:
            x = self.get_submodule(section.role)(x)
            x = endpoint(x, section.role, endpoints)
            if section.reduction:
                x = endpoint(x, section.reduction, endpoints)
        x = endpoint(global_average_pool(x), "features", endpoints)
        if self.network.classifier is not None:
            x = self.dropout(x)
            x = endpoint(self.classifier(x), "logits", endpoints)
        return x
