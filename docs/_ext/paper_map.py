"""Where the code answers the papers, element by element, and where it does not.

Each paper, and each program that has none, has a file in `papers/`: its elements in its own order,
with the names that answer them in the specification and in both programs.  A name is written as in
`excerpts.py`: `resolve` is looked for in the file of its column, `counting.py@count` in the file of
that name beside it.  `papers/of_no_paper.toml` has the reasons for everything else.

Nothing here knows Sphinx, so that tests use it too: they hold that every name exists, and that no
public name of the specifications and of the programs is missing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from generating import FRAMEWORKS, generated, table

DATA = Path(__file__).with_name("papers")
ORDER = ("efficientnet", "efficientnet_v2", "v2_rw", "lite", "edgetpu", "xception")
REASONS = "of_no_paper"
COLUMNS = ("spec", *FRAMEWORKS)


@dataclass(frozen=True)
class Element:
    """An element of a paper, what of the code is it, and the page on it.

    `programs` are names that both programs have, in a file of the same name in each package.
    """

    paper: str
    what: str
    page: str
    spec: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paper:
    """A paper, or the program that stands for one.

    `spec` and `programs` are the files that names without a file are in; `parts` says how many
    sections, tables, figures and equations the paper numbers, where it is one; `left_out` has what
    the code does not answer, with the reason.
    """

    title: str
    source: str
    address: str
    spec: str
    programs: str
    elements: tuple[Element, ...]
    left_out: dict[str, str]
    parts: dict[str, int] = field(default_factory=dict)

    def names(self, element: Element, column: str) -> Iterator[tuple[str, str]]:
        """File and name of everything in a column: "spec", "torch" or "keras"."""
        folder = "common" if column == "spec" else f"{column}_impl"
        own = self.spec if column == "spec" else f"{folder}/{self.programs}"
        for item in element.spec if column == "spec" else element.programs:
            path, _, name = item.rpartition("@")
            yield (f"{folder}/{path}" if path else own, name)


def read_paper(name: str) -> Paper:
    """One of the files."""
    told = _read(name)
    elements = tuple(
        Element(**{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()})
        for row in told.pop("elements")
    )
    return Paper(elements=elements, **told)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def papers() -> dict[str, Paper]:
    """Every paper by the name of its file, in the order of the page."""
    return {name: read_paper(name) for name in ORDER}


@cache
def mapped() -> dict[str, set[str]]:
    """Names in some map, by file."""
    found: dict[str, set[str]] = {}
    for paper in papers().values():
        for element in paper.elements:
            for column in COLUMNS:
                for path, name in paper.names(element, column):
                    found.setdefault(path, set()).add(name)
    return found


@dataclass(frozen=True)
class Reason:
    """Why some names, `path@name`, or whole files of both programs are of no paper."""

    why: str
    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files in both packages."""
        return tuple(f"{framework}_impl/{file}" for file in self.files for framework in FRAMEWORKS)


@cache
def reasons() -> tuple[Reason, ...]:
    """All of them, in the order of the page."""
    return tuple(
        Reason(row["why"], tuple(row.get("names", ())), tuple(row.get("files", ())))
        for row in _read(REASONS)["reasons"]
    )


# ------------------------------------------------------------------ as tables of pages


def _map(name: str) -> str:
    """Every element of a paper that the code answers."""
    paper = papers()[name]
    rows = []
    for element in paper.elements:
        cells = (_sources(paper.names(element, column)) or "none" for column in COLUMNS)
        rows.append((element.paper, element.what, *cells, _page(element)))
    head = ("Paper", "What it is", "Specification", *FRAMEWORKS.values(), "Page")
    where = f"[{paper.source}]({paper.address})"
    return f"This map follows {where}.\n\n{table(head, rows, 'paper-map wide')}"


def _sources(names: Iterator[tuple[str, str]]) -> str:
    return ", ".join(f"{{source}}`{path}@{name}`" for path, name in names)


def _page(element: Element) -> str:
    """A link from a page of docs/read."""
    page, _, anchor = element.page.partition("#")
    return f"[](../{page}.md{'#' if anchor else ''}{anchor})"


def _left_out(name: str) -> str:
    """What a paper has and the code does not."""
    return table(("Paper", "Why it is not here"), list(papers()[name].left_out.items()), "tall")


for _name in ORDER:
    generated(f"paper map of {_name}")(partial(_map, _name))
    generated(f"paper map without {_name}")(partial(_left_out, _name))


@generated("of no paper")
def of_no_paper() -> str:
    """Public names that are of no paper, and why they are there."""
    rows = []
    for reason in reasons():
        names = [f"{{source}}`{name}`{_framework(name)}" for name in reason.names]
        rows.append((", ".join([*names, *(f"`{file}`" for file in reason.files)]), reason.why))
    return table(("Names and files of both programs", "What they are"), rows, "tall")


def _framework(name: str) -> str:
    framework = FRAMEWORKS.get(name.partition("_impl/")[0])
    return f" ({framework})" if framework else ""
