"""timm's own EfficientNetV2s in Keras: V2's blocks, and one that keeps a projection.

The same program as `torch_impl/v2_rw.py`; the numbers come from `common.v2_rw`, and the fused block
is in `blocks.py`.
"""

from __future__ import annotations

import keras

from efficientnet_rosetta.common.blocks import FusedMBConvBlock, ProjectedMBConvBlock
from efficientnet_rosetta.common.spec import MBConvBlock
from efficientnet_rosetta.common.v2_rw import V2RWSpec

from .blocks import FusedMBConv, StagedNetwork
from .efficientnet import MBConv

KINDS = {
    FusedMBConvBlock: FusedMBConv,
    ProjectedMBConvBlock: FusedMBConv,
    MBConvBlock: MBConv,
}


def EfficientNetV2RW(network: V2RWSpec) -> keras.Model:
    """The network: images (N, H, W, C) of any size -> logits (N, classes) or features (N, C')."""
    return StagedNetwork(network, KINDS)
