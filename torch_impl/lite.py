"""EfficientNet-Lite in PyTorch: MBConv without squeeze-and-excitation, and ReLU6.

The same program as `keras_impl/lite.py`; the numbers come from `common.lite`, and the block is in
`blocks.py`.
"""

from __future__ import annotations

from efficientnet_rosetta.common.blocks import PlainMBConvBlock
from efficientnet_rosetta.common.lite import LiteSpec

from .blocks import PlainMBConv, StagedNetwork


class EfficientNetLite(StagedNetwork):
    """The network: images (N, C, H, W) of any size -> logits (N, classes) or features (N, C')."""

    def __init__(self, network: LiteSpec):
        super().__init__(network, {PlainMBConvBlock: PlainMBConv})
