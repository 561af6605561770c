"""What the pages beside the paper take from the specification: rows, tables and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import paper_map  # noqa: F401 - which registers its own
import printed  # noqa: F401 - which registers its rows
import scaled
from charts import Axis, Curve, lines
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.cli.tables import stage_row
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.spec import (
    HEAD_CHANNELS,
    PRESETS,
    STEM_CHANNELS,
    TABLE_1,
    compound_scaling,
    scale_channels,
)
from generating import generated, rows_of, table
from receptive import feature_maps

NARROW = 1.5  # width below which rounding can take more than a tenth


@generated("activations")
def activations() -> str:
    """Swish beside the functions that are taken for it."""
    steps = [step / 20 for step in range(-120, 81)]
    functions = {
        "swish": (lambda z: z / (1 + math.exp(-z)), "paper", ""),
        "hard swish": (lambda z: z * min(max(z + 3, 0), 6) / 6, "", "6 3"),
        "ReLU": (lambda z: max(z, 0.0), "", "2 3"),
    }
    curves = [
        Curve(name, [(z, function(z)) for z in steps], colour, dashes)
        for name, (function, colour, dashes) in functions.items()
    ]
    across = Axis("z", -6, 4, range(-6, 5, 2))
    up = Axis("value", -1, 4, range(-1, 5))
    return lines("Swish, hard swish and ReLU from -6 to 4", curves, across, up)


# ------------------------------------------------------------------ rows of tables.toml


@rows_of("stages")
def stages() -> Iterator[dict[str, Any]]:
    """Table 1 with what the paper leaves out: what comes out of a stage, and what it costs."""
    costs, total = count_stages(scaled.BASE), count(scaled.BASE)
    last = {section.stage: section for section in scaled.BASE.maps}
    for number, sections in scaled.BASE.stages.items():
        row = stage_row(sections)
        yield {
            "stage": number,
            "operator": row.operator.replace("x", "×"),
            "input": row.input_size,
            "output": last[number].output_size,
            "channels": row.channels,
            "layers": row.layers,
            "stride": row.stride,
            "parameters": costs[number].trainable,
            "parameters_share": costs[number].trainable / total.trainable,
            "macs": costs[number].macs,
            "macs_share": costs[number].macs / total.macs,
        }


@rows_of("blocks")
def blocks() -> Iterator[dict[str, Any]]:
    """How often each block is dropped."""
    for block in scaled.BASE.blocks:
        kept = f"{1 / (1 - block.drop_path_rate):.4f}" if block.has_skip else "-"
        dropped = "yes" if block.has_skip else "no shortcut"
        yield {"block": block, "kept": kept, "dropped": dropped}


@rows_of("maps")
def maps() -> Iterator[dict[str, Any]]:
    """Stride, channels and receptive field of the maps that features are read from."""
    for name, stride, channels, field in feature_maps(scaled.BASE):
        yield {"name": name, "stride": stride, "channels": channels, "field": field}


def _cost(name: str, network: Network) -> dict[str, Any]:
    """A network, what it costs, and what the rule predicts of that."""
    total, blocks = count(network), len(network.blocks)
    predicted, counted = scaled.predicted(network), scaled.counted(network)
    return {
        "name": name,
        "network": network,
        "blocks": blocks,
        "deeper": blocks / len(scaled.BASE.blocks),
        "parameters": total.trainable,
        "giga": total.macs / 1e9,
        "predicted": predicted,
        "counted": counted,
        "quotient": counted / predicted,
        "phi": scaled.alone(network),
    }


@rows_of("released")
def released() -> Iterator[dict[str, Any]]:
    """Every released network of the paper."""
    return (_cost(name.upper(), resolve(name)) for name in PRESETS)


@rows_of("by the rule")
def by_the_rule() -> Iterator[dict[str, Any]]:
    """What equation 3 gives for whole phi."""
    for phi in range(8):
        yield _cost(str(phi), resolve(scaled.BASE.name, **vars(compound_scaling(phi))))


@rows_of("in one way")
def in_one_way() -> Iterator[dict[str, Any]]:
    """The networks of the paper's Table 7: about the same cost, in four ways."""
    return (_cost(name, resolve(scaled.BASE.name, **how)) for name, how in scaled.ALONE.items())


# ------------------------------------------------------------------ tables


@generated("rounded channels")
def rounded_channels() -> str:
    """Channels of every stage, multiplied and then rounded, for the smallest networks."""
    stages = {1: STEM_CHANNELS} | {s.number: s.channels for s in TABLE_1} | {9: HEAD_CHANNELS}
    shown = [preset for preset in PRESETS.values() if 1 < preset.width < NARROW]
    rows = []
    for number, channels in stages.items():
        cells = []
        for preset in shown:
            rounded = scale_channels(channels, preset.width)
            cell = f"{channels * preset.width:.1f} → {rounded}"
            cells.append(f"**{cell}**" if guarded(channels, preset.width) else cell)
        rows.append((str(number), str(channels), *cells))
    head = ("Stage", "B0", *(f"{p.name.upper()}, ×{p.width:g}" for p in shown))
    return table(head, rows, "numbers")


def guarded(channels: int, width: float) -> bool:
    """Whether the nearest multiple of 8 would lose more than a tenth, and is not taken."""
    rounded = scale_channels(channels, width)
    return rounded > 8 and rounded - channels * width > 4
