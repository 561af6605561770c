"""keras.applications, in the formats of Keras 2 and Keras 3.

Keras 2 names its layers in a legacy .h5 and counts them in a TensorFlow checkpoint; Keras 3 counts
the layers of a class in .weights.h5 and .keras, and variables in an exported SavedModel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...backends.registry import KERAS
from ...images.normalization import IMAGENET, IMAGENET_MEAN, IMAGENET_STD, V2_PIXELS, Normalization
from ...network import AUTOML, TENSORFLOW, Network
from ...v2 import SCALED
from ..formats.detect import KERAS_ARCHIVE
from .names import Counters, LayerNames, Ordered, Roles, StagedNames
from .schema import BY_NAME, TENSORFLOW_ORDER, TENSORFLOW_TENSORS, Form, Layout, Tensors, same_for

PRESETS = ("b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7")

NAMES = StagedNames(
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
COUNTED_TENSORS = Tensors("0", "0", "1", "1", "0", "1", "2", "3")
NORMALIZATION_WHY = "input normalization of the Keras graph; see what the weights expect"
COUNTED_WHY = f"{NORMALIZATION_WHY}, or state of the optimizer"


def input_constants(
    form: Form, network: Network, normalization: Normalization | None
) -> dict[str, np.ndarray]:
    """The constants with which keras.applications, given 0 to 255, feeds these weights right.

    Its graph divides by 255 and then normalises; with weights loaded by path it does no more.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if normalization is not None:
        mean, std = np.array(normalization.mean), np.array(normalization.std)
    if network.in_channels != len(mean):  # of other channels nothing is known
        mean, std = np.zeros(network.in_channels), np.ones(network.in_channels)
    values = {
        "mean": mean.astype(np.float32),
        "variance": np.square(std).astype(np.float32),
        "count": np.array(0, np.int32),
    }
    if isinstance(form.names, Counters):
        return {
            form.path.format(layer="layers/normalization", tensor=number): value
            for number, value in enumerate(values.values())
        }
    return {
        form.path.format(layer="normalization", tensor=f"{name}:0"): value
        for name, value in values.items()
    }


LEGACY = Form(
    names=NAMES,
    path="{layer}/{layer}/{tensor}",
    tensors=LEGACY_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=r"^normalization(_\d+)?/",
    ignored_why=NORMALIZATION_WHY,
    extra=input_constants,
    marker=r"^normalization(_\d+)?/",
)
# Keras 3's model.save("x.h5") has no ":0", and one name for all kernels of one to a layer.
OF_KERAS_3 = replace(TENSORFLOW_TENSORS, depthwise_weight="kernel")
LEGACY_OF_KERAS_3 = replace(
    LEGACY,
    tensors=OF_KERAS_3,
)
# A model inside a Sequential, and everything that Keras 3.0 wrote.
NESTED_PATH = "{layer}/{tensor}"
LEGACY_NESTED = replace(LEGACY, path=NESTED_PATH)
LEGACY_NESTED_OF_KERAS_3 = replace(LEGACY_OF_KERAS_3, path=NESTED_PATH)
COUNTED = Form(
    names=Counters(),
    path="{layer}/vars/{tensor}",
    tensors=COUNTED_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=r"^layers/normalization(_\d+)?/vars/\d$|^optimizer/",
    ignored_why=COUNTED_WHY,
    extra=input_constants,
    marker=r"^layers/normalization(_\d+)?/vars/",
    layer_names=NAMES,
    extra_layers={"layers/normalization/vars": "normalization"},
)
# The same file by the names that Keras writes beside its counters.
NAMED = replace(COUNTED, names=NAMES, path="layers/{layer}/vars/{tensor}")
ATTRIBUTE = ".ATTRIBUTES/VARIABLE_VALUE"
OBJECTS = Form(
    names=Ordered("layer_with_weights-{number}", first=1),
    path=f"{{layer}}/{{tensor}}/{ATTRIBUTE}",
    tensors=TENSORFLOW_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=(
        r"^layer_with_weights-0/(mean|variance|count)/|^(save_counter|optimizer|keras_api)/"
        r"|/\.OPTIMIZER_SLOT/"
    ),
    ignored_why=COUNTED_WHY,
    marker=r"^layer_with_weights-0/(mean|variance|count)/",
    shifted="layer_with_weights-{number}/",
)
# Keras 3's export: the list of variables, of which the normalization has the first two.  Keras 2
# keeps a model inside another so.
COPIES = r"^(_all_variables|trainable_variables|non_trainable_variables|_\w*variables)/"
EXPORTED = Form(
    names=Roles(),
    path="variables/{number}",
    tensors=TENSORFLOW_TENSORS,
    orientation=TENSORFLOW_ORDER,
    ignored=rf"^variables/[01]$|{COPIES}",
    ignored_why="input normalization, seeds, and second copies of variables",
    marker=r"^variables/[01]$",
    first=2,
    shifted="variables/{number}",
)

