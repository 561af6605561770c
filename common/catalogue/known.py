"""The weights of published checkpoints, by fingerprint: which record has them.

Some are known to everybody: `fingerprints.json` beside this file, which the table of released
checkpoints is made with (`common.checkpoints.released`).  Others are known here: a published file
that a command was given by name leaves its fingerprints in the cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from .._util.atomic import replacing
from ..errors import MissingDependencyError
from .addresses import cache

FILE = "fingerprints.json"
Marks = Mapping[str, str]  # a fingerprint by what it is of: "float32", "backbone float16", ...


@dataclass(frozen=True)
class Known:
    """A published checkpoint whose weights have a fingerprint, and of what it is."""

    reference: str
    of: str


def everywhere() -> Mapping[str, Marks]:
    """The marks that come with this package, by reference."""
    return _everywhere()


@lru_cache(maxsize=1)
def _everywhere() -> Mapping[str, Marks]:
    text = files(__package__).joinpath(FILE).read_text("utf-8")
    return MappingProxyType(json.loads(text)["records"])


def here() -> Mapping[str, Marks]:
    """The marks of what was fetched on this machine; none where nothing ever was."""
    try:
        found = json.loads(_noted().read_text("utf-8"))
    except (OSError, ValueError, MissingDependencyError):
        return {}
    records = found.get("records") if isinstance(found, dict) else None
    if not isinstance(records, dict):
        return {}
    return {name: marks for name, marks in records.items() if isinstance(marks, dict)}


def all_known() -> dict[str, Marks]:
    """The marks of every checkpoint of which any are known, by reference."""
    return {**here(), **everywhere()}


def having(fingerprint: str) -> Iterator[Known]:
    """The published checkpoints whose weights, or a part of them, have a fingerprint."""
    for reference, marks in all_known().items():
        for of, mark in marks.items():
            if mark == fingerprint:
                yield Known(reference, of)


def note(reference: str, marks: Marks) -> None:
    """Keep the marks of a checkpoint that was fetched.

    Two processes that note something at once may lose the note of one, which the next use makes
    again; neither leaves half a file.
    """
    path = _noted()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(as_text({**here(), reference: dict(marks)}), encoding="utf-8")


def as_text(records: Mapping[str, Marks]) -> str:
    """Marks as a file, with a record in every line, so that a change is a line."""
    lines = (f"  {json.dumps(name)}: {json.dumps(dict(records[name]))}" for name in sorted(records))
    return '{\n "schema": 1,\n "records": {\n' + ",\n".join(lines) + "\n }\n}\n"


def _noted() -> Path:
    return cache().expanduser() / FILE
