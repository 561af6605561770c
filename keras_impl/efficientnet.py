"""EfficientNet in Keras, in the order of the paper (arXiv 1905.11946).

The same program as `torch_impl/efficientnet.py`, name for name: every number comes from
`common.spec`, and layers with weights are named by their canonical roles.  Maps are
(N, H, W, C).  Only built-in layers and operations are used, so that a saved model loads
without this package.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, initializers, layers, ops

from efficientnet_rosetta.common.network import ConvBlock, Dialect, conv_std
from efficientnet_rosetta.common.spec import EfficientNetSpec, MBConvBlock

from .layers import (
    CHANNELS_LAST,
    BatchNorm,
    Classifier,
    Conv,
    DepthwiseConv,
    endpoint,
    functional,
    global_average_pool,
)
from .weights import layer_name


def swish(x: KerasTensor) -> KerasTensor:
    """x * sigmoid(x), elementwise (section 5.2; arXiv 1710.05941)."""
    return ops.silu(x)


def PointwiseConv(filters: int, name: str) -> layers.Layer:
    """1x1 convolution with bias, for squeeze-and-excitation: (N, 1, 1, C) -> (N, 1, 1, C')."""
    return layers.Conv2D(
        filters,
        1,
        data_format=CHANNELS_LAST,
        kernel_initializer=initializers.RandomNormal(stddev=conv_std(1, filters)),
        name=layer_name(name),
    )


def squeeze_and_excitation(
    x: KerasTensor, reduce: layers.Layer, expand: layers.Layer
) -> KerasTensor:
    """Gate each channel by the means of all: (N, H, W, C) -> (N, H, W, C) (arXiv 1709.01507)."""
    # step: se
    gate = global_average_pool(x, keepdims=True)
    gate = swish(reduce(gate))
    gate = ops.sigmoid(expand(gate))
    return x * gate


def StochasticDepth(rate: float, name: str) -> layers.Layer:
    """In training, drop a whole sample's branch with probability `rate` (arXiv 1603.09382).

    What is kept is divided by the survival probability, so that the expectation is unchanged.
    """
    # step: skip
    return layers.Dropout(
        rate,
        noise_shape=(None, 1, 1, 1),
        name=layer_name(name),
    )


class MBConv:
    """Inverted bottleneck: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C') (section 4, Table 1)."""

    def __init__(self, block: MBConvBlock, dialect: Dialect):
        # step: block
        self.block = block
        at = block.role
        inner = block.expanded_channels
        squeezed = block.squeezed_channels
        outer = block.out_channels
        # step: expand
        if block.has_expansion:
            name = f"{at}.expand_conv"
            self.expand_conv = Conv(inner, 1, 1, dialect, name)
            self.expand_bn = BatchNorm(dialect, f"{at}.expand_bn")
        # step: depthwise
        self.depthwise_conv = DepthwiseConv(
            block.kernel,
            block.stride,
            dialect,
            f"{at}.depthwise_conv",
        )
        self.depthwise_bn = BatchNorm(dialect, f"{at}.depthwise_bn")
        # step: se
        self.se_reduce = PointwiseConv(squeezed, f"{at}.se_reduce")
        self.se_expand = PointwiseConv(inner, f"{at}.se_expand")
        # step: project
        name = f"{at}.project_conv"
        self.project_conv = Conv(outer, 1, 1, dialect, name)
        self.project_bn = BatchNorm(dialect, f"{at}.project_bn")
        # step: skip
        rate = block.drop_path_rate
        self.drop_path = StochasticDepth(rate, f"{at}.drop_path")

    def __call__(self, x: KerasTensor) -> KerasTensor:
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


class ConvBnSwish:
    """Stem and head: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C') (Table 1, stages 1 and 9)."""

    def __init__(self, part: ConvBlock, dialect: Dialect):
        # step: conv
        filters, at = part.out_channels, part.role
        kernel, stride = part.kernel, part.stride
        name = f"{at}.conv"
        self.conv = Conv(filters, kernel, stride, dialect, name)
        self.bn = BatchNorm(dialect, f"{at}.bn")

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: conv
        return swish(self.bn(self.conv(x)))


def EfficientNet(network: EfficientNetSpec) -> keras.Model:
    """The network: images (N, H, W, C) of any size -> logits (N, classes) or features (N, C')."""
    dialect = network.dialect
    # step: stem
    channels = network.in_channels
    image = keras.Input((None, None, channels), name="image")
    x = ConvBnSwish(network.stem, dialect)(image)
    x = endpoint(x, "stem")
    # step: stages
    for block in network.blocks:
        x = endpoint(MBConv(block, dialect)(x), block.role)
        if block.reduction:
            x = endpoint(x, block.reduction)
    # step: head
    x = ConvBnSwish(network.head, dialect)(x)
    x = endpoint(x, "head")
    x = endpoint(global_average_pool(x), "features")
    # step: classifier
    last = network.classifier
    if last is not None:
        x = layers.Dropout(last.dropout, name="dropout")(x)
        x = Classifier(last.num_classes, "classifier")(x)
        x = endpoint(x, "logits")
    return functional(image, x, f"efficientnet_{network.name}")
