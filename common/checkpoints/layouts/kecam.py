"""keras_cv_attention_models: EfficientNetV1B0 to B7 and L2, as .h5; read only."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import KERAS
from ...network import TENSORFLOW
from .keras_applications import LEGACY_TENSORS, NESTED_PATH
from .schema import TENSORFLOW_ORDER, EfficientNetNames, Form, Layout, same_for

PRESETS = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "l2")

FORM = Form(
    names=EfficientNetNames(
        stem_conv="stem_conv",
        stem_bn="stem_bn",
        block="stack_{S}_block{B}_",
        expanded={
            "expand_conv": "sortcut_conv",  # spelt so
            "expand_bn": "sortcut_bn",
            "depthwise_conv": "MB_dw_",
            "depthwise_bn": "MB_dw_bn",
            "se_reduce": "se_1_conv",
            "se_expand": "se_2_conv",
            "project_conv": "MB_pw_conv",
            "project_bn": "MB_pw_bn",
        },
        head_conv="post_conv",
        head_bn="post_bn",
        classifier="predictions",
    ),
    path="{layer}/{layer}/{tensor}",
    tensors=LEGACY_TENSORS,
    orientation=TENSORFLOW_ORDER,
)

KECAM = Layout(
    name="kecam",
    library="keras_cv_attention_models",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={},
    also_read={"h5": (FORM, replace(FORM, path=NESTED_PATH))},
    expects="RGB / 255, then the mean and standard deviation of ImageNet",
    framework=KERAS,
)
