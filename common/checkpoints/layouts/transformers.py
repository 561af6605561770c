"""transformers: EfficientNetForImageClassification, and EfficientNetModel without the prefix."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...network import TENSORFLOW
from ..formats.detect import PYTORCH_FILE
from .names import StagedNames
from .schema import Layout, same_for, state_dict

PRESETS = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")

NAMES = StagedNames(
    stem_conv="efficientnet.embeddings.convolution",
    stem_bn="efficientnet.embeddings.batchnorm",
    block="efficientnet.encoder.blocks.{I}.",
    expanded={
        "expand_conv": "expansion.expand_conv",
        "expand_bn": "expansion.expand_bn",
        "depthwise_conv": "depthwise_conv.depthwise_conv",
        "depthwise_bn": "depthwise_conv.depthwise_norm",
        "se_reduce": "squeeze_excite.reduce",
        "se_expand": "squeeze_excite.expand",
        "project_conv": "projection.project_conv",
        "project_bn": "projection.project_bn",
    },
    head_conv="efficientnet.encoder.top_conv",
    head_bn="efficientnet.encoder.top_bn",
    classifier="classifier",
    headless_without="efficientnet.",  # EfficientNetModel's own names
)
# Its models without a classifier keep their head convolution.
FORM = replace(state_dict(NAMES), may_end_early=False)

TRANSFORMERS = Layout(
    name="transformers",
    library="transformers",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={"safetensors": FORM, PYTORCH_FILE: FORM},
    expects="what its image processor's configuration says (ImageNet for Google's weights)",
    framework=TORCH,
    notes=("its padding is right at the preset's own resolution only",),
)
