"""Tables of the later networks: what their sources print, beside what is counted here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from charts import Axis, Curve, lines
from efficientnet_rosetta.common import architectures, edgetpu, lite
from efficientnet_rosetta.common.cli.tables import stage_row
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.network import Network, Size
from generating import generated, table
from printed import BILLION, MILLION, gap

# ------------------------------------------------------------------ EfficientNetV2


@dataclass(frozen=True)
class Row:
    """A row of Table 4 of arXiv 2104.00298, whose stages count from 0; the last has no stride."""

    operator: str
    stride: str
    channels: int
    layers: int


# fmt: off
TABLE_4 = (
    Row("Conv3x3",                "2", 24,   1),
    Row("Fused-MBConv1, k3x3",    "1", 24,   2),
    Row("Fused-MBConv4, k3x3",    "2", 48,   4),
    Row("Fused-MBConv4, k3x3",    "2", 64,   4),
    Row("MBConv4, k3x3, SE0.25",  "2", 128,  6),
    Row("MBConv6, k3x3, SE0.25",  "1", 160,  9),
    Row("MBConv6, k3x3, SE0.25",  "2", 256,  15),
    Row("Conv1x1 & Pooling & FC", "-", 1280, 1),
)
# Table 7: network, top-1 in percent, parameters in millions, FLOPs in billions.  XL is there only
# after pretraining on ImageNet-21k.
TABLE_7 = (
    ("v2-s", "83.9", "22", "8.8"),
    ("v2-m", "85.1", "54", "24"),
    ("v2-l", "85.7", "120", "53"),
    ("v2-xl", "87.3", "208", "94"),
)
# fmt: on


@generated("table 4 of v2")
def table_4() -> str:
    """V2-S as it is printed, whether ours is the same, and what it costs."""
    network = architectures.resolve("v2-s")
    rows = []
    for stage, (printed, costs) in enumerate(zip(TABLE_4, _costs(network), strict=True)):
        here = stage_row(network.stages[stage + 1])
        ours = (here.channels, here.layers)
        same = ours == (printed.channels, printed.layers)
        same &= printed.stride in ("-", str(here.stride))
        told = "equal" if same else f"{ours[0]} channels, {ours[1]} layers, stride {here.stride}"
        rows.append(
            (
                str(stage),
                printed.operator.replace("x", "×"),
                printed.stride,
                str(printed.channels),
                str(printed.layers),
                told,
                *costs,
            )
        )
    head = ("Stage", "Operator", "Stride", "Channels", "Layers", "here")
    return table((*head, *COSTS), rows, "numbers")


COSTS = ("Input", "Output", "Parameters", "Share", "MACs", "Share")


def _costs(network: Network) -> Iterable[tuple[str, ...]]:
    """Of every stage: its maps, its parameters and operations, and their shares."""
    of_stages, total = count_stages(network), count(network)
    last = {section.stage: section for section in network.maps}
    for number, sections in network.stages.items():
        cost = of_stages[number]
        yield (
            _pixels(stage_row(sections).input_size),
            _pixels(last[number].output_size),
            f"{cost.trainable:,}",
            f"{cost.trainable / total.trainable:.1%}",
            f"{cost.macs:,}",
            f"{cost.macs / total.macs:.1%}",
        )


def _pixels(size: Size) -> str:
    return "×".join(map(str, size))


@generated("table 7 of v2")
def table_7() -> str:
    """Parameters and FLOPs of V2, printed and counted."""
    rows = []
    for name, top1, parameters, flops in TABLE_7:
        network = architectures.resolve(name)
        total = count(network)
        millions, billions = total.trainable / MILLION, total.macs / BILLION
        rows.append(
            (
                network.title,
                f"{parameters} M",
                f"{millions:.1f} M",
                gap(millions, parameters),
                f"{flops} B",
                f"{billions:.3g} G",
                gap(billions, flops),
                f"{top1} %",
            )
        )
    head = ("Network", "Parameters, paper", "here", "gap", "FLOPs, paper", "here", "gap")
    return table((*head, "Top-1, paper"), rows, "numbers")


# ------------------------------------------------------------------ EfficientNet-Lite


@generated("lite beside b0")
def lite_beside_b0() -> str:
    """Each Lite beside the network that has its number, and its coefficients."""
    rows = []
    for number, name in enumerate(lite.PRESETS):
        pair = [architectures.resolve(one) for one in (f"b{number}", name)]
        totals = [count(network) for network in pair]
        cells = [
            [str(network.resolution[0]) for network in pair],
            [str(len(network.blocks)) for network in pair],
            [f"{network.head.out_channels:,}" for network in pair],
            [f"{total.trainable / MILLION:.2f} M" for total in totals],
            [f"{total.macs / BILLION:.3g} G" for total in totals],
        ]
        beside = [cell for both in cells for cell in both]
        rows.append((f"{pair[0].name.upper()}, Lite{number}", *beside))
    head = [
        text
        for what in ("Pixels", "Blocks", "Head", "Parameters", "MACs")
        for text in (f"{what}, B", f"{what}, Lite")
    ]
    return table(("Networks", *head), rows, "numbers")


# ------------------------------------------------------------------ EfficientNet-EdgeTPU


@generated("stages of edgetpu")
def stages_of_edgetpu() -> str:
    """S, stage by stage."""
    network = architectures.resolve(next(iter(edgetpu.PRESETS)))
    rows = []
    for (number, sections), costs in zip(network.stages.items(), _costs(network), strict=True):
        row = stage_row(sections)
        operator = row.operator.replace("x", "×")
        rows.append(
            (str(number), operator, str(row.stride), str(row.channels), str(row.layers), *costs)
        )
    return table(("Stage", "Operator", "Stride", "Channels", "Layers", *COSTS), rows, "numbers")


@generated("relu6")
def relu6() -> str:
    """The activations of Lite, of EdgeTPU, and of the networks that they were made from."""
    steps = [step / 20 for step in range(-80, 201)]
    functions = {
        "swish": (lambda z: z / (1 + math.exp(-z)), "", "6 3"),
        "ReLU": (lambda z: max(z, 0.0), "", "2 3"),
        "ReLU6": (lambda z: min(max(z, 0.0), 6.0), "paper", ""),
    }
    curves = [
        Curve(name, [(z, function(z)) for z in steps], colour, dashes)
        for name, (function, colour, dashes) in functions.items()
    ]
    across = Axis("z", -4, 10, range(-4, 11, 2))
    up = Axis("value", -1, 10, range(0, 11, 2))
    return lines("Swish, ReLU and ReLU6 from -4 to 10", curves, across, up)
