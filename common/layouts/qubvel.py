"""qubvel's `efficientnet` package: keras.applications' names, without its normalization."""

from dataclasses import replace

from common.layouts import keras_applications
from common.layouts.keras_applications import NESTED_PATH
from common.layouts.schema import Layout, same_for
from common.spec import TENSORFLOW

PRESETS = (*keras_applications.PRESETS, "l2")

FORM = replace(
    keras_applications.LEGACY,
    names=replace(keras_applications.NAMES, classifier="probs"),
    ignored=None,
    ignored_why="",
    added=None,
    marker=None,
)

QUBVEL = Layout(
    name="qubvel",
    library="efficientnet (qubvel)",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={"h5": FORM},
    also_read={"h5": (replace(FORM, path=NESTED_PATH),)},
    expects="RGB / 255, ImageNet mean and standard deviation",
    framework="keras",
)
