"""efficientnet-jax: .npz files of tf_ and pt_ models, with the names in an array of their own."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...lite import LITE
from ...network import PYTORCH, TENSORFLOW
from ...spec import PRESETS
from .names import StagedNames
from .schema import PYTORCH_ORDER, PYTORCH_TENSORS, Form, Layout, same_for

FORM = Form(
    names=StagedNames(
        stem_conv="stem.conv",
        stem_bn="stem.bn",
        block="blocks.{S}.{B}.",
        expanded={
            "expand_conv": "conv_exp",
            "expand_bn": "bn_exp",
            "depthwise_conv": "conv_dw",
            "depthwise_bn": "bn_dw",
            "se_reduce": "se.reduce",
            "se_expand": "se.expand",
            "project_conv": "conv_pwl",
            "project_bn": "bn_pwl",
        },
        plain={
            "depthwise_conv": "conv_dw",
            "depthwise_bn": "bn_dw",
            "se_reduce": "se.reduce",
            "se_expand": "se.expand",
            "project_conv": "conv_pw",
            "project_bn": "bn_pw",
        },
        head_conv="head.conv_pw",
        head_bn="head.bn",
        classifier="head.classifier",
    ),
    path="{layer}.{tensor}",
    tensors=PYTORCH_TENSORS,
    orientation=PYTORCH_ORDER,
)

EFFICIENTNET_JAX = Layout(
    name="efficientnet-jax",
    library="efficientnet-jax",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), TENSORFLOW, PYTORCH),
    forms={"npz": FORM},
    expects="RGB / 255, then ImageNet mean and deviation; _ap weights use 0.5 for both",
    framework=TORCH,
)
EFFICIENTNET_JAX_LITE = replace(
    EFFICIENTNET_JAX,
    library="efficientnet-jax (Lite)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, TENSORFLOW, PYTORCH),
    expects="RGB from -1 to 1: x / 127.5 - 1; pt_ weights use ImageNet mean and deviation",
)
