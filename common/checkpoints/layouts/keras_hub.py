"""KerasHub: EfficientNetBackbone and EfficientNetImageClassifier, as .weights.h5."""

from __future__ import annotations

from ...backends.registry import KERAS
from ...network import PYTORCH
from .keras_applications import COUNTED_TENSORS
from .schema import TENSORFLOW_ORDER, Counters, Form, Layout, same_for

PRESETS = ("b0", "b1", "b2", "b3", "b4", "b5")

KERAS_HUB = Layout(
    name="keras-hub",
    library="keras-hub",
    presets=PRESETS,
    dialects=same_for(PRESETS, PYTORCH),
    forms={
        "weights.h5": Form(
            names=Counters(backbone="efficient_net_backbone/layers/"),
            path="{layer}/vars/{tensor}",
            tensors=COUNTED_TENSORS,
            orientation=TENSORFLOW_ORDER,
            ignored="^optimizer/",
            ignored_why="state of the optimizer",
        )
    },
    expects="RGB / 255, then the mean and standard deviation of ImageNet",
    framework=KERAS,
)
