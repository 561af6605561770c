"""Batch norms folded into the convolutions before them, for inference.

A batch norm that learns no more multiplies each channel by s = scale / sqrt(variance + epsilon) and
adds bias - mean * s.  The convolution does both where its kernel is multiplied by s and it has a
bias: one pass over a map less for each of them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from ..network import Layer, Network
from .canonical import Weights, check

Precision = Literal["float32", "float64"]
NO_TRAINING = (
    "the batch norms of this model are folded into its convolutions, for inference only; "
    "to train it, build it without folded=True"
)
NO_WEIGHTS = (
    "the batch norms of this model are folded into its convolutions, and its weights are not those "
    "of the network any more; take them from what it was loaded from"
)


def folds(network: Network) -> dict[str, str]:
    """The role of every convolution that a batch norm follows, and the role of the batch norm."""
    return {
        conv.role: bn.role
        for section in network.sections
        for path in (section.path, section.shortcut or ())
        for conv, bn in pairwise(path)
        if isinstance(conv, Layer) and isinstance(bn, Layer) and bn.kind == "batch_norm"
    }


def folded(network: Network, weights: Weights, precision: Precision) -> Weights:
    """What is left of canonical weights: kernels and biases, computed in float64.

    Names and orientations are canonical; convolutions have a `bias` in place of their batch norms.

    Raises:
        WeightsError: the weights are not those of the network.
    """
    check(network.tensors, weights)
    norms = folds(network)
    gone = set(norms.values())
    found: Weights = {}
    for layer in network.layers:
        if layer.role in gone:
            continue
        arrays = {name: weights[name] for name in layer.tensors}
        if layer.role in norms:
            arrays = _with_bias(layer, norms[layer.role], network.dialect.epsilon, weights)
        found |= {name: array.astype(precision) for name, array in arrays.items()}
    return found


def _with_bias(conv: Layer, bn: str, epsilon: float, weights: Weights) -> Weights:
    """The kernel and the bias of a convolution that does what its batch norm did."""
    scale, bias, mean, variance = (
        weights[f"{bn}.{name}"].astype(np.float64) for name in ("scale", "bias", "mean", "variance")
    )
    factor = scale / np.sqrt(variance + epsilon)
    kernel, own = (f"{conv.role}.{name}" for name in ("weight", "bias"))
    before = weights[own].astype(np.float64) if conv.bias else 0.0
    return {
        kernel: weights[kernel].astype(np.float64) * factor[:, None, None, None],
        own: bias + (before - mean) * factor,
    }
