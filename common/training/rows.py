"""The tables that a run writes as it goes, a row at a time: `steps.csv` and `epochs.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from .._util.atomic import replacing, unwritable
from .._util.files import is_there, opened
from ..errors import DamagedFileError, FileError, reason

if TYPE_CHECKING:
    Row = Mapping[str, str]


@dataclass(frozen=True)
class Epoch:
    """A row of `epochs.csv`; `step` counts the steps so far, validation is without smoothing."""

    epoch: int  # from 1
    step: int
    loss: float
    top1: float
    top5: float
    val_loss: float
    val_top1: float
    val_top5: float
    learning_rate: float
    images_per_second: float
    skipped: int  # images that the first process could not read


@dataclass(frozen=True)
class Step:
    """A row of `steps.csv`; both numbers are from 0."""

    step: int
    epoch: int
    learning_rate: float
    loss: float


def append(path: Path, row: Epoch | Step) -> None:
    """Put a row behind the others.

    Raises:
        FileError: there is no room for it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(row)])
    if not is_there(path):
        writer.writeheader()
    writer.writerow(asdict(row))
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            file.write(text.getvalue())
    except OSError as error:
        raise unwritable(path, error.errno) from error


def truncate(path: Path, kind: type[Epoch | Step], keep: Callable[[Row], bool]) -> None:
    """Drop the rows of what will be done again, and one that was being written.

    Raises:
        DamagedFileError: it is not such a table.
    """
    if not is_there(path):
        return
    types: dict[str, Callable[[str], float]] = {
        field.name: int if field.type == "int" else float for field in fields(kind)
    }
    try:
        with opened(path) as file:
            reader = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
            columns, rows = reader.fieldnames, list(reader)
        if columns not in (None, list(types)):  # None: nothing was written yet
            raise ValueError(f"its columns are not {', '.join(types)}")
        if rows and not _is_whole(rows[-1], types):
            rows.pop()  # it was being written
        if not all(_is_whole(row, types) for row in rows):
            raise ValueError("a row of it is not of such numbers")
        kept = [row for row in rows if keep(row)]
    except FileError:
        raise
    except (OSError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            path, f"is not the table of a run ({reason(error)}); mend it, or move it away"
        ) from error
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(types))
        writer.writeheader()
        writer.writerows(kept)


def _is_whole(row: Row, types: Mapping[str, Callable[[str], float]]) -> bool:
    try:
        for name, number in types.items():
            number(row[name])
    except (TypeError, ValueError):  # TypeError: the row ends before
        return False
    return len(row) == len(types)


def read_table(path: str | Path) -> list[dict[str, float]]:
    """The rows of `epochs.csv` or `steps.csv`."""
    with Path(path).open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
