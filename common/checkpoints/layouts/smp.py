"""segmentation_models_pytorch: the encoder of a segmentation model; read only.

Its `efficientnet-*` encoders are efficientnet_pytorch's.  Its `timm-efficientnet-*` are timm's,
with symmetric padding and epsilon 1e-5 whatever weights they hold.
"""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...images.normalization import INCEPTION
from ...lite import LITE
from ...network import PYTORCH, TENSORFLOW, Dialect
from ...spec import PRESETS
from ..formats.detect import PYTORCH_FILE
from . import efficientnet_pytorch, timm
from .names import StagedNames
from .schema import Form, Layout, same_for, state_dict

REST = r"^(decoder|segmentation_head|classification_head)\."


def _encoder(names: StagedNames, dialect: Dialect) -> Form:
    inside = replace(
        names,
        stem_conv=f"encoder.{names.stem_conv}",
        stem_bn=f"encoder.{names.stem_bn}",
        block=f"encoder.{names.block}",
        head_conv=f"encoder.{names.head_conv}",
        head_bn=f"encoder.{names.head_bn}",
        classifier=f"encoder.{names.classifier}",
    )
    return replace(
        state_dict(inside),
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
    expects="RGB / 255, then ImageNet mean and deviation; AdvProp encoders use 0.5",
    framework=TORCH,
    also_read={PYTORCH_FILE: FORMS, "safetensors": FORMS},
)
TIMM_FORMS = (FORMS[1],)
# `timm-tf_efficientnet_lite*` are no more TensorFlow's than the others.
SMP_LITE = replace(
    SMP,
    library="segmentation_models_pytorch (Lite)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, PYTORCH),
    expects="RGB from -1 to 1: x / 127.5 - 1",
    normalization=INCEPTION,
    also_read={PYTORCH_FILE: TIMM_FORMS, "safetensors": TIMM_FORMS},
)
