"""EfficientNet-EdgeTPU in Keras: fused blocks first, then MBConv, neither with a gate; and ReLU.

The same program as `torch_impl/edgetpu.py`; the numbers come from `common.edgetpu`, and the blocks
are in `blocks.py`.
"""

from __future__ import annotations

import keras

from efficientnet_rosetta.common.blocks import FusedMBConvBlock, PlainMBConvBlock
from efficientnet_rosetta.common.edgetpu import EdgeTPUSpec

from .blocks import FusedMBConv, PlainMBConv, StagedNetwork


def EfficientNetEdgeTPU(network: EdgeTPUSpec) -> keras.Model:
    """The network: images (N, H, W, C) of any size -> logits (N, classes) or features (N, C')."""
    kinds = {FusedMBConvBlock: FusedMBConv, PlainMBConvBlock: PlainMBConv}
    return StagedNetwork(network, kinds)
