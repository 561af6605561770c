"""The official initialisation of a network's weights."""

from __future__ import annotations

import zlib

import numpy as np

from ..network import Layer, Network, conv_std, dense_bound
from .canonical import Weights


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one tensor: a function of the seed and its name, not of any order."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def initial(network: Network, seed: int = 0) -> Weights:
    """The official initialisation (conv_kernel_initializer, dense_kernel_initializer), float32.

    Convolutions N(0, 2 / fan-out), depthwise ones with a fan-out of kernel squared, the
    classifier U(+-1 / sqrt(classes)), biases 0, batch norms the identity.  Its logits are
    nearly constant in the input: compare implementations on `calibration.calibrated` instead.
    """
    return {
        name: array
        for layer in network.layers
        for name, array in _initial_layer(layer, seed).items()
    }


def _initial_layer(layer: Layer, seed: int) -> Weights:
    constants = {"scale": 1, "bias": 0, "mean": 0, "variance": 1}
    arrays: Weights = {}
    for name, shape in layer.tensors.items():
        last = name.rpartition(".")[2]
        random = generator(seed, name)
        if last in constants:
            arrays[name] = np.full(shape, constants[last], np.float32)
        elif layer.kind == "dense":
            bound = dense_bound(layer.out_channels)
            arrays[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        else:
            filters = 1 if layer.kind == "depthwise_conv" else layer.out_channels
            std = np.float32(conv_std(layer.kernel, filters))
            arrays[name] = random.standard_normal(shape, np.float32) * std
    return arrays
