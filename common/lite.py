"""EfficientNet-Lite: B0's table without what small processors are slow at.

There is no paper.  The source is tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py,
whose README says what it leaves out of EfficientNet, and why:

- squeeze-and-excitation, which some accelerators do not have;
- swish, which integers approximate badly: ReLU6 takes its place everywhere;
- the scaling of stem, first stage, last stage and head in number of layers, and of stem and head in
  channels, so that the larger networks stay small.

Like `spec.py` this imports the standard library only.  Sizes are (height, width) in pixels; rates
are probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ._util.arguments import look_up, positive, rate
from ._util.resolving import shared_fields
from .blocks import PlainMBConvBlock, Stage, StagedNetwork, around, places, resolve_stem
from .network import IMAGENET_CLASSES, RELU6, TENSORFLOW, Architecture, Dialect, Size
from .spec import (
    DROP_PATH_RATE,
    HEAD_CHANNELS,
    STEM_CHANNELS,
    TABLE_1,
    TOTAL_STRIDE,
    Preset,
    scale_channels,
    scale_layers,
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("lite0", 1.0, 1.0, 224, 0.2),  #  4,652,008 parameters
        Preset("lite1", 1.0, 1.1, 240, 0.2),  #  5,416,680
        Preset("lite2", 1.1, 1.2, 260, 0.3),  #  6,092,072
        Preset("lite3", 1.2, 1.4, 280, 0.3),  #  8,197,096
        Preset("lite4", 1.4, 1.8, 300, 0.3),  # 13,006,568
    )
}


@dataclass(frozen=True, repr=False)
class LiteSpec(StagedNetwork):
    """A fully resolved EfficientNet-Lite."""

    architecture: ClassVar[str] = "lite"

    @property
    def title(self) -> str:
        number = self.name.removeprefix("lite")
        return f"EfficientNet-Lite{number if self.name in PRESETS else '-CUSTOM'}"


def resolve(
    preset: str = "lite0",
    *,
    width: float | None = None,
    depth: float | None = None,
    resolution: int | Size | None = None,
    dropout: float | None = None,
    num_classes: int | None = IMAGENET_CLASSES,
    in_channels: int = 3,
    drop_path_rate: float = DROP_PATH_RATE,
    dialect: str | Dialect = TENSORFLOW,
) -> LiteSpec:
    """Resolve a preset, or any scaling of Lite0, to a network in which every number is stated.

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

    # step: fixed
    stem = resolve_stem(shared, STEM_CHANNELS, RELU6)
    ends = TABLE_1[0], TABLE_1[-1]
    stages = [
        Stage(
            channels=scale_channels(row.channels, width),
            layers=row.layers if row in ends else scale_layers(row.layers, depth),
            stride=row.stride,
        )
        for row in TABLE_1
    ]
    # step: blocks
    blocks = []
    for place in places(stem, stages, drop_path_rate):
        row = TABLE_1[place.stage - TABLE_1[0].number]
        blocks.append(
            PlainMBConvBlock(
                **vars(place),
                kernel=row.kernel,
                expand_ratio=row.expand_ratio,
                expanded_channels=place.in_channels * row.expand_ratio,
                activation=RELU6,
            )
        )
    is_preset = (width, depth) == (base.width, base.depth)
    return LiteSpec(
        name=base.name if is_preset else "custom",
        width=width,
        depth=depth,
        drop_path_rate=drop_path_rate,
        **around(blocks, stem, HEAD_CHANNELS, shared),
    )


LITE = Architecture("lite", "EfficientNetLite", tuple(PRESETS), resolve)
