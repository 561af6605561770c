"""keras_cv_attention_models, and keras-efficientnet-v2 before it, as .h5.

Both run on Keras 2, and load by the names of layers: `model.load_weights(path, by_name=True)`.
"""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import KERAS
from ...edgetpu import EDGETPU
from ...images.normalization import INCEPTION
from ...lite import LITE
from ...network import AUTOML, PYTORCH, TENSORFLOW, MapSection
from ...v2 import SCALED, TABLED
from .keras_applications import LEGACY_TENSORS, NESTED_PATH
from .names import StagedNames
from .schema import PYTORCH_TENSORS, TENSORFLOW_ORDER, Form, Layout, same_for

PRESETS = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "l2")

NAMES = StagedNames(
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
    fused={
        "expand_conv": "sortcut_conv",
        "expand_bn": "sortcut_bn",
        "project_conv": "MB_pw_conv",
        "project_bn": "MB_pw_bn",
    },
    fused_plain={"project_conv": "fu_conv", "project_bn": "fu_bn"},
    head_conv="post_conv",
    head_bn="post_bn",
    classifier="predictions",
)
FORM = Form(
    names=NAMES,
    path="{layer}/{layer}/{tensor}",
    tensors=LEGACY_TENSORS,
    orientation=TENSORFLOW_ORDER,
)


class EdgeTPUNames(StagedNames):
    """There the first block is a stage of its own, so that all stages after it move up by one."""

    def place(self, block: MapSection) -> dict[str, str | int]:
        """What stands for the placeholders in the names of a block's layers."""
        values = super().place(block)
        stage, repeat = int(values["S"]), int(values["B"])
        if (stage, repeat) == (0, 0):
            return values
        return {**values, "S": stage + 1, "B": repeat - 1 if stage == 0 else repeat}


EDGETPU_NAMES = EdgeTPUNames(**vars(NAMES))
EDGETPU_FORM = replace(FORM, names=EDGETPU_NAMES)


# What the library saves when it runs on PyTorch: its kernels are turned, its names are not.
OF_PYTORCH = replace(FORM, tensors=PYTORCH_TENSORS)


def _also_read(names: StagedNames) -> dict[str, tuple[Form, ...]]:
    """A model inside a Sequential, and one on PyTorch."""
    return {"h5": (replace(FORM, path=NESTED_PATH, names=names), replace(OF_PYTORCH, names=names))}


BY_NAME = "give it to load_weights with by_name=True, as the library loads its own"
KECAM = Layout(
    name="kecam",
    library="keras_cv_attention_models",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={"h5": FORM},
    also_read=_also_read(NAMES),
    expects="RGB / 255, then the mean and standard deviation of ImageNet",
    framework=KERAS,
    notes=(BY_NAME,),
)
KECAM_LITE = replace(
    KECAM,
    library="keras_cv_attention_models (Lite)",
    presets=LITE.presets,
    dialects=same_for(LITE.presets, TENSORFLOW),
    expects="what its preprocess_input does; its networks have swish unless told to have relu6",
    notes=(BY_NAME, "build the model with activation='relu6': without it, it has swish"),
)
KECAM_V2_SCALED = replace(
    KECAM,
    library="kecam and keras_efficientnet_v2",
    presets=SCALED,
    dialects=same_for(SCALED, AUTOML),
    expects="RGB / 255, then ImageNet mean and deviation; weights of 21k classes use 0.5",
)
KECAM_V2 = replace(
    KECAM_V2_SCALED,
    presets=TABLED,
    dialects=same_for(TABLED, AUTOML),
    expects="RGB from -1 to 1: x / 127.5 - 1",
    normalization=INCEPTION,
)
KECAM_EDGETPU = replace(
    KECAM,
    library="keras_cv_attention_models (EdgeTPU)",
    presets=EDGETPU.presets,
    dialects=same_for(EDGETPU.presets, PYTORCH),
    forms={"h5": EDGETPU_FORM},
    also_read=_also_read(EDGETPU_NAMES),
)
