"""What the pages beside the paper take from the specification: rows, tables and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import paper_map  # noqa: F401 - which registers its own
import printed  # noqa: F401 - which registers its rows
import scaled
from charts import Axis, Curve, lines
from efficientnet_rosetta.common import lite
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.counting import count
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
from receptive import receptive_fields

NARROW = 1.5  # width below which rounding can take more than a tenth


# ------------------------------------------------------------------ curves

FUNCTIONS: dict[str, Callable[[float], float]] = {
    "swish": lambda z: z / (1 + math.exp(-z)),
    "hard swish": lambda z: z * min(max(z + 3, 0), 6) / 6,
    "ReLU": lambda z: max(z, 0.0),
    "ReLU6": lambda z: min(max(z, 0.0), 6.0),
}
LOOKS = ("", "6 3"), ("", "2 3"), ("paper", "")  # colour and dashes; the last is on top


def _functions(title: str, names: tuple[str, ...], across: range, up: Axis) -> str:
    """Curves of functions between the ends of an axis; the last is what the figure is about."""
    low, high = across[0], across[-1]
    steps = [step / 20 for step in range(20 * low, 20 * high + 1)]
    curves = [
        Curve(name, [(z, FUNCTIONS[name](z)) for z in steps], *look)
        for name, look in zip(names, LOOKS, strict=True)
    ]
    return lines(f"{title} from {low} to {high}", curves, Axis("z", low, high, across), up)


@generated("activations")
def activations() -> str:
    """Swish beside the functions that are taken for it."""
    names = ("hard swish", "ReLU", "swish")
    up = Axis("value", -1, 4, range(-1, 5))
    return _functions("Swish, hard swish and ReLU", names, range(-6, 5, 2), up)


@generated("relu6")
def relu6() -> str:
    """The activation of Lite, those of EdgeTPU, and of the networks that both were made from."""
    names = ("swish", "ReLU", "ReLU6")
    up = Axis("value", -1, 10, range(0, 11, 2))
    return _functions("Swish, ReLU and ReLU6", names, range(-4, 11, 2), up)


# ------------------------------------------------------------------ rows of tables.toml


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
    found = receptive_fields(scaled.BASE)
    for section in scaled.BASE.maps:
        if section.reduction:
            yield {"section": section, "field": found[section.role]}


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
        "millions": total.trainable / 1e6,
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


@rows_of("lite beside b0")
def lite_beside_b0() -> Iterator[dict[str, Any]]:
    """Each Lite beside the network that has its number."""
    for number, name in enumerate(lite.PRESETS):
        heavy, light = (_cost(one, resolve(one)) for one in (f"b{number}", name))
        yield {"number": number, "b": heavy, "lite": light}


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
