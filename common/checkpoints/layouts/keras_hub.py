"""KerasHub: EfficientNetBackbone and EfficientNetImageClassifier, as .weights.h5."""

from __future__ import annotations

from dataclasses import replace

from ...backends.registry import KERAS
from ...network import PYTORCH
from .keras_applications import COUNTED_TENSORS
from .names import Counters
from .schema import TENSORFLOW_ORDER, Form, Layout, same_for

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
KERAS_HUB_LITE = replace(
    KERAS_HUB,
    library="keras-hub (Lite)",
    presets=("lite0",),
    dialects=same_for(("lite0",), PYTORCH),
)
