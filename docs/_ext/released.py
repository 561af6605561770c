"""The table of released checkpoints: what each file holds, and what became of it in each layout."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Any

from generating import plain, table

HEAD = ("Checkpoint", "Network", "Outcome", "Layouts", "Largest error", "Top-1", "Sees")
NOTHING_YET = (
    "No run of it is recorded in this copy of the repository yet: the machine that wrote these "
    "pages has no network. Its workflow asks for the table to be added when it has run."
)
# What a reader looks for comes first.
ORDER = ("differs", "not its record", "weights proved", "proved")


def text(found: dict[str, Any] | None) -> str:
    """Counts of outcomes, and a table of rows below every library, in Markdown."""
    if found is None or not found["rows"]:
        return NOTHING_YET
    rows = found["rows"]
    counts = Counter(row["outcome"] for row in rows)
    known = [outcome for outcome in ORDER if outcome in counts]
    rest = sorted(set(counts) - set(ORDER))
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (*known, *rest))
    parts = [f"Of {len(rows)} checkpoints: {said}."]
    for library, group in groupby(rows, key=lambda row: row["reference"].partition(":")[0]):
        parts.append(f"### {library}\n\n{table(HEAD, map(cells, group))}")
    return "\n\n".join(parts)


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One checkpoint, in the order of HEAD."""
    name = row["reference"].partition(":")[2]
    errors = [target["error"] for target in row["targets"] if target["error"] is not None]
    proved = sum(target["ending"] == "proved" for target in row["targets"])
    outcome = row["outcome"]
    if outcome not in ("proved", "too large"):
        outcome = f"{outcome}: {plain(row['why'])}"
    for beside in row["beside_record"]:
        outcome += f"; {plain(beside)}"
    return (
        f"`{name}`",
        row["preset"] or "-",
        outcome,
        f"{proved} of {len(row['targets'])}" if row["targets"] else "-",
        f"{max(errors):.0e}" if errors else "-",
        "-" if row["top1"] is None else f"{row['top1']:.2f}",
        plain(row["seen"][0]) if row["seen"] else "-",
    )
