"""timm's own EfficientNetV2s in PyTorch: V2's blocks, and one that keeps a projection.

The same program as `keras_impl/v2_rw.py`; the numbers come from `common.v2_rw`, and the fused block
is in `blocks.py`.
"""

from __future__ import annotations

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


class EfficientNetV2RW(StagedNetwork):
    """The network: images (N, C, H, W) of any size -> logits (N, classes) or features (N, C')."""

    def __init__(self, network: V2RWSpec):
        super().__init__(network, KINDS)
