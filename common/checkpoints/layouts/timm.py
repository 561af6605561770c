"""timm's EfficientNets, Lite, V2 and EdgeTPU: the same keys with and without the prefix `tf_`.

The two families differ in padding and epsilon only, which no file says.
"""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...edgetpu import EDGETPU
from ...images.normalization import IMAGENET, INCEPTION
from ...lite import LITE
from ...network import AUTOML, PYTORCH, TENSORFLOW
from ...spec import PRESETS
from ...v2 import SCALED, TABLED
from ...v2_rw import V2_RW
from ..formats.detect import PYTORCH_FILE
from .names import StagedNames
from .schema import Layout, same_for, state_dict

NAMES = StagedNames(
    stem_conv="conv_stem",
    stem_bn="bn1",
    block="blocks.{S}.{B}.",
    expanded={
        "expand_conv": "conv_pw",
        "expand_bn": "bn1",
        "depthwise_conv": "conv_dw",
        "depthwise_bn": "bn2",
        "se_reduce": "se.conv_reduce",
        "se_expand": "se.conv_expand",
        "project_conv": "conv_pwl",
        "project_bn": "bn3",
    },
    # A class of its own in timm, where `conv_pw` is the projection.
    plain={
        "depthwise_conv": "conv_dw",
        "depthwise_bn": "bn1",
        "se_reduce": "se.conv_reduce",
        "se_expand": "se.conv_expand",
        "project_conv": "conv_pw",
        "project_bn": "bn2",
    },
    fused={
        "expand_conv": "conv_exp",
        "expand_bn": "bn1",
        "project_conv": "conv_pwl",
        "project_bn": "bn2",
    },
    fused_plain={"project_conv": "conv", "project_bn": "bn1"},
    head_conv="conv_head",
    head_bn="bn2",
    classifier="classifier",
)
FORM = state_dict(NAMES)
FORMS = {"safetensors": FORM, PYTORCH_FILE: FORM}
WITHOUT_L2 = tuple(name for name in PRESETS if name != "l2")

TIMM_TF = Layout(
    name="timm-tf",
    library="timm (tf_efficientnet_*)",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), TENSORFLOW),
    forms=FORMS,
    expects="RGB / 255, then ImageNet mean and deviation; .ap_ weights use 0.5 for both",
    framework=TORCH,
)
TIMM = Layout(
    name="timm",
    library="timm (efficientnet_*)",
    presets=WITHOUT_L2,
    dialects=same_for(WITHOUT_L2, PYTORCH),
    forms=FORMS,
    expects="RGB / 255, then ImageNet mean and deviation; ra4_e3600 weights use 0.5",
    framework=TORCH,
)

# ------------------------------------------------------------------ Lite, V2 and EdgeTPU

MINUS_ONE_TO_ONE = "RGB from -1 to 1: x / 127.5 - 1"
IMAGENET_EXPECTED = "RGB / 255, then ImageNet mean and deviation"

LITE_TF = replace(
    TIMM_TF,
    library="timm (tf_efficientnet_lite*)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, TENSORFLOW),
    expects=MINUS_ONE_TO_ONE,
    normalization=INCEPTION,
)
V2_SCALED_TF = replace(
    TIMM_TF,
    library="timm (tf_efficientnetv2_b*)",
    presets=SCALED,
    dialects=same_for(SCALED, AUTOML),
    expects=f"{IMAGENET_EXPECTED}; weights of 21k classes, and B3's from them, use 0.5",
)
V2_TF = replace(
    TIMM_TF,
    library="timm (tf_efficientnetv2_*)",
    presets=TABLED,
    dialects=same_for(TABLED, AUTOML),
    expects=MINUS_ONE_TO_ONE,
    normalization=INCEPTION,
)
EDGETPU_NOTES = (
    "geffnet has the same keys, but its tf_efficientnet_es, em and el compute something else: "
    "their fused blocks have the stride on the projection",
)
EDGETPU_TF = replace(
    TIMM_TF,
    library="timm (tf_efficientnet_es, em, el)",
    presets=EDGETPU.presets,
    dialects=same_for(EDGETPU.presets, TENSORFLOW),
    expects=MINUS_ONE_TO_ONE,
    normalization=INCEPTION,
    notes=EDGETPU_NOTES,
)
LITE_SYMMETRIC = replace(
    TIMM,
    library="timm (efficientnet_lite*)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, PYTORCH),
    expects=IMAGENET_EXPECTED,
    normalization=IMAGENET,
)
V2_SYMMETRIC = replace(
    TIMM,
    library="timm (efficientnetv2_*)",
    presets=TABLED,
    dialects=same_for(TABLED, PYTORCH),
    expects=IMAGENET_EXPECTED,
    normalization=IMAGENET,
)
V2_RW_SYMMETRIC = replace(
    V2_SYMMETRIC,
    library="timm (efficientnetv2_rw_*, test_efficientnet)",
    presets=V2_RW.presets,
    dialects=same_for(V2_RW.presets, PYTORCH),
)
EDGETPU_SYMMETRIC = replace(
    TIMM,
    library="timm (efficientnet_es, em, el)",
    presets=EDGETPU.presets,
    dialects=same_for(EDGETPU.presets, PYTORCH),
    expects=IMAGENET_EXPECTED,
    normalization=IMAGENET,
)
TIMM_LINEAGE = (
    LITE_TF,
    V2_SCALED_TF,
    V2_TF,
    EDGETPU_TF,
    LITE_SYMMETRIC,
    V2_SYMMETRIC,
    V2_RW_SYMMETRIC,
    EDGETPU_SYMMETRIC,
)
