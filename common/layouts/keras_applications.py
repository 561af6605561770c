"""keras.applications: the legacy .h5 of the published weights, and Keras 3's .weights.h5."""

from dataclasses import replace

from common.layouts.schema import (
    TENSORFLOW_ORDER,
    TENSORFLOW_TENSORS,
    Counters,
    Form,
    Layout,
    Names,
    Tensors,
    same_for,
)
from common.spec import TENSORFLOW

PRESETS = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")

NAMES = Names(
    stem_conv="stem_conv",
    stem_bn="stem_bn",
    block="block{S1}{L}_",
    expanded={
        "expand_conv": "expand_conv",
        "expand_bn": "expand_bn",
        "depthwise_conv": "dwconv",
        "depthwise_bn": "bn",
        "se_reduce": "se_reduce",
        "se_expand": "se_expand",
        "project_conv": "project_conv",
        "project_bn": "project_bn",
    },
    head_conv="top_conv",
    head_bn="top_bn",
    classifier="predictions",
)
LEGACY_TENSORS = Tensors(**{name: f"{v}:0" for name, v in vars(TENSORFLOW_TENSORS).items()})
COUNTED_TENSORS = Tensors("0", "0", "1", "0", "1", "2", "3")
NORMALIZATION_WHY = "input normalization of the Keras graph; see what the weights expect"
COUNTED_WHY = f"{NORMALIZATION_WHY}, or state of the optimizer"

LEGACY = Form(
    names=NAMES,
    path="{layer}/{layer}/{tensor}",
    tensors=LEGACY_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=r"^normalization(_\d+)?/",
    ignored_why=NORMALIZATION_WHY,
    added="input normalization",
    marker=r"^normalization(_\d+)?/",
)
# Keras 3's model.save("x.h5") has no ":0", and one name for all kernels.
LEGACY_OF_KERAS_3 = replace(
    LEGACY,
    tensors=replace(TENSORFLOW_TENSORS, depthwise_weight="kernel"),
)
COUNTED = Form(
    names=Counters(),
    path="{layer}/vars/{tensor}",
    tensors=COUNTED_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=r"^layers/normalization/vars/\d$|^optimizer/",
    ignored_why=COUNTED_WHY,
    added="input normalization",
    marker=r"^layers/normalization/vars/",
)

KERAS_APPLICATIONS = Layout(
    name="keras-applications",
    library="keras.applications",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={"h5": LEGACY, "weights.h5": COUNTED},
    expects="RGB from 0 to 255; the graph normalises",
    also_read={"h5": (LEGACY_OF_KERAS_3,), "keras": (COUNTED,)},
)
