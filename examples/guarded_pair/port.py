"""Moves the weights: PyTorch's names and orders of axes to Keras's."""

import keras
import numpy as np
from model_keras import classifier
from safetensors.numpy import load_file

BATCH_NORM = ("weight", "bias", "running_mean", "running_var")  # in the order of Keras


def arrays_of(layer: keras.Layer, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The weights of a layer as Keras has them."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return [weights[f"{layer.name}.{part}"] for part in BATCH_NORM]
    kernel = weights[f"{layer.name}.weight"]
    if isinstance(layer, keras.layers.Dense):
        return [kernel.T, weights[f"{layer.name}.bias"]]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return [kernel.transpose(2, 3, 0, 1)]  # (C, 1, H, W) to (H, W, C, 1)
    return [kernel.transpose(2, 3, 1, 0)]  # (O, I, H, W) to (H, W, I, O)


def load(path: str) -> keras.Model:
    """The model with the weights of a file that PyTorch wrote."""
    weights, model = load_file(path), classifier()
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(arrays_of(layer, weights))
    return model
