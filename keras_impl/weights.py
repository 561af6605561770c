"""Canonical weights in and out of a Keras model: layers carry roles, kernels are transposed.

A layer's name is its role with dashes for dots, which Keras's torch backend does not take.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights.canonical import Weights, check

Axes = tuple[int, ...]
# Keras's name of a variable -> the canonical one.
NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "scale",
    "beta": "bias",
    "moving_mean": "mean",
    "moving_variance": "variance",
}
# Axes of Keras's kernel, taken in canonical order.
AXES = {
    layers.Conv2D: (3, 2, 0, 1),  # (height, width, in, out) -> (out, in, height, width)
    layers.DepthwiseConv2D: (2, 3, 0, 1),  # (height, width, channels, 1)
    layers.Dense: (1, 0),  # (in, out) -> (out, in)
}


def layer_name(role: str) -> str:
    """`stages.3.blocks.0.expand_conv` -> `stages-3-blocks-0-expand_conv`."""
    return role.replace(".", "-")


def role_of(layer: keras.Operation) -> str:
    """The inverse of `layer_name`."""
    return layer.name.replace("-", ".")


def load_weights(model: keras.Model, weights: Weights) -> None:
    """Copy canonical weights into a model, in the model's dtype.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape; nothing was copied.
    """
    check(tensor_shapes(model), weights)
    for name, variable, axes in variables(model):
        variable.assign(weights[name].transpose(np.argsort(axes)))


def dump_weights(model: keras.Model) -> Weights:
    """Copy a model's weights out as canonical arrays."""
    return {
        # PyTorch and JAX hand out their own memory.
        name: np.array(keras.ops.convert_to_numpy(variable).transpose(axes), order="C")
        for name, variable, axes in variables(model)
    }


def tensor_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor by its canonical name, in canonical orientation."""
    return {
        name: tuple(variable.shape[axis] for axis in axes)
        for name, variable, axes in variables(model)
    }


def network_of(model: keras.Model) -> Network:
    """The network that a model was made of.

    Raises:
        UsageError: it is no model of ours, or was loaded from a file of Keras's, which keeps none.
    """
    network = getattr(model, "network", None)
    if not isinstance(network, Network):
        raise UsageError("this model was not made by `build`, which notes its network")
    return network


def variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable, Axes]]:
    """Canonical name, variable, and the axes that put it in canonical order."""
    for layer in model.layers:
        for name, variable, axes in layer_variables(layer):
            yield f"{role_of(layer)}.{name}", variable, axes


def layer_variables(layer: layers.Layer) -> Iterator[tuple[str, keras.Variable, Axes]]:
    """The same for one layer, with the last part of the name only."""
    for variable in layer.weights:
        axes = AXES[type(layer)] if variable.name == "kernel" else (0,)
        yield NAMES[variable.name], variable, axes
