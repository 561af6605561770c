"""EfficientNetV2 as its paper describes it (arXiv 2104.00298), with every number resolved.

The early stages are fused (section 3.2, figure 2), so that they train faster.  Table 4 of the paper
is S; M, L and XL are tables of their own, and B0 to B3 scale the table of B0 as the first
EfficientNet did.  What the paper does not print is in google/automl,
efficientnetv2/effnetv2_configs.py.

Like `spec.py` this imports the standard library only.  Sizes are (height, width) in pixels; rates
are probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ._util.arguments import look_up, positive, rate
from ._util.resolving import shared_fields
from .blocks import (
    STEM_STRIDE,
    FusedMBConvBlock,
    Stage,
    StagedNetwork,
    around,
    places,
    resolve_stem,
)
from .network import AUTOML, IMAGENET_CLASSES, SWISH, Architecture, Dialect, Size
from .spec import DROP_PATH_RATE, HEAD_CHANNELS, SQUEEZE_RATIO, MBConvBlock, scale_layers

# ------------------------------------------------------------------ Table 4

KERNEL = 3  # of every convolution that is not 1x1


@dataclass(frozen=True)
class Row:
    """A row of Table 4: `layers` blocks, the first of them with `stride`."""

    fused: bool  # Fused-MBConv without squeeze-and-excitation, or MBConv with it
    expand_ratio: int
    stride: int
    channels: int
    layers: int


@dataclass(frozen=True)
class Table:
    """The stem's channels and the rows between stem and head."""

    stem: int
    rows: tuple[Row, ...]


def _table(stem: int, *sizes: tuple[int, int]) -> Table:
    """The operators and strides of Table 4, with these channels and numbers of layers."""
    operators = (
        # fused expand stride
        (True, 1, 1),
        (True, 4, 2),
        (True, 4, 2),
        (False, 4, 2),
        (False, 6, 1),
        (False, 6, 2),
        (False, 6, 1),
    )
    rows = (Row(*operator, *size) for operator, size in zip(operators, sizes, strict=False))
    return Table(stem, tuple(rows))


# fmt: off
TABLES = {
    "b0": _table(32, (16, 1), (32, 2), (48, 2), (96, 3),   (112, 5),  (192, 8)),
    "s":  _table(24, (24, 2), (48, 4), (64, 4), (128, 6),  (160, 9),  (256, 15)),
    "m":  _table(24, (24, 3), (48, 5), (80, 5), (160, 7),  (176, 14), (304, 18), (512, 5)),
    "l":  _table(32, (32, 4), (64, 7), (96, 7), (192, 10), (224, 19), (384, 25), (640, 7)),
    "xl": _table(32, (32, 4), (64, 8), (96, 8), (192, 16), (256, 24), (512, 32), (640, 8)),
}
# fmt: on
TOTAL_STRIDE = 32
assert all(
    STEM_STRIDE * 2 ** sum(row.stride == 2 for row in table.rows) == TOTAL_STRIDE
    for table in TABLES.values()
)


# ------------------------------------------------------------------ what was released


@dataclass(frozen=True)
class Preset:
    """A released model; `resolution` is that of evaluation, and training ends at `train`."""

    name: str
    table: str
    width: float
    depth: float
    resolution: int
    train: int
    dropout: float


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("v2-b0", "b0", 1.0, 1.0, 224, 192, 0.2),  #   7,139,704 parameters
        Preset("v2-b1", "b0", 1.0, 1.1, 240, 192, 0.2),  #   8,141,052
        Preset("v2-b2", "b0", 1.1, 1.2, 260, 208, 0.3),  #  10,096,086
        Preset("v2-b3", "b0", 1.2, 1.4, 300, 240, 0.3),  #  14,358,406
        Preset("v2-s", "s", 1.0, 1.0, 384, 300, 0.2),  #    21,458,488
        Preset("v2-m", "m", 1.0, 1.0, 480, 384, 0.3),  #    54,139,356
        Preset("v2-l", "l", 1.0, 1.0, 480, 384, 0.4),  #   118,515,272
        Preset("v2-xl", "xl", 1.0, 1.0, 512, 384, 0.4),  # 208,119,808
    )
}
# Those that scale the table of B0, and those that have a table of their own.
SCALED = tuple(preset.name for preset in PRESETS.values() if preset.table == "b0")
TABLED = tuple(preset.name for preset in PRESETS.values() if preset.table != "b0")


def scale_channels(channels: int, width: float) -> int:
    """`channels * width` to the nearest multiple of 8, and at least 8.

    The first EfficientNet also kept 90 % of the product (`spec.py`).  V2's code does not: B3 has 16
    channels in its first stage, where that rule would have made 24.
    """
    return max(8, int(channels * width + 4) // 8 * 8)


@dataclass(frozen=True, repr=False)
class V2Spec(StagedNetwork):
    """A fully resolved EfficientNetV2, of the rows of one of the tables."""

    blocks: tuple[FusedMBConvBlock | MBConvBlock, ...]
    table: str

    architecture: ClassVar[str] = "v2"

    @property
    def title(self) -> str:
        return f"EfficientNetV2-{self.name.removeprefix('v2-').upper()}"

    @property
    def arguments(self) -> dict[str, Any]:
        return {**super().arguments, "table": self.table}


def resolve(
    preset: str = "v2-b0",
    *,
    table: str | None = None,
    width: float | None = None,
    depth: float | None = None,
    resolution: int | Size | None = None,
    dropout: float | None = None,
    num_classes: int | None = IMAGENET_CLASSES,
    in_channels: int = 3,
    drop_path_rate: float = DROP_PATH_RATE,
    dialect: str | Dialect = AUTOML,
) -> V2Spec:
    """Resolve a preset, or any scaling of a table, to a network in which every number is stated.

    What is not given comes from `preset`.  `table` is b0, s, m, l or xl; `resolution` is a side in
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

    stem = resolve_stem(shared, scale_channels(TABLES[table].stem, width), SWISH)
    stages = [
        Stage(scale_channels(row.channels, width), scale_layers(row.layers, depth), row.stride)
        for row in rows
    ]
    blocks: list[FusedMBConvBlock | MBConvBlock] = []
    for place in places(stem, stages, drop_path_rate):
        row = rows[place.stage - stem.stage - 1]
        expanded = place.in_channels * row.expand_ratio
        fields = {
            **vars(place),
            "kernel": KERNEL,
            "expand_ratio": row.expand_ratio,
            "expanded_channels": expanded,
        }
        # step: block
        if row.fused:
            blocks.append(FusedMBConvBlock(**fields, activation=SWISH))
        else:
            squeezed = max(1, int(place.in_channels * SQUEEZE_RATIO))
            blocks.append(MBConvBlock(**fields, squeezed_channels=squeezed))
    is_preset = (table, width, depth) == (base.table, base.width, base.depth)
    return V2Spec(
        name=base.name if is_preset else "custom",
        table=table,
        width=width,
        depth=depth,
        drop_path_rate=drop_path_rate,
        **around(blocks, stem, scale_channels(HEAD_CHANNELS, width), shared),
    )


V2 = Architecture("v2", "EfficientNetV2", tuple(PRESETS), resolve)
