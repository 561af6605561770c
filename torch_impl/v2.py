"""EfficientNetV2 in PyTorch: fused blocks first, then the first EfficientNet's (arXiv 2104.00298).

The same program as `keras_impl/v2.py`; the numbers come from `common.v2`, and the fused block is in
`blocks.py`.
"""

from __future__ import annotations

from efficientnet_rosetta.common.blocks import FusedMBConvBlock
from efficientnet_rosetta.common.spec import MBConvBlock
from efficientnet_rosetta.common.v2 import V2Spec

from .blocks import FusedMBConv, StagedNetwork
from .efficientnet import MBConv


class EfficientNetV2(StagedNetwork):
    """The network: images (N, C, H, W) of any size -> logits (N, classes) or features (N, C')."""

    def __init__(self, network: V2Spec):
        super().__init__(network, {FusedMBConvBlock: FusedMBConv, MBConvBlock: MBConv})
