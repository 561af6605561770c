"""EfficientNet in PyTorch, in the order of the paper (arXiv 1905.11946).

The same program as `keras_impl/efficientnet.py`, name for name: every number comes from
`common.spec`, and the keys of `state_dict()` are the canonical tensor names.  Maps are
(N, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from efficientnet_rosetta.common.network import ConvBlock, Dialect, conv_std
from efficientnet_rosetta.common.spec import EfficientNetSpec, MBConvBlock

from .layers import (
    BatchNorm,
    Classifier,
    Conv,
    DepthwiseConv,
    Overwritten,
    endpoint,
    global_average_pool,
    overwrites,
)


def swish(x: Tensor) -> Tensor:
    """x * sigmoid(x), elementwise (section 5.2; arXiv 1710.05941); in inference it overwrites x."""
    return F.silu(x, inplace=overwrites())


class PointwiseConv(Overwritten, nn.Conv2d):
    """1x1 convolution with bias, for squeeze-and-excitation: (N, C, 1, 1) -> (N, C', 1, 1)."""

    bias: nn.Parameter  # which a convolution of PyTorch need not have

    def __init__(self, channels: int, filters: int):
        super().__init__(channels, filters, 1)
        nn.init.normal_(self.weight, std=conv_std(1, filters))
        nn.init.zeros_(self.bias)


def squeeze_and_excitation(x: Tensor, reduce: PointwiseConv, expand: PointwiseConv) -> Tensor:
    """Gate each channel by the means of all: (N, C, H, W) -> (N, C, H, W) (arXiv 1709.01507)."""
    # step: se
    gate = global_average_pool(x, keepdims=True)
    gate = swish(reduce(gate))
    gate = torch.sigmoid(expand(gate))
    return x.mul_(gate) if overwrites() else x * gate


class StochasticDepth(nn.Module):
    """In training, drop a whole sample's branch with probability `rate` (arXiv 1603.09382).

    What is kept is divided by the survival probability, so that the expectation is unchanged.
    """

    def __init__(self, rate: float):
        super().__init__()
        # step: skip
        self.p = rate

    def forward(self, x: Tensor) -> Tensor:
        # step: skip
        if not self.training or self.p == 0:
            return x
        samples = x.new_ones(x.shape[0], 1, 1, 1)
        return x * F.dropout(samples, self.p)


class MBConv(nn.Module):
    """Inverted bottleneck: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s)) (section 4, Table 1)."""

    def __init__(self, block: MBConvBlock, dialect: Dialect):
        super().__init__()
        # step: block
        self.block = block
        channels = block.in_channels
        inner = block.expanded_channels
        squeezed = block.squeezed_channels
        outer = block.out_channels
        # step: expand
        if block.has_expansion:
            self.expand_conv = Conv(channels, inner, 1, 1, dialect)
            self.expand_bn = BatchNorm(inner, dialect)
        # step: depthwise
        self.depthwise_conv = DepthwiseConv(
            inner,
            block.kernel,
            block.stride,
            dialect,
        )
        self.depthwise_bn = BatchNorm(inner, dialect)
        # step: se
        self.se_reduce = PointwiseConv(inner, squeezed)
        self.se_expand = PointwiseConv(squeezed, inner)
        # step: project
        self.project_conv = Conv(inner, outer, 1, 1, dialect)
        self.project_bn = BatchNorm(outer, dialect)
        # step: skip
        self.drop_path = StochasticDepth(block.drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        # step: block
        skip = x
        # step: expand
        if self.block.has_expansion:
            x = swish(self.expand_bn(self.expand_conv(x)))
        # step: depthwise
        x = swish(self.depthwise_bn(self.depthwise_conv(x)))
        # step: se
        reduce, expand = self.se_reduce, self.se_expand
        x = squeeze_and_excitation(x, reduce, expand)
        # step: project
        x = self.project_bn(self.project_conv(x))
        # step: skip
        if self.block.has_skip:
            x = self.drop_path(x) + skip
        return x


class ConvBnSwish(nn.Module):
    """Stem and head: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s)) (Table 1, stages 1 and 9)."""

    def __init__(self, part: ConvBlock, dialect: Dialect):
        super().__init__()
        # step: conv
        channels, filters = part.in_channels, part.out_channels
        kernel, stride = part.kernel, part.stride
        self.conv = Conv(channels, filters, kernel, stride, dialect)
        self.bn = BatchNorm(filters, dialect)

    def forward(self, x: Tensor) -> Tensor:
        # step: conv
        return swish(self.bn(self.conv(x)))


class _Stage(nn.Module):
    """The blocks of one row of Table 1, so that their keys read `stages.3.blocks.0`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()


class EfficientNet(nn.Module):
    """The network: images (N, C, H, W) of any size -> logits (N, classes) or features (N, C')."""

    def __init__(self, network: EfficientNetSpec):
        super().__init__()
        self.network, dialect = network, network.dialect
        # step: stem
        self.stem = ConvBnSwish(network.stem, dialect)
        # step: stages
        stages: dict[str, _Stage] = {}
        for block in network.blocks:
            stage = str(block.stage)
            if block.repeat == 0:
                stages[stage] = _Stage()
            mbconv = MBConv(block, dialect)
            stages[stage].blocks.append(mbconv)
        self.stages = nn.ModuleDict(stages)
        # step: head
        self.head = ConvBnSwish(network.head, dialect)
        # step: classifier
        last = network.classifier
        if last is not None:
            channels, classes = last.in_channels, last.num_classes
            self.dropout = nn.Dropout(last.dropout)
            self.classifier = Classifier(channels, classes)

    def forward(self, x: Tensor, endpoints: dict[str, Tensor] | None = None) -> Tensor:
        """`endpoints`, where given, is filled with the value of every endpoint."""
        # step: stem
        x = endpoint(self.stem(x), "stem", endpoints)
        # step: stages
        for block in self.network.blocks:
            mbconv = self.get_submodule(block.role)
            x = endpoint(mbconv(x), block.role, endpoints)
            if block.reduction:
                x = endpoint(x, block.reduction, endpoints)
        # step: head
        x = endpoint(self.head(x), "head", endpoints)
        x = global_average_pool(x)
        x = endpoint(x, "features", endpoints)
        # step: classifier
        if self.network.classifier is not None:
            x = self.dropout(x)
            x = endpoint(self.classifier(x), "logits", endpoints)
        return x
