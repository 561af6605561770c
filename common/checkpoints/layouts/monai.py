"""MONAI's EfficientNetBN, in two dimensions: efficientnet_pytorch's names, by stage; read only."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...network import TENSORFLOW
from ...spec import PRESETS as ALL
from ..formats.detect import PYTORCH_FILE
from . import efficientnet_pytorch
from .schema import Layout, same_for, state_dict

PRESETS = tuple(preset for preset in ALL if preset != "l2")

# MONAI itself numbers the blocks through the network; copies of it do so within each stage.
FORMS = tuple(
    state_dict(replace(efficientnet_pytorch.NAMES, block=f"_blocks.{{S}}.{number}."))
    for number in ("{I}", "{B}")
)

MONAI = Layout(
    name="monai",
    library="MONAI (EfficientNetBN)",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={},
    also_read={"safetensors": FORMS, PYTORCH_FILE: FORMS},
    expects="what its transforms say; RGB / 255, then ImageNet mean and deviation, if pretrained",
    framework=TORCH,
)
