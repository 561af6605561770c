"""The command that lists published checkpoints."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table

from .._util import json_text
from ..catalogue.records import libraries, records
from ..catalogue.search import find
from . import tables
from .command import app, say
from .options import JsonFlag

WEIGHTS_WIDTH = 150
ALL = "all"


@app.command()
def weights(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORDS",
            help="What to look for, such as `noisy student b4`: in any order and spelling.",
        ),
    ] = None,
    library: Annotated[
        str | None, typer.Option(help="Only what this library has published.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """List published checkpoints by name, with accuracy, size, licence and dialect.

    Without words, it counts what every library has published of each architecture.  A name in the
    first column stands for its file wherever a command takes weights.
    """
    if not words and library is None and not json:
        _print_counts()
        return
    found = find(" ".join(words or ()), library)
    if json:
        typer.echo(json_text.as_json([record.to_json() for record in found]), nl=False)
        return
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in tables.WEIGHTS_HEADINGS:
        justify: JustifyMethod = "right" if heading in tables.WEIGHTS_NUMBERS else "left"
        grid.add_column(heading, no_wrap=heading != "Trained with", justify=justify)
    for row in tables.weights_rows(found):
        grid.add_row(*row)
    Console(width=max(Console().width, WEIGHTS_WIDTH)).print(grid)
    for remark in tables.remarks(found):
        say(remark)
    say(f"{len(found)} of {sum(1 for _ in records())} published checkpoints")


def _print_counts() -> None:
    kinds = (*dict.fromkeys(tables.KINDS.values()), tables.OTHER)
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("Library", "Version"):
        grid.add_column(heading, no_wrap=True)
    for heading in (*kinds, ALL):
        grid.add_column(heading, justify="right", no_wrap=True)
    total: Counter[str] = Counter()
    for name, library in libraries().items():
        counts = Counter(tables.kind_of(record) for record in library.records)
        counts[ALL] = len(library.records)
        total.update(counts)
        row = (str(counts[kind] or "-") for kind in (*kinds, ALL))
        grid.add_row(name, library.version, *row)
    grid.add_section()
    grid.add_row(ALL, "", *(str(total[kind]) for kind in (*kinds, ALL)))
    Console(width=max(Console().width, WEIGHTS_WIDTH)).print(grid)
