"""EfficientNetV2 in Keras: fused blocks first, then the first EfficientNet's (arXiv 2104.00298).

The same program as `torch_impl/v2.py`; the numbers come from `common.v2`, and the fused block is in
`blocks.py`.
"""

from __future__ import annotations

import keras

from efficientnet_rosetta.common.blocks import FusedMBConvBlock
from efficientnet_rosetta.common.spec import MBConvBlock
from efficientnet_rosetta.common.v2 import V2Spec

from .blocks import FusedMBConv, StagedNetwork
from .efficientnet import MBConv


def EfficientNetV2(network: V2Spec) -> keras.Model:
    """The network: images (N, H, W, C) of any size -> logits (N, classes) or features (N, C')."""
    return StagedNetwork(network, {FusedMBConvBlock: FusedMBConv, MBConvBlock: MBConv})
