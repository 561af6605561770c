"""What docs/use/install.md says of sizes and minutes, from docs/results/installed.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from generating import generated, table

RESULT = Path(__file__).parents[1] / "results" / "installed.json"
# What one wants to do, the section of the page that tells how, and what was installed for it.
WAYS = {
    "core": ("inspect, convert and compare files of weights", "the wheel alone"),
    "all": ("also run, train or export networks", "with extras"),
    "dev": ("read and change the code, or run the tests", "a checkout"),
}
MINUTE = 60  # seconds


def measured() -> dict[str, Any]:
    """What docs/installed.py wrote."""
    found: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return found


def on_disk(megabytes: int) -> str:
    """A size as a reader wants it: 43 MB or 3.1 GB."""
    return f"{megabytes} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"


@generated("ways to install")
def ways() -> str:
    """Each way with the size of everything that it brings, and the minutes that pip works."""
    found = measured()
    sizes, seconds = found["megabytes"], found["seconds"]
    rows = []
    for name, (purpose, section) in WAYS.items():
        beside = 0 if name == "core" else sizes["core"]  # extras are counted without it
        place = f"[{section}](#{section.replace(' ', '-')})"
        rows.append((purpose, place, on_disk(sizes[name] + beside), minutes(name, seconds)))
    return table(("You want to", "Way", "On disk", "Minutes"), rows)


def minutes(name: str, seconds: Mapping[str, int]) -> str:
    """Whole minutes; of a way that was not measured, that it takes more than all that were."""
    if name in seconds:
        return str(max(1, round(seconds[name] / MINUTE)))
    return f"more than {max(1, round(max(seconds.values()) / MINUTE))}"


@generated("sizes of extras")
def extras() -> str:
    """What each extra brings beside the package itself."""
    rows = [
        (f"`{name}`", on_disk(megabytes))
        for name, megabytes in measured()["megabytes"].items()
        if name != "core"
    ]
    return table(("Extra", "On disk"), rows)


def setup(app: Sphinx) -> dict[str, Any]:
    """Nothing but to be imported, which registers the tables."""
    return {"parallel_read_safe": True, "parallel_write_safe": True}
