"""segmentation_models_pytorch: the encoder of a segmentation model; read only.

Its `efficientnet-*` encoders are efficientnet_pytorch's.  Its `timm-efficientnet-*` are timm's,
with symmetric padding and epsilon 1e-5 whatever weights they hold.
"""

from dataclasses import replace

from common.layouts import efficientnet_pytorch, timm
from common.layouts.schema import Form, Layout, Names, same_for, state_dict
from common.spec import PRESETS, PYTORCH, TENSORFLOW, Dialect

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
    framework="torch",
    also_read={"torch": FORMS, "safetensors": FORMS},
)
