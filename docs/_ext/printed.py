"""The tables of the paper (arXiv 1905.11946) as they are printed, beside what is counted here.

Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import scaled
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.network import Network

Table = tuple[Sequence[str], list[Sequence[str]]]
BILLION, MILLION = 10**9, 10**6


@dataclass(frozen=True)
class Row:
    """A network of Table 2: accuracies in percent, parameters in millions, FLOPS in billions."""

    preset: str
    top1: str
    top5: str
    parameters: str
    flops: str


# fmt: off
TABLE_2 = (
    Row("b0", "77.1", "93.3", "5.3", "0.39"),
    Row("b1", "79.1", "94.4", "7.8", "0.70"),
    Row("b2", "80.1", "94.9", "9.2", "1.0"),
    Row("b3", "81.6", "95.7", "12",  "1.8"),
    Row("b4", "82.9", "96.4", "19",  "4.2"),
    Row("b5", "83.6", "96.7", "30",  "9.9"),
    Row("b6", "84.0", "96.8", "43",  "19"),
    Row("b7", "84.3", "97.0", "66",  "37"),
    Row("xception", "79.0", "94.5", "23", "8.4"),
)
# Network, how it is scaled, FLOPS in billions, top-1.
TABLE_3 = (
    ("MobileNetV1", "as it is", "0.6", "70.6"),
    ("MobileNetV1", "w = 2", "2.2", "74.2"),
    ("MobileNetV1", "r = 2", "2.2", "72.7"),
    ("MobileNetV1", "d = 1.4, w = 1.2, r = 1.3", "2.3", "75.6"),
    ("MobileNetV2", "as it is", "0.3", "72.0"),
    ("MobileNetV2", "d = 4", "1.2", "76.8"),
    ("MobileNetV2", "w = 2", "1.1", "76.4"),
    ("MobileNetV2", "r = 2", "1.2", "74.8"),
    ("MobileNetV2", "compound", "1.3", "77.4"),
    ("ResNet-50", "as it is", "4.1", "76.0"),
    ("ResNet-50", "d = 4", "16.2", "78.1"),
    ("ResNet-50", "w = 2", "14.7", "77.7"),
    ("ResNet-50", "r = 2", "16.4", "77.5"),
    ("ResNet-50", "compound", "16.7", "78.8"),
)
# Network, its top-1 and seconds, the EfficientNet beside it, its top-1 and seconds, the quotient.
TABLE_4 = (
    ("ResNet-152", "77.8 %", "0.554 s", "B1", "78.8 %", "0.098 s", "5.7"),
    ("GPipe", "84.3 %", "19.0 s", "B7", "84.4 %", "3.1 s", "6.1"),
)
# The networks of `scaled.ALONE`, in their order: FLOPS in billions, top-1.
TABLE_7 = (("0.4", "77.3"), ("1.8", "79.0"), ("1.8", "78.9"), ("1.9", "79.1"), ("1.8", "81.1"))
# Network, top-1 of validation and test, top-5 of validation and test.
TABLE_8 = (
    ("b0", "77.11", "77.23", "93.35", "93.45"),
    ("b1", "79.13", "79.17", "94.47", "94.43"),
    ("b2", "80.07", "80.16", "94.90", "94.98"),
    ("b3", "81.59", "81.72", "95.67", "95.70"),
    ("b4", "82.89", "82.94", "96.37", "96.27"),
    ("b5", "83.60", "83.69", "96.71", "96.64"),
    ("b6", "83.95", "84.04", "96.76", "96.86"),
    ("b7", "84.26", "84.33", "96.97", "96.94"),
)
# fmt: on


def as_printed(value: float, printed: str) -> str:
    """A number with as many decimals as the paper prints of it."""
    return f"{value:.{_decimals(printed)}f}"


def gap(value: float, printed: str) -> str:
    """By how much ours differs from what is printed, or that it is the same as printed."""
    if as_printed(value, printed) == printed:
        return "equal"
    return f"{value / float(printed) - 1:+.1%}".replace("-", "\u2212")


def _decimals(printed: str) -> int:
    exponent = Decimal(printed).as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def with_batch_norm(network: Network) -> int:
    """Multiply-accumulates, and one more for every value that a batch norm scales."""
    values = (
        layer.out_channels * math.prod(layer.output_size)
        for layer in network.layers
        if layer.kind == "batch_norm"
    )
    return count(network).macs + sum(values)


def _title(preset: str) -> str:
    return preset.upper() if len(preset) == 2 else preset.capitalize()


def table_2() -> Table:
    """Parameters and FLOPS, printed and counted."""
    rows: list[Sequence[str]] = []
    for row in TABLE_2:
        network = architectures.resolve(row.preset)
        total = count(network)
        parameters, macs = total.trainable / MILLION, total.macs / BILLION
        rows.append(
            (
                _title(row.preset),
                f"{row.parameters} M",
                f"{parameters:.2f} M",
                gap(parameters, row.parameters),
                f"{row.flops} B",
                f"{macs:.3g} G",
                gap(macs, row.flops),
                f"{with_batch_norm(network) / BILLION:.3g} G",
            )
        )
    head = ("Network", "Parameters, paper", "here", "gap")
    return (*head, "FLOPS, paper", "here", "gap", "with batch norm"), rows


def table_3() -> Table:
    """Other networks, scaled by the same rule."""
    return ("Network", "Scaled by", "FLOPS", "Top-1"), [
        (name, how, f"{flops} B", f"{top1} %") for name, how, flops, top1 in TABLE_3
    ]


def table_4() -> Table:
    """Latency, as it was measured for the paper."""
    head = ("Network", "Top-1", "Latency", "EfficientNet", "Top-1", "Latency", "Faster by")
    return head, [(*row[:-1], f"×{row[-1]}") for row in TABLE_4]


def table_7() -> Table:
    """One dimension and all three: cost as it is printed, and as it is counted here."""
    rows: list[Sequence[str]] = []
    for (name, how), (flops, top1) in zip(scaled.ALONE.items(), TABLE_7, strict=True):
        network = architectures.resolve("b0", **how)
        macs = count(network).macs / BILLION
        rows.append((name, f"{flops} B", f"{macs:.2f} G", gap(macs, flops), f"{top1} %"))
    return ("B0 scaled by", "FLOPS, paper", "here", "gap", "Top-1, paper"), rows


def table_8() -> Table:
    """Accuracies on the validation set and on the test set."""
    rows = [(_title(name), *(f"{value} %" for value in values)) for name, *values in TABLE_8]
    head = ("Network", "Top-1, validation", "Top-1, test")
    return (*head, "Top-5, validation", "Top-5, test"), rows


TABLES: dict[str, Callable[[], Table]] = {
    "table 2, printed": table_2,
    "table 3, printed": table_3,
    "table 4, printed": table_4,
    "table 7, printed": table_7,
    "table 8, printed": table_8,
}
