"""torchvision.models.efficientnet_b0 to b7."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...network import PYTORCH, TORCHVISION_LARGE
from ..formats.detect import PYTORCH_FILE
from .schema import EfficientNetNames, Layout, state_dict

SMALL, LARGE = ("b0", "b1", "b2", "b3", "b4"), ("b5", "b6", "b7")

NAMES = EfficientNetNames(
    stem_conv="features.0.0",
    stem_bn="features.0.1",
    block="features.{S1}.{B}.block.",
    expanded={
        "expand_conv": "0.0",
        "expand_bn": "0.1",
        "depthwise_conv": "1.0",
        "depthwise_bn": "1.1",
        "se_reduce": "2.fc1",
        "se_expand": "2.fc2",
        "project_conv": "3.0",
        "project_bn": "3.1",
    },
    plain={
        "depthwise_conv": "0.0",
        "depthwise_bn": "0.1",
        "se_reduce": "1.fc1",
        "se_expand": "1.fc2",
        "project_conv": "2.0",
        "project_bn": "2.1",
    },
    head_conv="features.8.0",
    head_bn="features.8.1",
    classifier="classifier.1",
)
FORM = state_dict(NAMES)
# The state dict of `model.features` alone.
FEATURES = state_dict(replace(NAMES, headless_without="features."))

TORCHVISION = Layout(
    name="torchvision",
    library="torchvision",
    presets=(*SMALL, *LARGE),
    # B5 to B7 pad symmetrically although their weights were trained with SAME padding, and
    # have the epsilon of those weights.
    dialects={
        **dict.fromkeys(SMALL, (PYTORCH,)),
        **dict.fromkeys(LARGE, (TORCHVISION_LARGE,)),
    },
    forms={"safetensors": FORM, PYTORCH_FILE: FORM},
    also_read={"safetensors": (FEATURES,), PYTORCH_FILE: (FEATURES,)},
    expects="RGB / 255, then the mean and standard deviation of ImageNet",
    framework=TORCH,
)
