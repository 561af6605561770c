"""The networks of the sound files, and their weights."""

from __future__ import annotations

from functools import cache

import numpy as np

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights.canonical import Weights
from efficientnet_rosetta.common.weights.initial import initial


@cache
def network(preset: str = "custom") -> Network:
    """Of 33,000 parameters, or a preset."""
    if preset == "custom":
        return resolve(width=0.1, depth=0.1, resolution=32, num_classes=3)
    return resolve(preset, num_classes=7)


@cache
def weights(preset: str = "custom") -> Weights:
    """Which make every value count: no two tensors are alike."""
    random = np.random.default_rng(0)
    return {
        name: (array + np.abs(random.normal(0.1, 0.01, array.shape))).astype(np.float32)
        for name, array in initial(network(preset)).items()
    }
