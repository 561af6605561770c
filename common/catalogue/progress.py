"""How far a download is, on stderr where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int | None], None]  # bytes that are there, and of the whole if known


@contextmanager
def progress_of(name: str, given: Progress | None) -> Iterator[Progress]:
    """The function that a download tells how far it is: the given one, or that of a bar."""
    if given is not None:
        yield given
    elif not sys.stderr.isatty():
        yield lambda done, total: None
    else:
        with _bar(name) as advance:
            yield advance


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(name), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
