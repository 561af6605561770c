"""segmentation_models_pytorch: the encoder of a segmentation model; read only.

Its `efficientnet-*` encoders are efficientnet_pytorch's.  Its `timm-efficientnet-*` are timm's,
with symmetric padding and epsilon 1e-5 whatever weights they hold.
"""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...network import PYTORCH, TENSORFLOW, Dialect
from ...spec import PRESETS
from ..formats.detect import PYTORCH_FILE
from . import efficientnet_pytorch, timm
from .schema import Form, Layout, Names, same_for, state_dict

REST = r"^(decoder|segmentation_head|classification_head)\."


def _encoder(names: Names, dialect: Dialect) -> Form:
    inside = {
        field: f"encoder.{getattr(names, field)}"
        for field in ("stem_conv", "stem_bn", "block", "head_conv", "head_bn", "classifier")
    }
    return replace(
        state_dict(replace(names, **inside)),
        ignored=rf"{REST}|(^|\.)num_batches_tracked$",
        ignored_why="batch counters, and what follows the encoder",
        marker=REST,
        dialects=(dialect,),
    )


FORMS = (_encoder(efficientnet_pytorch.NAMES, TENSORFLOW), _encoder(timm.NAMES, PYTORCH))

SMP = Layout(
    name="smp",
    library="segmentation_models_pytorch",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), TENSORFLOW, PYTORCH),
    forms={},
    expects="RGB / 255, ImageNet mean and standard deviation (encoder weights of AdvProp: 0.5)",
    framework=TORCH,
    also_read={PYTORCH_FILE: FORMS, "safetensors": FORMS},
)
