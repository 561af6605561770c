"""What docs/use/install.md says of sizes and minutes, from docs/results/installed.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from facts import result
from generating import rows_of

# What one wants to do, the section of the page that tells how, and what was installed for it.
WAYS = {
    "core": ("inspect, convert and compare files of weights", "the wheel alone"),
    "all": ("also run, train or export networks", "with extras"),
    "dev": ("read and change the code, or run the tests", "a checkout"),
}
MINUTE = 60  # seconds


@rows_of("ways to install")
def ways() -> Iterator[dict[str, Any]]:
    """Each way with the size of everything that it brings, and the minutes that pip works."""
    found = result("installed")
    sizes, seconds = found["megabytes"], found["seconds"]
    for name, (purpose, section) in WAYS.items():
        yield {
            "purpose": purpose,
            "section": section,
            "anchor": section.replace(" ", "-"),
            "size": sizes[name] + (0 if name == "core" else sizes["core"]),  # not counted in extras
            "minutes": minutes(name, seconds),
        }


def minutes(name: str, seconds: Mapping[str, int]) -> str:
    """Whole minutes; of a way that was not measured, that it takes more than all that were."""
    if name in seconds:
        return str(max(1, round(seconds[name] / MINUTE)))
    return f"more than {max(1, round(max(seconds.values()) / MINUTE))}"


@rows_of("sizes of extras")
def extras() -> Iterator[dict[str, Any]]:
    """What each extra brings beside the package itself."""
    sizes = result("installed")["megabytes"].items()
    return ({"name": name, "size": size} for name, size in sizes if name != "core")
