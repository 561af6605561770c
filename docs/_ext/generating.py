"""What pages may take from the code: a register of names, and how tables are written.

A table is columns and rows.  `docs/tables.toml` states those whose cells are words, or numbers of
a result or of the specification that only need to be written; the others are functions.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from string import Formatter
from typing import Any

GENERATED: dict[str, Callable[[], str]] = {}
ROWS: dict[str, Callable[[], Iterable[Mapping[str, Any]]]] = {}
FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras"}
STATED = Path(__file__).parents[1] / "tables.toml"


def generated(name: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register what a page may ask for."""

    def register(make: Callable[[], str]) -> Callable[[], str]:
        GENERATED[name] = make
        return make

    return register


def rows_of(name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Register rows that tables.toml may ask for: each has values by name."""

    def register(make: Callable[[], Any]) -> Callable[[], Any]:
        ROWS[name] = make
        return make

    return register


# ------------------------------------------------------------------ tables in Markdown


def table(head: Sequence[str], rows: Iterable[Sequence[str]], style: str = "") -> str:
    """A table in Markdown, of a class of pages.css where one is given."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]
    if style:
        lines = ["```{table}", f":class: {style}", "", *lines, "```"]
    return "\n".join(lines)


def plain(said: str) -> str:
    """What a program said, as text of one cell: no emphasis, no link and no HTML."""
    for mark in "\\`*_[]<>":
        said = said.replace(mark, f"\\{mark}")
    return " ".join(said.split())


def times(ratio: float) -> str:
    """×1.26"""
    return f"×{ratio:,.0f}" if ratio >= 100 else f"×{ratio:#.3g}"


def on_disk(megabytes: int) -> str:
    """A size as a reader wants it: 43 MB or 3.1 GB."""
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


class Filling(Formatter):
    """Fills in templates: Python's formats, and these by their names."""

    own: Mapping[str, Callable[[Any], str]] = {
        "framework": lambda name: FRAMEWORKS[name],
        "pixels": lambda size: "×".join(map(str, size)),
        "times": times,
        "on_disk": on_disk,
    }

    def format_field(self, value: Any, spec: str) -> str:
        """A value as its format has it."""
        return self.own[spec](value) if spec in self.own else super().format_field(value, spec)


Rows = Iterable[Mapping[str, Any]]


def stated(rows_by_name: Callable[[str], Rows]) -> None:
    """Register every table of tables.toml; rows that are not there are asked for by their name."""
    for name, found in tomllib.loads(STATED.read_text(encoding="utf-8")).items():
        GENERATED[name] = partial(_stated, found, rows_by_name)


def _stated(found: Mapping[str, Any], rows_by_name: Callable[[str], Rows]) -> str:
    columns = [column.partition(": ") for column in found["columns"]]
    rows = found["rows"]
    if isinstance(rows, str):
        fill = Filling()
        values = ROWS[rows]() if rows in ROWS else rows_by_name(rows)
        rows = [[fill.vformat(cell, (), row) for _, _, cell in columns] for row in values]
    return table([head for head, _, _ in columns], rows, found.get("style", ""))
