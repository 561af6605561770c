"""timm's own EfficientNetV2s, which nobody else describes.

Ross Wightman drew `rw_s` from the figures of the paper before its code was released, and scaled it
to `rw_m`; `rw_t` scales the released S, and `test` is a network of five blocks to test programs
with.  The source is timm, models/efficientnet.py: `_gen_efficientnetv2_s` and
`_gen_test_efficientnet`.

Like `spec.py` this imports the standard library only.  Sizes are (height, width) in pixels; rates
are probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ._util.arguments import look_up, positive, rate
from ._util.resolving import shared_fields
from .blocks import (
    FusedMBConvBlock,
    ProjectedMBConvBlock,
    Stage,
    around,
    places,
    resolve_stem,
)
from .network import IMAGENET_CLASSES, PYTORCH, SWISH, Architecture, Dialect, Size
from .spec import DROP_PATH_RATE, SQUEEZE_RATIO, MBConvBlock, scale_channels, scale_layers
from .v2 import KERNEL, TOTAL_STRIDE, Preset, V2Spec

# What timm's block strings call the blocks.
KINDS = {"cn": FusedMBConvBlock, "er": ProjectedMBConvBlock, "ir": MBConvBlock}


@dataclass(frozen=True)
class Row:
    """A block string: er_r4_k3_s2_e4_c48 is a row of "er", 4, 2, 4, 48; every kernel is 3x3.

    The layers of a stage are multiplied by its own `depth` and by that of the network.
    """

    kind: str
    layers: int
    stride: int
    expand_ratio: int
    channels: int
    depth: float = 1.0


@dataclass(frozen=True)
class Table:
    """The stem's channels, the rows between stem and head, and the head's channels."""

    stem: int
    rows: tuple[Row, ...]
    head: int


# fmt: off
S = Table(24, (
    #   kind  layers  stride  expand  channels
    Row("er", 2,      1,      1,      24),
    Row("er", 4,      2,      4,      48),
    Row("er", 4,      2,      4,      64),
    Row("ir", 6,      2,      4,      128),
    Row("ir", 9,      1,      6,      160),
    Row("ir", 15,     2,      6,      272),
), 1792)
TEST = Table(24, (
    Row("cn", 1,      1,      1,      16),
    Row("er", 1,      2,      4,      24),
    Row("er", 1,      2,      4,      32),
    Row("ir", 1,      2,      4,      48),
    Row("ir", 1,      2,      4,      64),
), 256)
# fmt: on
# The released S is another first and another last stage, and another head.
T = Table(
    S.stem,
    (replace(S.rows[0], kind="cn"), *S.rows[1:-1], replace(S.rows[-1], channels=256)),
    head=1280,
)
DEPTHS_OF_M = (1.2,) * 4 + (1.6,) * 2
M = replace(
    S, rows=tuple(replace(row, depth=d) for row, d in zip(S.rows, DEPTHS_OF_M, strict=True))
)
TABLES = {"t": T, "s": S, "m": M, "test": TEST}

# `resolution` is that of the test in timm's configurations, and `train` their input.  Dropout is
# V2-S's: timm leaves it to whoever trains.
PRESETS = {
    preset.name: preset
    for preset in (
        Preset("v2-rw-t", "t", 0.8, 0.9, 288, 224, 0.2),  # 13,649,388 parameters
        Preset("v2-rw-s", "s", 1.0, 1.0, 384, 288, 0.2),  # 23,941,296
        Preset("v2-rw-m", "m", 1.2, 1.0, 416, 320, 0.2),  # 53,236,442
        Preset("v2-test", "test", 1.0, 1.0, 160, 160, 0.2),  # 356,196
    )
}


@dataclass(frozen=True, repr=False)
class V2RWSpec(V2Spec):
    """A fully resolved EfficientNetV2 of timm's own, of the rows of one of the tables."""

    architecture: ClassVar[str] = "v2_rw"


def resolve(
    preset: str = "v2-rw-t",
    *,
    table: str | None = None,
    width: float | None = None,
    depth: float | None = None,
    resolution: int | Size | None = None,
    dropout: float | None = None,
    num_classes: int | None = IMAGENET_CLASSES,
    in_channels: int = 3,
    drop_path_rate: float = DROP_PATH_RATE,
    dialect: str | Dialect = PYTORCH,
) -> V2RWSpec:
    """Resolve a preset, or any scaling of a table, to a network in which every number is stated.

    What is not given comes from `preset`.  `table` is t, s, m or test; `resolution` is a side in
    pixels or (height, width); `num_classes=None` leaves out the classifier, so that the network
    ends in pooled features.

    Raises:
        UsageError: unknown preset, table or dialect, or a value outside its range.
    """
    base = look_up("preset", preset, PRESETS)
    table = base.table if table is None else table
    rows = look_up("table", table, TABLES).rows
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

    # Channels are rounded as in the first EfficientNet, and not as in V2.
    stem = resolve_stem(shared, scale_channels(TABLES[table].stem, width), SWISH)
    stages = [
        Stage(
            scale_channels(row.channels, width),
            scale_layers(row.layers, row.depth * depth),
            row.stride,
        )
        for row in rows
    ]
    blocks: list[FusedMBConvBlock | MBConvBlock] = []
    for place in places(stem, stages, drop_path_rate):
        row = rows[place.stage - stem.stage - 1]
        kind = KINDS[row.kind]
        fields = {
            **vars(place),
            "kernel": KERNEL,
            "expand_ratio": row.expand_ratio,
            "expanded_channels": place.in_channels * row.expand_ratio,
        }
        if kind is MBConvBlock:
            fields["squeezed_channels"] = max(1, int(place.in_channels * SQUEEZE_RATIO))
        else:
            fields["activation"] = SWISH
        blocks.append(kind(**fields))
    is_preset = (table, width, depth) == (base.table, base.width, base.depth)
    return V2RWSpec(
        name=base.name if is_preset else "custom",
        table=table,
        width=width,
        depth=depth,
        drop_path_rate=drop_path_rate,
        **around(blocks, stem, scale_channels(TABLES[table].head, width), shared),
    )


V2_RW = Architecture("v2_rw", "EfficientNetV2RW", tuple(PRESETS), resolve)
