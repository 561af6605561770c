"""Layers that the networks share, in Keras.

The same program as `torch_impl/layers.py`, name for name.  Maps are (N, H, W, C), and layers with
weights are named by their canonical roles.  Only built-in layers and operations are used, so that
a saved model loads without this package.
"""

from __future__ import annotations

import sys
from typing import Any

import keras
from keras import KerasTensor, initializers, layers, ops

from efficientnet_rosetta.common.network import (
    Activation,
    Dialect,
    conv_std,
    dense_bound,
    symmetric_padding,
)

from .weights import layer_name

# Stated on every layer, so that a reader's own keras.json cannot turn the maps around.
CHANNELS_LAST = "channels_last"
ACTIVATIONS = {"swish": ops.silu, "relu": ops.relu, "relu6": ops.relu6}
RECURSION = 50_000  # frames; Python stops at 1,000 by default, and L2 needs more


class Conv:
    """Convolution without bias: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C').

    Without padding: (N, floor((H - k) / s) + 1, floor((W - k) / s) + 1, C').
    """

    kind = "conv"

    def __init__(
        self,
        filters: int,
        kernel: int,
        stride: int,
        dialect: Dialect,
        name: str,
        padded: bool = True,
    ):
        self.pad, padding = None, "valid"
        if padded:
            self.pad, padding = _padding(kernel, stride, dialect, self.kind, name)
        self.conv = layers.Conv2D(
            filters,
            kernel,
            stride,
            padding,
            data_format=CHANNELS_LAST,
            use_bias=False,
            kernel_initializer=initializers.RandomNormal(stddev=conv_std(kernel, filters)),
            name=layer_name(name),
        )

    def __call__(self, x: KerasTensor) -> KerasTensor:
        return self.conv(self.pad(x) if self.pad else x)


class DepthwiseConv(Conv):
    """One filter per channel, without bias: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C)."""

    kind = "depthwise_conv"

    def __init__(self, kernel: int, stride: int, dialect: Dialect, name: str):
        self.pad, padding = _padding(kernel, stride, dialect, self.kind, name)
        self.conv = layers.DepthwiseConv2D(
            kernel,
            stride,
            padding,
            data_format=CHANNELS_LAST,
            use_bias=False,
            depthwise_initializer=initializers.RandomNormal(stddev=conv_std(kernel, 1)),
            name=layer_name(name),
        )


def _padding(
    kernel: int, stride: int, dialect: Dialect, kind: str, name: str
) -> tuple[layers.Layer | None, str]:
    """The layer that pads before a convolution, if any, and the convolution's own padding."""
    # step: pad
    if dialect.rule(kind) == "same" or stride == 1:
        # Keras pads a map of any size by itself.
        return None, "same"
    if kernel == 1:
        return None, "valid"
    zeros = symmetric_padding(kernel)
    pad = layers.ZeroPadding2D(
        (zeros, zeros),
        CHANNELS_LAST,
        name=layer_name(f"{name}_pad"),
    )
    return pad, "valid"


class MaxPool:
    """Largest value of each window: (N, H, W, C) -> (N, ceil(H/s), ceil(W/s), C)."""

    def __init__(self, kernel: int, stride: int, dialect: Dialect, name: str):
        # step: pool
        self.same = dialect.rule("max_pool") == "same"
        self.border = symmetric_padding(kernel)
        self.pool = layers.MaxPooling2D(
            kernel,
            stride,
            "same" if self.same else "valid",
            data_format=CHANNELS_LAST,
            name=layer_name(name),
        )

    def __call__(self, x: KerasTensor) -> KerasTensor:
        # step: pool
        if not self.same:
            # Not zeros: the largest where all else is negative.
            lowest, border = float("-inf"), self.border
            pads = ((0, 0), border, border, (0, 0))
            x = ops.pad(x, pads, constant_values=lowest)
        return self.pool(x)


def BatchNorm(dialect: Dialect, name: str) -> layers.Layer:
    """Batch normalization over N, H and W of (N, H, W, C)."""
    return layers.BatchNormalization(
        momentum=dialect.momentum, epsilon=dialect.epsilon, name=layer_name(name)
    )


def activation(x: KerasTensor, function: Activation) -> KerasTensor:
    """The function that a specification names, elementwise."""
    return ACTIVATIONS[function.function](x)


def global_average_pool(x: KerasTensor, keepdims: bool = False) -> KerasTensor:
    """Mean over height and width: (N, H, W, C) -> (N, C), or (N, 1, 1, C)."""
    # step: pool
    # Rows first: TensorFlow adds up float32 one by one,
    # which costs a digit at 190 x 190.
    rows = ops.mean(x, 1, keepdims=True)
    return ops.mean(rows, (1, 2), keepdims=keepdims)


def Classifier(num_classes: int, name: str) -> layers.Layer:
    """Dense layer on the pooled features: (N, C) -> (N, classes)."""
    # step: classifier
    bound = dense_bound(num_classes)
    uniform = initializers.RandomUniform(-bound, bound)
    return layers.Dense(
        num_classes,
        kernel_initializer=uniform,
        # Logits are as precise as the weights,
        # where what is before them is less so.
        dtype=keras.config.dtype_policy().variable_dtype,
        name=name,
    )


def endpoint(x: KerasTensor, name: str) -> KerasTensor:
    """Give a value a name to ask for it by: a layer that changes nothing."""
    return layers.Identity(dtype=x.dtype, name=layer_name(name))(x)


def functional(
    inputs: Any, outputs: Any, name: str, kind: type[keras.Model] = keras.Model
) -> keras.Model:
    """A functional model however deep: Keras follows its graph by recursion, too far for L2."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION)
    try:
        return kind(inputs, outputs, name=name)
    finally:
        sys.setrecursionlimit(limit)
