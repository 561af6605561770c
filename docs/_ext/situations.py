"""The table of situations: what people have, what is found in it, and how a port of it ends."""

from __future__ import annotations

from itertools import groupby
from typing import Any

HEAD = ("What people have", "Layout", "Classes", "Head", "Port to", "Verdict")


def rows_of(found: dict[str, Any]) -> dict[str, list[tuple[str, ...]]]:
    """Cells in Markdown, by the heading that they stand below."""
    situations = found["situations"]
    return {
        group: [cells(row) for row in rows]
        for group, rows in groupby(situations, key=lambda row: row["group"])
    }


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One situation, in the order of HEAD."""
    if not row["layout"]:
        return (_have(row), "-", "-", "-", "-", f"refused: {_plain(row['refusal'])}")
    ending = row["ending"].partition(":")[0]
    verdict = f"{ending}, largest error {row['error']:.0e}"
    if row["refusal"]:
        verdict += f"; refused without `{row['options']}`"
    return (
        _have(row),
        f"`{row['layout']}`, {row['preset']}",
        "none" if row["classes"] is None else str(row["classes"]),
        row["head"],
        " ".join(f"`{part}`" for part in (row["to"], row["options"]) if part),
        verdict,
    )


def _have(row: dict[str, Any]) -> str:
    """In words, with the thread in which somebody asks about it."""
    if not row["thread"]:
        return row["have"]
    repository, _, number = row["thread"].partition("#")
    address = f"https://github.com/{repository}/issues/{number}"
    return f"{row['have']} ([{repository.rpartition('/')[2]}#{number}]({address}))"


def _plain(text: str) -> str:
    """What a program said, as text: no emphasis, no link and no HTML."""
    for mark in "\\`*_[]<>":
        text = text.replace(mark, f"\\{mark}")
    return text
