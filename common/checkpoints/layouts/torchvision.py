"""torchvision.models.efficientnet_b0 to b7, and efficientnet_v2_s, m and l."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...images.normalization import IMAGENET, INCEPTION
from ...network import PYTORCH, TORCHVISION_LARGE, TORCHVISION_V2
from ..formats.detect import PYTORCH_FILE
from .names import StagedNames
from .schema import Layout, same_for, state_dict

SMALL, LARGE = ("b0", "b1", "b2", "b3", "b4"), ("b5", "b6", "b7")

NAMES = StagedNames(
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
    fused={
        "expand_conv": "0.0",
        "expand_bn": "0.1",
        "project_conv": "1.0",
        "project_bn": "1.1",
    },
    fused_plain={"project_conv": "0.0", "project_bn": "0.1"},
    head_conv="features.{H}.0",
    head_bn="features.{H}.1",
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
# Trained there, which is a dialect of its own; L has Google's weights, run in the same way.
TORCHVISION_V2_SMALL = replace(
    TORCHVISION,
    library="torchvision (EfficientNetV2)",
    presets=("v2-s", "v2-m"),
    dialects=same_for(("v2-s", "v2-m"), TORCHVISION_V2),
    normalization=IMAGENET,
)
TORCHVISION_V2_L = replace(
    TORCHVISION_V2_SMALL,
    presets=("v2-l",),
    dialects=same_for(("v2-l",), TORCHVISION_V2),
    expects="RGB from -1 to 1: x / 127.5 - 1",
    normalization=INCEPTION,
)
