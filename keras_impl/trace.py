"""Every operation of one section in Keras, to find the one that another program differs in."""

from __future__ import annotations

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from efficientnet_rosetta.common.backends.trace import Trace
from efficientnet_rosetta.common.backends.values import from_layout, to_layout

from .layers import functional
from .weights import layer_name, role_of

# What hands on its input, amid a border at most, in inference.
MOVES = {"InputLayer", "Identity", "Dropout", "ZeroPadding2D", "Pad"}


def trace(model: keras.Model, endpoint: str, value: np.ndarray) -> Trace:
    """The operations that lead to an endpoint from the one before, whose value is given.

    Inference; `value` is (N, C, H, W), or the images for the first endpoint.
    """
    end = model.get_layer(layer_name(endpoint))
    start = _before(model, end)
    kept = [
        operation
        for operation in functional(start, end.output, "section").operations
        if type(operation).__name__ not in MOVES
    ]
    section = functional(start, [operation.output for operation in kept], "section")
    x = ops.convert_to_tensor(to_layout(value, value.ndim == 4), model.inputs[0].dtype)
    outputs = keras.tree.flatten(section(x, training=False))  # one of one is no list
    found = Trace()
    for operation, output in zip(kept, outputs, strict=True):
        array = ops.convert_to_numpy(output)
        found.keep(_name(operation, endpoint), from_layout(array, True))
    return found


def _before(model: keras.Model, end: layers.Layer) -> KerasTensor:
    """What the section that ends in a layer begins with: the endpoint before, or the image."""
    ends = [layer for layer in model.layers if isinstance(layer, layers.Identity)]
    position = ends.index(end)
    return ends[position - 1].output if position else model.inputs[0]


def _name(operation: keras.Operation, endpoint: str) -> str:
    """A layer's role within its section; Keras numbers other operations through a session."""
    if isinstance(operation, layers.Layer):
        return role_of(operation).removeprefix(f"{endpoint}.")
    return type(operation).__name__.lower()
