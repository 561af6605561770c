"""efficientnet_pytorch, and efficientnet_lite_pytorch, which has its names for Lite."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...images.normalization import LITE_PIXELS
from ...lite import LITE
from ...network import TENSORFLOW
from ...spec import PRESETS
from ..formats.detect import PYTORCH_FILE
from .names import StagedNames
from .schema import Layout, same_for, state_dict

NAMES = StagedNames(
    stem_conv="_conv_stem",
    stem_bn="_bn0",
    block="_blocks.{I}.",
    expanded={
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise_conv": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "se_reduce": "_se_reduce",
        "se_expand": "_se_expand",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    },
    head_conv="_conv_head",
    head_bn="_bn1",
    classifier="_fc",
)
FORM = state_dict(NAMES)
# zylo117's EfficientDet has a copy of the library, whose convolutions are inside modules that pad.
PADDED = {
    member: f"{name}.conv" if "_conv" in member or member.startswith("se_") else name
    for member, name in NAMES.expanded.items()
}
FORM_OF_DETECTOR = state_dict(
    replace(NAMES, stem_conv="_conv_stem.conv", head_conv="_conv_head.conv", expanded=PADDED)
)

EFFICIENTNET_PYTORCH = Layout(
    name="efficientnet-pytorch",
    library="efficientnet_pytorch",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), TENSORFLOW),
    forms={"safetensors": FORM, PYTORCH_FILE: FORM},
    also_read={"safetensors": (FORM_OF_DETECTOR,), PYTORCH_FILE: (FORM_OF_DETECTOR,)},
    expects="RGB / 255, then ImageNet mean and deviation; advprop weights use 0.5 for both",
    framework=TORCH,
    notes=("from_name pads for the preset's own resolution; give image_size=None for any other",),
)
EFFICIENTNET_LITE_PYTORCH = Layout(
    name="efficientnet-lite-pytorch",
    library="efficientnet_lite_pytorch",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, TENSORFLOW),
    forms={"safetensors": FORM, PYTORCH_FILE: FORM},
    expects="(RGB - 127) / 128",
    normalization=LITE_PIXELS,
    framework=TORCH,
    notes=("from_name pads for the preset's own resolution, whatever it is given",),
)
