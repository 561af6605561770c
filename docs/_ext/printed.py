"""Tables of the papers as they are printed, beside what is counted here.

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
import stages
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


def _beside(row: dict[str, Any]) -> dict[str, Any]:
    """What is printed of a network, with its parameters and FLOPS as they are counted."""
    network = architectures.resolve(row["preset"])
    total = count(network)
    millions, giga = total.trainable / MILLION, total.macs / BILLION
    return row | {
        "network": network,
        "millions": millions,
        "parameters_gap": gap(millions, row["parameters"]),
        "giga": giga,
        "flops_gap": gap(giga, row["flops"]),
    }


@rows_of("table 2")
def table_2() -> Iterator[dict[str, Any]]:
    """Parameters and FLOPS, printed and counted."""
    for row in map(_beside, PRINTED["table_2"]):
        normalised = with_batch_norm(row["network"]) / BILLION
        yield row | {"name": _title(row["preset"]), "normalised": normalised}


@rows_of("table 7")
def table_7() -> Iterator[dict[str, Any]]:
    """One dimension and all three: cost as it is printed, and as it is counted here."""
    for (name, how), row in zip(scaled.ALONE.items(), PRINTED["table_7"], strict=True):
        giga = count(architectures.resolve(scaled.BASE.name, **how)).macs / BILLION
        yield row | {"name": name, "giga": giga, "gap": gap(giga, row["flops"])}


@rows_of("table 4 of v2")
def table_4_of_v2() -> Iterator[dict[str, Any]]:
    """Each stage as it is printed, whether ours is the same, and what it costs."""
    here = stages.rows(architectures.resolve("v2-s"))
    for printed, row in zip(PRINTED["v2_table_4"], here, strict=True):
        ours = (row["channels"], row["layers"])
        same = ours == (printed["channels"], printed["layers"])
        same &= printed["stride"] in ("-", str(row["stride"]))
        told = "{channels} channels, {layers} layers, stride {stride}".format_map(row)
        number = row["stage"] - 1  # the paper counts from 0
        yield row | printed | {"stage": number, "told": "equal" if same else told}


@rows_of("table 7 of v2")
def table_7_of_v2() -> Iterator[dict[str, Any]]:
    """Parameters and FLOPS of V2, printed and counted."""
    return map(_beside, PRINTED["v2_table_7"])
