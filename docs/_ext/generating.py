"""The register of what pages may take from the code, and how tables are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

GENERATED: dict[str, Callable[[], str]] = {}
FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras"}


def generated(name: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register what a page may ask for."""

    def register(make: Callable[[], str]) -> Callable[[], str]:
        GENERATED[name] = make
        return make

    return register


def table(head: Sequence[str], rows: Sequence[Sequence[str]], style: str = "") -> str:
    """A table in Markdown, of a class of pages.css where one is given."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]
    if style:
        lines = ["```{table}", f":class: {style}", "", *lines, "```"]
    return "\n".join(lines)
