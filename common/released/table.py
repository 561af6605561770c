"""The table of all published checkpoints, kept as it grows: a run may end at any row."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .._util import json_text
from .._util.atomic import replacing
from .._util.files import is_there
from ..catalogue import known, search
from ..catalogue.asked import CACHE
from ..catalogue.records import Record, libraries
from ..errors import FileError, RosettaError
from ..parity.run import environment
from .row import Job, Row, row_alone

SCHEMA = 1
CACHES = (CACHE, "HF_HUB_CACHE", "KAGGLEHUB_CACHE")  # of the environment: where files are kept


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a table by reference; none where there is no file yet.

    Raises:
        FileError: it is no such table.
    """
    if not is_there(path):
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["schema"] != SCHEMA:
            raise FileError(path, f"has schema {found['schema']!r}, and not {SCHEMA}; name another")
        return {row["reference"]: row for row in found["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(path, f"is no table of released checkpoints ({error}); name another") from (
            error
        )


def read_marks(path: Path) -> dict[str, known.Marks]:
    """The fingerprints in a file, by reference; none where there is no file yet.

    Raises:
        FileError: it is no such file.
    """
    if not is_there(path):
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8"))["records"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(path, f"holds no fingerprints ({error}); name another") from error


def write(path: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep a table, in the order of the catalogue.

    Raises:
        RosettaError: it cannot be written.
    """
    order = {r.reference: n for n, r in enumerate(_in_order())}
    listed = sorted(rows.values(), key=lambda row: order.get(row["reference"], len(order)))
    versions = {name: library.version for name, library in libraries().items()}
    said = {
        "schema": SCHEMA,
        "environment": environment(),
        "catalogue": versions,
        "rows": listed,
    }
    with replacing(path) as temporary:
        temporary.write_text(json_text.as_json(said), encoding="utf-8")


def _in_order() -> Iterator[Record]:
    for library in libraries().values():
        yield from library.records


def fill(
    path: Path,
    records: Iterable[Record],
    job: Job,
    *,
    again: bool = False,
    discard: bool = False,
    fingerprints: Path | None = None,
    run: Callable[[Job], Row] = row_alone,
    told: Callable[[Row], None] = lambda row: None,
) -> Counter[str]:
    """Add a row for every record that the table lacks, and count the outcomes of all rows.

    `job` says what to do with each beside porting it.  With `again` rows are made anew, and with
    `discard` no file is left in a cache, for a machine that has no room for all.  `fingerprints` is
    where the marks go by which files are identified.  `told` gets every row that was made.

    Raises:
        RosettaError: the table cannot be read or written.
    """
    rows = read(path)
    for record in records:
        if record.reference in rows and not again:
            continue
        with _caches(discard):
            found = run(Job(**{**vars(job), "reference": record.reference}))
        rows[record.reference] = found.to_dict()
        write(path, rows)
        if fingerprints is not None and found.marks:
            _keep_marks(fingerprints, found)
        told(found)
    return Counter(row["outcome"] for row in rows.values())


@contextmanager
def _caches(discard: bool) -> Iterator[None]:
    """Caches that are gone after a row, or the usual ones."""
    if not discard:
        yield
        return
    before = {name: os.environ.get(name) for name in CACHES}
    with TemporaryDirectory() as folder:
        os.environ.update({name: str(Path(folder) / name.lower()) for name in CACHES})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _keep_marks(path: Path, found: Row) -> None:
    kept = read_marks(path)
    with replacing(path) as temporary:
        text = known.as_text({**kept, found.reference: found.marks or {}})
        temporary.write_text(text, encoding="utf-8")


def chosen(references: Iterable[str]) -> list[Record]:
    """The records that are named by `library:name` or by a library alone; all where none are.

    Raises:
        RosettaError: one of them is unknown.
    """
    found: list[Record] = []
    for reference in references:
        if ":" in reference:
            found.append(search.record(reference))
        elif reference in libraries():
            found += libraries()[reference].records
        else:
            raise RosettaError(
                f"there is no library {reference!r}; choose from {', '.join(libraries())}"
            )
    return found or list(_in_order())
