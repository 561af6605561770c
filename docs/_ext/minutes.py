"""How long it takes to read a page, from what stands in it; home and the facts of pages use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[1]
READ = "read"  # the folder of the pages that follow the paper
# People read 238 words of English (Brysbaert 2019, doi 10.1016/j.jml.2019.104047), and slower where
# it is technical.
WORDS_A_MINUTE = 200
ROW_MINUTES = 1.0  # a row also shows both programs and an equation, which its words do not count


def minutes() -> Iterator[tuple[str, str]]:
    """Every page by its name with its minutes, and those that follow the paper together."""
    found = {page: minutes_of(DOCS / f"{page}.md") for page in _pages()}
    for page, value in found.items():
        yield page, str(value)
    yield f"all of {READ}", str(sum(found[page] for page in found if page.startswith(f"{READ}/")))


def _pages() -> list[str]:
    folders = (DOCS, DOCS / READ, DOCS / "train", DOCS / "use")
    paths = sorted(path for folder in folders for path in folder.glob("*.md"))
    return [path.relative_to(DOCS).with_suffix("").as_posix() for path in paths]


def minutes_of(path: Path) -> int:
    """Whole minutes for a page, at least one.  Options of directives and fences are not read."""
    lines = [
        line for line in path.read_text().splitlines() if not re.match(r"\s*(:|`{3}|---)", line)
    ]
    words = len(" ".join(lines).split())
    rows = len(re.findall(r"\{triptych-row\}", path.read_text()))
    return max(1, round(words / WORDS_A_MINUTE + rows * ROW_MINUTES))
