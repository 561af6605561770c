"""What the pages beside the paper take from the specification, as tables and curves."""

from __future__ import annotations

import math
from functools import partial

import paper_map  # noqa: F401 - which registers its own
import printed
import scaled
from charts import Axis, Curve, lines
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.cli.tables import (
    stage_row,
)
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.network import Network, Size
from efficientnet_rosetta.common.spec import (
    HEAD_CHANNELS,
    PRESETS,
    STEM_CHANNELS,
    TABLE_1,
    compound_scaling,
    scale_channels,
)
from generating import generated, table


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


@generated("drop rates")
def drop_rates() -> str:
    """How often each block of B0 is dropped."""
    rows = [
        (
            f"{block.index}",
            f"`{block.role}`",
            f"{block.drop_path_rate:.4f}",
            f"{1 / (1 - block.drop_path_rate):.4f}" if block.has_skip else "-",
            "yes" if block.has_skip else "no shortcut",
        )
        for block in resolve("b0").blocks
    ]
    head = ("i", "Block", "Rate", "A kept branch, times", "Can be dropped")
    return table(head, rows, "numbers")


@generated("table 1")
def table_1() -> str:
    """Table 1 with what the paper leaves out: what comes out of a stage, and what it costs."""
    network = scaled.BASE
    costs, total = count_stages(network), count(network)
    last = {section.stage: section for section in network.maps}
    rows = []
    for number, sections in network.stages.items():
        row = stage_row(sections)
        rows.append(
            (
                str(number),
                row.operator.replace("x", "×"),
                _pixels(row.input_size),
                _pixels(last[number].output_size),
                str(row.channels),
                str(row.layers),
                str(row.stride),
                f"{costs[number].trainable:,}",
                f"{costs[number].trainable / total.trainable:.1%}",
                f"{costs[number].macs:,}",
                f"{costs[number].macs / total.macs:.1%}",
            )
        )
    head = ("Stage", "Operator", "Input", "Output", "Channels", "Layers", "Stride")
    return table((*head, "Parameters", "Share", "MACs", "Share"), rows, "numbers")


def _pixels(size: Size) -> str:
    return "×".join(map(str, size))


def _printed(name: str) -> str:
    return table(*printed.TABLES[name](), "numbers")


for _name in printed.TABLES:
    generated(_name)(partial(_printed, _name))


@generated("scaling phi")
def scaling_phi() -> str:
    """Which phi each released coefficient alone would need."""
    rows = []
    for name, preset in PRESETS.items():
        network = resolve(name)
        phis = [f"{phi:.2f}" for phi in scaled.alone(network).values()]
        given = (f"{preset.depth:g}", f"{preset.width:g}", str(preset.resolution))
        rows.append(
            (name.upper(), *(cell for pair in zip(given, phis, strict=True) for cell in pair))
        )
    head = ("Network", "Depth", "its φ", "Width", "its φ", "Pixels", "its φ")
    return table(head, rows, "numbers")


@generated("scaling curve")
def scaling_curve() -> str:
    """What equation 3 gives for whole phi."""
    rows = []
    for phi in range(8):
        scaling = compound_scaling(phi)
        network = resolve(
            "b0", width=scaling.width, depth=scaling.depth, resolution=scaling.resolution
        )
        numbers = (f"{scaling.depth:.2f}", f"{scaling.width:.2f}", str(scaling.resolution))
        rows.append((str(phi), *numbers, f"{count(network).macs / 1e9:.3g} G", _ratio(network)))
    return table(("φ", "Depth", "Width", "Pixels", "MACs", "of B0's"), rows, "numbers")


@generated("scaling cost")
def scaling_cost() -> str:
    """Predicted beside counted cost of every preset."""
    rows = []
    for name, preset in PRESETS.items():
        network = resolve(name)
        blocks = len(network.blocks)
        rows.append(
            (
                name.upper(),
                f"×{preset.depth:g}",
                str(blocks),
                f"×{blocks / len(scaled.BASE.blocks):.2f}",
                f"{count(network).macs / 1e9:.3g} G",
                _times(scaled.predicted(network)),
                _ratio(network),
                f"{scaled.counted(network) / scaled.predicted(network):.2f}",
            )
        )
    head = ("Network", "Depth", "Blocks", "of B0's", "MACs", "Predicted", "Counted", "Quotient")
    return table(head, rows, "numbers")


def _ratio(network: Network) -> str:
    return _times(scaled.counted(network))


def _times(ratio: float) -> str:
    return f"×{ratio:,.0f}" if ratio >= 100 else f"×{ratio:#.3g}"


@generated("scaling alone")
def scaling_alone() -> str:
    """The networks of the paper's Table 7: about the same cost, in four ways."""
    rows = []
    for name, scaling in scaled.ALONE.items():
        network = resolve("b0", **scaling)
        total = count(network)
        predicted = _times(scaled.predicted(network))
        macs = f"{total.macs / 1e9:.2f} G"
        rows.append((name, f"{total.trainable:,}", macs, predicted, _ratio(network)))
    return table(("B0 scaled by", "Parameters", "MACs", "Predicted", "Counted"), rows, "numbers")


@generated("rounded channels")
def rounded_channels() -> str:
    """Channels of every stage, multiplied and then rounded, for the smallest networks."""
    stages = {1: STEM_CHANNELS} | {s.number: s.channels for s in TABLE_1} | {9: HEAD_CHANNELS}
    shown = [preset for preset in PRESETS.values() if 1 < preset.width < 1.5]
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
