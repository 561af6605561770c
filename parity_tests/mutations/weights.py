"""Mistakes in carrying weights over: kernels read or turned the wrong way, names exchanged."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np

from efficientnet_rosetta.common.weights.canonical import Weights

from .machine import Apply, Mutation
from .making import other_weights


def _each(match: str, change: Callable[[np.ndarray], np.ndarray]) -> Apply:
    """Tensors are changed in whose name something occurs."""
    return other_weights(
        lambda weights: {
            name: np.ascontiguousarray(change(array)) if match in name else array
            for name, array in weights.items()
        }
    )


def _swapped(first: str, second: str) -> Apply:
    """Two tensors of every batch norm are taken for one another."""

    def change(weights: Weights) -> Weights:
        found = dict(weights)
        for name in weights:
            if name.endswith(f"bn.{first}"):
                other = name.removesuffix(first) + second
                found[name], found[other] = weights[other], weights[name]
        return found

    return other_weights(change)


MISTAKES = (
    Mutation(
        "height and width exchanged in depthwise kernels",
        "forward",
        _each("depthwise_conv", lambda kernel: kernel.transpose(0, 1, 3, 2)),
        size=20,
    ),
    Mutation(
        "depthwise kernels read in Keras's order of axes",
        "forward",
        _each("depthwise_conv", lambda kernel: kernel.transpose(2, 3, 0, 1).reshape(kernel.shape)),
        size=30,
    ),
    Mutation(
        "kernels turned around",
        "forward",
        _each("depthwise_conv", lambda kernel: kernel[:, :, ::-1, ::-1]),
        size=10,
    ),
    Mutation(
        "classifier transposed in place",
        "forward",
        _each("classifier.weight", lambda kernel: kernel.T.reshape(kernel.shape)),
        size=5,
    ),
    # Roots of negative means are no numbers.
    Mutation(
        "batch-norm mean and variance exchanged",
        "forward",
        _swapped("mean", "variance"),
        size=inf,
    ),
    Mutation(
        "batch-norm scale and bias exchanged",
        "forward",
        _swapped("scale", "bias"),
        size=90,
    ),
    Mutation(
        "blue, green, red",
        "forward",
        _each("stem.conv.weight", lambda kernel: kernel[:, ::-1]),
        size=20,
    ),
)
