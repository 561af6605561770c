"""The paper's tables as they are printed, and the gaps that the pages tell."""

from __future__ import annotations

import re

import pytest

import printed
import scaled
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.spec import resolve
from tables import GENERATED

# Network, top-1 and top-5 of validation; those of the test set are not printed twice.
ROW = r"(?m)^\| (\w+) \| ([\d.]+) % \| [\d.]+ % \| ([\d.]+) % \|"


@pytest.mark.parametrize(
    ("value", "text", "gap"),
    [
        (0.3858, "0.39", "equal"),
        (0.9945, "1.0", "equal"),
        (4.394, "4.2", "+4.6%"),
        (0.687, "0.70", "\u22121.9%"),
        (19.07, "19", "equal"),
    ],
)
def test_a_gap_is_told_to_the_digits_that_are_printed(value, text, gap):
    assert printed.gap(value, text) == gap


TABLE_2 = [row for row in printed.table_2() if row["preset"] != "xception"]


def test_flops_that_are_equal_as_printed():
    """As the page says of them, and which ones a batch norm would explain."""
    equal = {row["name"] for row in printed.table_2() if row["flops_gap"] == "equal"}
    assert equal == {"B0", "B2", "B3", "B6", "Xception"}
    networks = {row["preset"]: resolve(row["preset"]) for row in TABLE_2}
    counted = {
        row["preset"]: printed.as_printed(
            printed.with_batch_norm(networks[row["preset"]]) / 1e9, row["flops"]
        )
        for row in TABLE_2
    }
    assert counted["b1"] == "0.70"
    assert counted["b3"] == "1.9"
    assert all(
        count(networks[row["preset"]]).macs / 1e9 > float(row["flops"])
        for row in TABLE_2
        if row["preset"] in ("b4", "b5", "b7")
    )


def test_parameters_of_b2():
    """Equal with the statistics of batch norm, as B1 is without them."""
    totals = {name: count(resolve(name)) for name in ("b1", "b2")}
    millions = {name: total.parameters / 1e6 for name, total in totals.items()}
    assert printed.as_printed(millions["b2"], "9.2") == "9.2"
    assert printed.as_printed(totals["b2"].trainable / 1e6, "9.2") == "9.1"
    assert printed.as_printed(millions["b1"], "7.8") == "7.9"
    assert printed.as_printed(totals["b1"].trainable / 1e6, "7.8") == "7.8"


def test_single_scalings_are_cheaper_than_printed():
    gaps = [row["gap"] for row in printed.table_7()]
    assert gaps[0] == gaps[4] == "equal"
    assert all(gap.startswith("\u2212") for gap in gaps[1:4])
    networks = [resolve("b0", **how) for how in scaled.ALONE.values()]
    assert all(3.7 < scaled.counted(network) < 4.1 for network in networks[1:4])


def test_what_is_printed_twice_is_the_same():
    """Tables 2 and 8 have the same accuracies; of Table 7 the page says that it does not."""
    table_8 = re.findall(ROW, GENERATED["table 8, printed"]())
    for row, (name, validation, top5) in zip(TABLE_2, table_8, strict=True):
        assert row["name"] == name
        assert abs(float(validation) - float(row["top1"])) <= 0.06, name
        assert abs(float(top5) - float(row["top5"])) <= 0.08, name
    assert next(printed.table_7())["top1"] != TABLE_2[0]["top1"]


def test_the_table_of_v2_is_as_printed(monkeypatch):
    """And another one would be told."""
    rows = printed.PRINTED["v2_table_4"]
    assert [row["told"] for row in printed.table_4_of_v2()] == ["equal"] * len(rows)
    monkeypatch.setitem(rows[6], "channels", 272)
    assert cells("table 4 of v2")[6][5] == "256 channels, 15 layers, stride 2"


def test_the_gaps_of_v2_are_those_that_the_page_tells():
    rows = {row[0]: row for row in cells("table 7 of v2")}
    gaps = {name.removeprefix("EfficientNetV2-"): (row[3], row[6]) for name, row in rows.items()}
    assert {name for name, (parameters, _) in gaps.items() if parameters == "equal"} == {"M", "XL"}
    assert gaps["S"][1].startswith("\u2212")
    assert gaps["L"][1].startswith("+")
    total = count(architectures.resolve("v2-s")).parameters / 1e6
    assert printed.as_printed(total, "22") == "22"


def cells(name: str) -> list[list[str]]:
    """The rows of a table by its name, without its head."""
    lines = [line for line in GENERATED[name]().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def test_lites_are_beside_the_networks_of_their_numbers():
    """As the page says: Lite0 has hardly fewer operations than B0, and the heads do not grow."""
    rows = cells("lite beside b0")
    assert [row[0] for row in rows] == [f"B{n}, Lite{n}" for n in range(5)]
    assert {row[6] for row in rows} == {"1,280"}
    assert len({row[5] for row in rows}) == 4
    macs = [float(cell.removesuffix(" G")) for cell in rows[0][9:11]]
    assert 0.99 < macs[1] / macs[0] < 1


def test_the_fused_stages_of_edgetpu_have_the_operations_and_not_the_parameters():
    rows = [row for row in cells("stages of edgetpu") if "Fused" in row[1]]
    shares = [sum(float(row[place].removesuffix("%")) for row in rows) for place in (8, 10)]
    assert len(rows) == 3
    assert shares[0] < 20
    assert shares[1] > 60
