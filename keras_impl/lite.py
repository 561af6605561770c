"""EfficientNet-Lite in Keras: MBConv without squeeze-and-excitation, and ReLU6.

The same program as `torch_impl/lite.py`; the numbers come from `common.lite`, and the block is in
`blocks.py`.
"""

from __future__ import annotations

import keras

from efficientnet_rosetta.common.blocks import PlainMBConvBlock
from efficientnet_rosetta.common.lite import LiteSpec

from .blocks import PlainMBConv, StagedNetwork


def EfficientNetLite(network: LiteSpec) -> keras.Model:
    """The network: images (N, H, W, C) of any size -> logits (N, classes) or features (N, C')."""
    return StagedNetwork(network, {PlainMBConvBlock: PlainMBConv})
