"""A network without its head in Keras: the last map of each resolution, for other tasks.

The same program as `torch_impl/features.py`, name for name.
"""

from __future__ import annotations

import keras

from efficientnet_rosetta.common.network import Network

from .layers import functional
from .weights import layer_name


def FeatureMaps(model: keras.Model, network: Network) -> keras.Model:
    """Images (N, H, W, C) -> maps (N, H', W', C'), the last of each resolution, largest first.

    Layers keep their names; what follows the last map is left out.
    """
    outputs = [model.get_layer(layer_name(name)).output for name in network.feature_maps]
    return functional(model.input, outputs, f"{model.name}_features")
