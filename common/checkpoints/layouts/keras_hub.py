"""KerasHub: EfficientNetBackbone and EfficientNetImageClassifier, as .weights.h5."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ...backends.registry import KERAS
from ...blocks import FusedMBConvBlock
from ...edgetpu import EDGETPU
from ...network import KERAS_HUB_MIXED, PYTORCH, MapSection, Network
from .keras_applications import COUNTED_TENSORS
from .names import Counters, counted
from .schema import TENSORFLOW_ORDER, Form, Layout, same_for

BACKBONE = "efficient_net_backbone/layers/"
PRESETS = ("b0", "b1", "b2", "b3", "b4", "b5")

KERAS_HUB = Layout(
    name="keras-hub",
    library="keras-hub",
    presets=PRESETS,
    dialects=same_for(PRESETS, PYTORCH),
    forms={
        "weights.h5": Form(
            names=Counters(BACKBONE),
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

# ------------------------------------------------------------------ EdgeTPU and V2

# Their blocks are layers of these classes, which have layers inside.
EXPANSION = {"expand_conv": "conv1", "expand_bn": "bn1"}
CONV_BN_ACT = {"project_conv": "conv1", "project_bn": "bn1"}
FUSED = {**EXPANSION, "project_conv": "output_conv", "project_bn": "bn2"}
UNFUSED = {
    **EXPANSION,
    "depthwise_conv": "depthwise",
    "depthwise_bn": "bn2",
    "se_reduce": "se_conv1",
    "se_expand": "se_conv2",
    "project_conv": "output_conv",
    "project_bn": "bn3",
}


def _class_of(block: MapSection) -> tuple[str, Mapping[str, str]]:
    """What Keras calls a block's class, and the class its layers."""
    if not isinstance(block, FusedMBConvBlock):
        return "mb_conv_block", UNFUSED
    return ("fused_mb_conv_block", FUSED) if block.has_expansion else ("cba_block", CONV_BN_ACT)


@dataclass(frozen=True)
class BlockCounters(Counters):
    """Names by class and order of creation, where every block is one layer."""

    territory: ClassVar[str | None] = r"layers/((fused_)?mb_conv|cba)_block(_\d+)?/"

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        around = super().layers(replace(network, blocks=()))
        before = around["stem.conv"].rpartition("/")[0]
        names = {}
        counts: Counter[str] = Counter()
        for block in network.blocks:
            kind, members = _class_of(block)
            place = f"{before}/{counted(kind, counts[kind])}"
            counts[kind] += 1
            for layer in block.layers:
                names[layer.role] = f"{place}/{members[layer.role.rpartition('.')[2]]}"
        return {**around, **names}


BLOCKS = replace(KERAS_HUB.forms["weights.h5"], names=BlockCounters(BACKBONE))
MIXED_NOTES = (
    "it pads depthwise convolutions by another rule than the rest, so that these networks are not "
    "those of timm, from whose weights its own presets are made",
)
KERAS_HUB_EDGETPU = replace(
    KERAS_HUB,
    library="keras-hub (EdgeTPU)",
    presets=EDGETPU.presets,
    dialects=same_for(EDGETPU.presets, KERAS_HUB_MIXED),
    forms={"weights.h5": BLOCKS},
    notes=MIXED_NOTES,
)
V2_PRESETS = ("v2-rw-t", "v2-rw-s", "v2-rw-m")
KERAS_HUB_V2 = replace(
    KERAS_HUB_EDGETPU,
    library="keras-hub (EfficientNetV2)",
    presets=V2_PRESETS,
    dialects=same_for(V2_PRESETS, KERAS_HUB_MIXED),
)
