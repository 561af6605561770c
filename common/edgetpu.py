"""EfficientNet-EdgeTPU: searched for a processor on which ordinary convolutions are fast.

There is no paper.  The source is tensorflow/tpu, efficientnet/edgetpu, whose
efficientnet_edgetpu_builder.py has fused early blocks, no squeeze-and-excitation, and ReLU.  Its
weights have 1,001 classes, the first of which is the background.

Like `spec.py` this imports the standard library only.  Sizes are (height, width) in pixels; rates
are probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ._util.arguments import look_up, positive, rate
from ._util.resolving import shared_fields
from .blocks import (
    STEM_STRIDE,
    FusedMBConvBlock,
    PlainMBConvBlock,
    Stage,
    StagedNetwork,
    around,
    places,
    resolve_stem,
)
from .network import IMAGENET_CLASSES, RELU, TENSORFLOW, Architecture, Dialect, Size
from .spec import (
    DROP_PATH_RATE,
    HEAD_CHANNELS,
    STEM_CHANNELS,
    Preset,
    scale_channels,
    scale_layers,
)


@dataclass(frozen=True)
class Row:
    """A stage of the builder's list of block strings."""

    fused: bool
    expand_ratio: int
    kernel: int
    channels: int
    layers: int
    stride: int
    # What the list says of the input, from which the width of the expansion follows.  In the first
    # stage it is not what the stem puts out.
    declared_input: int
    has_skips: bool = True


# fmt: off
STAGES = (
    #   fused  expand  kernel  channels  layers  stride  declared input
    Row(True,  4,      3,      24,       1,      1,      24, has_skips=False),
    Row(True,  8,      3,      32,       2,      2,      24),
    Row(True,  8,      3,      48,       4,      2,      32),
    Row(False, 8,      5,      96,       5,      2,      48),
    Row(False, 8,      5,      144,      4,      1,      96),
    Row(False, 8,      5,      192,      2,      2,      144),
)
# fmt: on
TOTAL_STRIDE = STEM_STRIDE * math.prod(row.stride for row in STAGES)


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("edgetpu-s", 1.0, 1.0, 224, 0.2),  #  5,438,392 parameters with 1,000 classes
        Preset("edgetpu-m", 1.0, 1.1, 240, 0.2),  #  6,899,496
        Preset("edgetpu-l", 1.2, 1.4, 300, 0.3),  # 10,589,712
    )
}


@dataclass(frozen=True, repr=False)
class EdgeTPUSpec(StagedNetwork):
    """A fully resolved EfficientNet-EdgeTPU."""

    architecture: ClassVar[str] = "edgetpu"

    @property
    def title(self) -> str:
        return f"EfficientNet-EdgeTPU-{self.name.removeprefix('edgetpu-').upper()}"


def resolve(
    preset: str = "edgetpu-s",
    *,
    width: float | None = None,
    depth: float | None = None,
    resolution: int | Size | None = None,
    dropout: float | None = None,
    num_classes: int | None = IMAGENET_CLASSES,
    in_channels: int = 3,
    drop_path_rate: float = DROP_PATH_RATE,
    dialect: str | Dialect = TENSORFLOW,
) -> EdgeTPUSpec:
    """Resolve a preset, or any scaling of S, to a network in which every number is stated.

    What is not given comes from `preset`.  `resolution` is a side in pixels or (height, width);
    `num_classes=None` leaves out the classifier, so that the network ends in pooled features.

    Raises:
        UsageError: unknown preset or dialect, or a value outside its range.
    """
    base = look_up("preset", preset, PRESETS)
    shared = shared_fields(
        resolution=base.resolution if resolution is None else resolution,
        smallest=TOTAL_STRIDE,
        dropout=base.dropout if dropout is None else dropout,
        num_classes=num_classes,
        in_channels=in_channels,
        dialect=dialect,
    )
    width = positive("width", base.width if width is None else width)
    depth = positive("depth", base.depth if depth is None else depth)
    drop_path_rate = rate("drop_path_rate", drop_path_rate)

    stem = resolve_stem(shared, scale_channels(STEM_CHANNELS, width), RELU)
    # step: stages
    stages = [
        Stage(
            channels=scale_channels(row.channels, width),
            layers=scale_layers(row.layers, depth),
            stride=row.stride,
            has_skips=row.has_skips,
        )
        for row in STAGES
    ]
    # step: blocks
    blocks: list[FusedMBConvBlock | PlainMBConvBlock] = []
    for place in places(stem, stages, drop_path_rate):
        row = STAGES[place.stage - stem.stage - 1]
        # step: declared
        # The list declares the input of the first block of a stage; the others take its output.
        declared = row.declared_input if place.repeat == 0 else row.channels
        kind = FusedMBConvBlock if row.fused else PlainMBConvBlock
        blocks.append(
            kind(
                **vars(place),
                kernel=row.kernel,
                expand_ratio=row.expand_ratio,
                expanded_channels=scale_channels(declared, width) * row.expand_ratio,
                activation=RELU,
            )
        )
    is_preset = (width, depth) == (base.width, base.depth)
    return EdgeTPUSpec(
        name=base.name if is_preset else "custom",
        width=width,
        depth=depth,
        drop_path_rate=drop_path_rate,
        **around(blocks, stem, scale_channels(HEAD_CHANNELS, width), shared),
    )


EDGETPU = Architecture("edgetpu", "EfficientNetEdgeTPU", tuple(PRESETS), resolve)