KERAS_APPLICATIONS = Layout(
    name="keras-applications",
    library="keras.applications",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={"h5": LEGACY, "weights.h5": COUNTED, KERAS_ARCHIVE: COUNTED},
    expects="RGB from 0 to 255; the graph normalises",
    framework=KERAS,
    has_graph=True,
    notes=(
        "load it by its path; the graph then takes RGB from 0 to 255, and the normalization of "
        "these weights is among the constants in the file",
    ),
    also_read={
        "h5": (LEGACY_OF_KERAS_3, LEGACY_NESTED, LEGACY_NESTED_OF_KERAS_3),
        BY_NAME: (NAMED,),
        "tf-checkpoint": (OBJECTS,),
        "saved-model": (OBJECTS, EXPORTED),
    },
)

# ------------------------------------------------------------------ EfficientNetV2

TABLED = ("v2-s", "v2-m", "v2-l")  # there is no XL
FUSED = ("expand_conv", "expand_bn", "project_conv", "project_bn")
V2_NAMES = replace(
    NAMES,
    expanded={**NAMES.expanded, "depthwise_conv": "dwconv2"},
    fused={member: member for member in FUSED},
    fused_plain={member: member for member in FUSED[2:]},
)


def _without_constants(form: Form, names: LayerNames) -> Form:
    """V2's graph knows its normalization by itself: nothing of it is in a file."""
    return replace(
        form,
        names=names,
        ignored="^optimizer/",
        ignored_why="state of the optimizer",
        extra=None,
        extra_layers={},
        marker=None,
        layer_names=None if form.layer_names is None else V2_NAMES,
    )


V2_LEGACY = _without_constants(LEGACY, V2_NAMES)
V2_COUNTED = _without_constants(COUNTED, COUNTED.names)
V2_OBJECTS = replace(
    OBJECTS,
    names=Ordered("layer_with_weights-{number}", first=0),
    ignored=r"^(save_counter|optimizer|keras_api)/|/\.OPTIMIZER_SLOT/",
    ignored_why="state of the training",
    marker=None,
)
V2_EXPORTED = replace(
    EXPORTED, ignored=COPIES, ignored_why="second copies of variables", marker=None, first=0
)

KERAS_APPLICATIONS_V2_SCALED = replace(
    KERAS_APPLICATIONS,
    library="keras.applications (EfficientNetV2)",
    presets=SCALED,
    dialects=same_for(SCALED, AUTOML),
    forms={"h5": V2_LEGACY, "weights.h5": V2_COUNTED, KERAS_ARCHIVE: V2_COUNTED},
    normalization=IMAGENET,
    notes=(
        "its graph takes RGB from 0 to 255, and is made for the mean and deviation of ImageNet",
    ),
    also_read={
        "h5": (
            replace(V2_LEGACY, tensors=OF_KERAS_3),
            replace(V2_LEGACY, path=NESTED_PATH),
            replace(V2_LEGACY, tensors=OF_KERAS_3, path=NESTED_PATH),
        ),
        BY_NAME: (_without_constants(NAMED, V2_NAMES),),
        "tf-checkpoint": (V2_OBJECTS,),
        "saved-model": (V2_OBJECTS, V2_EXPORTED),
    },
)
KERAS_APPLICATIONS_V2 = replace(
    KERAS_APPLICATIONS_V2_SCALED,
    presets=TABLED,
    dialects=same_for(TABLED, AUTOML),
    normalization=V2_PIXELS,
    notes=("its graph takes RGB from 0 to 255, and is made for weights of (RGB - 128) / 128",),
)
