"""timm's tf_efficientnet_b0 to b8 and l2, and efficientnet_b0 to b8: the same keys.

The two families differ in padding and epsilon only, which no file says.
"""

from __future__ import annotations

from ...backends.registry import TORCH
from ...network import PYTORCH, TENSORFLOW
from ...spec import PRESETS
from ..formats.detect import PYTORCH_FILE
from .schema import EfficientNetNames, Layout, same_for, state_dict

NAMES = EfficientNetNames(
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
