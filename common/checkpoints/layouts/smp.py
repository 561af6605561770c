"""segmentation_models_pytorch: the encoder of a segmentation model.

Its `efficientnet-*` encoders are efficientnet_pytorch's.  Its `timm-efficientnet-*` are timm's,
with symmetric padding and epsilon 1e-5 whatever weights they hold.

What is read is a whole model, with its decoder.  What is written is an encoder's own weights, which
have no classifier and no prefix: keys of the library that the encoder is from.
"""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import TORCH
from ...images.normalization import INCEPTION
from ...lite import LITE
from ...network import PYTORCH, TENSORFLOW
from ...spec import PRESETS
from ..formats.detect import PYTORCH_FILE
from . import efficientnet_pytorch, timm
from .names import StagedNames
from .schema import Form, Layout, same_for, state_dict

REST = r"^(decoder|segmentation_head|classification_head)\."
FORMATS = (PYTORCH_FILE, "safetensors")
LOAD = "load it with model.encoder.load_state_dict, into an encoder {}"


def _written(names: StagedNames) -> dict[str, Form]:
    form = replace(state_dict(names), may_end_early=False, written_only=True)
    return dict.fromkeys(FORMATS, form)


def _read(names: StagedNames) -> dict[str, tuple[Form, ...]]:
    inside = replace(
        names,
        stem_conv=f"encoder.{names.stem_conv}",
        stem_bn=f"encoder.{names.stem_bn}",
        block=f"encoder.{names.block}",
        head_conv=f"encoder.{names.head_conv}",
        head_bn=f"encoder.{names.head_bn}",
        classifier=f"encoder.{names.classifier}",
    )
    form = replace(state_dict(inside), marker=REST)
    return dict.fromkeys(FORMATS, (form,))


WITHOUT_B8 = tuple(name for name in PRESETS if name not in ("b8", "l2"))

SMP = Layout(
    name="smp",
    library="segmentation_models_pytorch (efficientnet-*)",
    presets=WITHOUT_B8,
    dialects=same_for(WITHOUT_B8, TENSORFLOW),
    forms=_written(efficientnet_pytorch.NAMES),
    expects="RGB / 255, then ImageNet mean and deviation; AdvProp encoders use 0.5",
    framework=TORCH,
    headless=True,
    notes=(LOAD.format("efficientnet-*"),),
    also_read=_read(efficientnet_pytorch.NAMES),
)
SMP_TIMM = replace(
    SMP,
    library="segmentation_models_pytorch (timm-efficientnet-*)",
    presets=tuple(PRESETS),
    dialects=same_for(tuple(PRESETS), PYTORCH),
    forms=_written(timm.NAMES),
    notes=(LOAD.format("timm-efficientnet-*"),),
    also_read=_read(timm.NAMES),
)
# `timm-tf_efficientnet_lite*` are no more TensorFlow's than the others.
SMP_LITE = replace(
    SMP_TIMM,
    library="segmentation_models_pytorch (timm-tf_efficientnet_lite*)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, PYTORCH),
    expects=timm.MINUS_ONE_TO_ONE,
    normalization=INCEPTION,
    notes=(LOAD.format("timm-tf_efficientnet_lite*"),),
)
