"""qubvel's `efficientnet` package: keras.applications' names, without its normalization."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import KERAS
from ...network import TENSORFLOW
from . import keras_applications
from .keras_applications import NESTED_PATH
from .schema import Layout, same_for

PRESETS = (*keras_applications.PRESETS, "l2")

FORM = replace(
    keras_applications.LEGACY,
    names=replace(keras_applications.NAMES, classifier="probs"),
    ignored=None,
    ignored_why="",
    extra=None,
    marker=None,
)

QUBVEL = Layout(
    name="qubvel",
    library="efficientnet (qubvel)",
    presets=PRESETS,
    dialects=same_for(PRESETS, TENSORFLOW),
    forms={"h5": FORM},
    also_read={"h5": (replace(FORM, path=NESTED_PATH),)},
    expects="RGB / 255, then the mean and standard deviation of ImageNet",
    framework=KERAS,
)
