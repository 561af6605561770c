"""Tables of the paper (arXiv 1905.11946) as they are printed, beside what is counted here.

What is printed is in printed.toml; tables that nothing is counted beside are in tables.toml.
Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import scaled
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.network import Network
from generating import rows_of

PRINTED = tomllib.loads((Path(__file__).parents[1] / "printed.toml").read_text(encoding="utf-8"))
BILLION, MILLION = 10**9, 10**6


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


@rows_of("table 2")
def table_2() -> Iterator[dict[str, Any]]:
    """Parameters and FLOPS, printed and counted."""
    for row in PRINTED["table_2"]:
        network = architectures.resolve(row["preset"])
        total = count(network)
        millions, giga = total.trainable / MILLION, total.macs / BILLION
        yield row | {
            "name": _title(row["preset"]),
            "millions": millions,
            "parameters_gap": gap(millions, row["parameters"]),
            "giga": giga,
            "flops_gap": gap(giga, row["flops"]),
            "normalised": with_batch_norm(network) / BILLION,
        }


@rows_of("table 7")
def table_7() -> Iterator[dict[str, Any]]:
    """One dimension and all three: cost as it is printed, and as it is counted here."""
    for (name, how), row in zip(scaled.ALONE.items(), PRINTED["table_7"], strict=True):
        giga = count(architectures.resolve(scaled.BASE.name, **how)).macs / BILLION
        yield row | {"name": name, "giga": giga, "gap": gap(giga, row["flops"])}
