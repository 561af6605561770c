"""EfficientNet-EdgeTPU in PyTorch: fused blocks first, then MBConv, neither with a gate; and ReLU.

The same program as `keras_impl/edgetpu.py`; the numbers come from `common.edgetpu`, and the blocks
are in `blocks.py`.
"""

from __future__ import annotations

from efficientnet_rosetta.common.blocks import FusedMBConvBlock, PlainMBConvBlock
from efficientnet_rosetta.common.edgetpu import EdgeTPUSpec

from .blocks import FusedMBConv, PlainMBConv, StagedNetwork


class EfficientNetEdgeTPU(StagedNetwork):
    """The network: images (N, C, H, W) of any size -> logits (N, classes) or features (N, C')."""

    def __init__(self, network: EdgeTPUSpec):
        super().__init__(network, {FusedMBConvBlock: FusedMBConv, PlainMBConvBlock: PlainMBConv})
