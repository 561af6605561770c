"""Xception in PyTorch, in the order of the paper's figure 5 (arXiv 1610.02357).

The same program as `keras_impl/xception.py`, name for name: every number comes from
`common.xception`, and the keys of `state_dict()` are the canonical tensor names.  Maps are
(N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F

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
    global_average_pool,
)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), elementwise."""
    return F.relu(x)


class ConvBnRelu(nn.Module):
    """Stem, without padding: (N, C, H, W) -> (N, C', floor((H-k)/s)+1, floor((W-k)/s)+1)."""

    def __init__(self, part: ConvBlock, dialect: Dialect):
        super().__init__()
        # step: stem
        channels, filters = part.in_channels, part.out_channels
        self.conv = Conv(
            channels,
            filters,
            part.kernel,
            part.stride,
            dialect,
            part.padded,
        )
        self.bn = BatchNorm(filters, dialect)

    def forward(self, x: Tensor) -> Tensor:
        # step: stem
        return relu(self.bn(self.conv(x)))


class SeparableConv(nn.Module):
    """Depthwise, then pointwise, then batch norm: (N, C, H, W) -> (N, C', H, W) (section 1.2)."""

    def __init__(self, part: SeparableConvSpec, dialect: Dialect):
        super().__init__()
        # step: separable
        self.relu_first = part.relu_first
        channels, kernel = part.in_channels, part.kernel
        self.depthwise_conv = DepthwiseConv(
            channels,
            kernel,
            1,
            dialect,
        )
        filters = part.out_channels
        self.pointwise_conv = Conv(channels, filters, 1, 1, dialect)
        self.bn = BatchNorm(filters, dialect)

    def forward(self, x: Tensor) -> Tensor:
        # step: separable
        x = relu(x) if self.relu_first else x
        return self.bn(self.pointwise_conv(self.depthwise_conv(x)))


class XceptionBlock(nn.Module):
    """Separable convolutions beside a shortcut: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s))."""

    def __init__(self, block: ResidualBlock, dialect: Dialect):
        super().__init__()
        # step: block
        self.block = block
        stride = block.stride
        convs = [SeparableConv(c, dialect) for c in block.separable]
        self.separable = nn.ModuleList(convs)
        # step: pool
        if block.has_pool:
            self.pool = MaxPool(block.kernel, stride, dialect)
        # step: shortcut
        channels, filters = block.in_channels, block.out_channels
        if block.has_projection:
            self.shortcut_conv = Conv(
                channels,
                filters,
                1,
                stride,
                dialect,
            )
            self.shortcut_bn = BatchNorm(filters, dialect)

    def forward(self, x: Tensor) -> Tensor:
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
    """The end of the exit flow: (N, C, H, W) -> (N, C', H, W)."""

    def __init__(self, part: SeparableSpec, dialect: Dialect):
        # step: end
        super().__init__(part.separable, dialect)

    def forward(self, x: Tensor) -> Tensor:
        # step: end
        return relu(super().forward(x))


class _Flow(nn.Module):
    """A flow of figure 5, so that keys read `entry.blocks.0`."""

    def __init__(self, **parts: Iterable[nn.Module]):
        super().__init__()
        for name, modules in parts.items():
            self.add_module(name, nn.ModuleList(modules))


class Xception(nn.Module):
    """The network: images (N, C, H, W), of 7 pixels or more -> logits or features (N, C')."""

    def __init__(self, network: XceptionSpec):
        super().__init__()
        # step: flows
        self.network, dialect = network, network.dialect
        self.maps = network.maps
        flows: dict[str, list[nn.Module]] = {}
        for block in network.blocks:
            flow = flows.setdefault(block.flow, [])
            flow.append(XceptionBlock(block, dialect))
        stem = [ConvBnRelu(part, dialect) for part in network.stem]
        end = network.head
        head = [SeparableConvRelu(part, dialect) for part in end]
        self.entry = _Flow(stem=stem, blocks=flows["entry"])
        self.middle = _Flow(blocks=flows["middle"])
        self.exit = _Flow(blocks=flows["exit"], head=head)
        # step: classifier
        last = network.classifier
        if last is not None:
            self.dropout = nn.Dropout(last.dropout)
            features, classes = last.in_channels, last.num_classes
            self.classifier = Classifier(features, classes)

    def forward(self, x: Tensor, endpoints: dict[str, Tensor] | None = None) -> Tensor:
        """`endpoints`, where given, is filled with the value of every endpoint."""
        # step: flows
        for section in self.maps:
            x = self.get_submodule(section.role)(x)
            x = endpoint(x, section.role, endpoints)
            if section.reduction:
                x = endpoint(x, section.reduction, endpoints)
        # step: classifier
        x = endpoint(global_average_pool(x), "features", endpoints)
        if self.network.classifier is not None:
            x = self.dropout(x)
            x = endpoint(self.classifier(x), "logits", endpoints)
        return x
