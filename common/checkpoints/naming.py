"""Which published checkpoint is this?  The answer of `rosetta identify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .._util.result import Result
from ..catalogue import known
from ..catalogue.digests import digest_of
from ..catalogue.records import Record, records
from ..errors import RosettaError
from ..weights.canonical import fingerprint
from .formats.lazy import LazyTensor
from .identify import match
from .marks import BACKBONE, CLASSIFIER, EXACT


@dataclass(frozen=True)
class Named(Result):
    """A published checkpoint that a file is, or whose weights it holds."""

    reference: str
    how: str  # a phrase: what of the file is its


@dataclass(frozen=True)
class Identification(Result):
    """Which published checkpoints a file is.

    `published` are all of which the file is one, the best founded first: libraries publish the same
    weights under many names.  `hashes` and `fingerprints` say how many records of the catalogue
    could be compared with in either way, of `records`; `unread` is why the weights of the file
    could not be read, where they could not.
    """

    path: Path
    published: tuple[Named, ...]
    fingerprint: str | None
    hashes: int
    fingerprints: int
    records: int
    unread: str | None = None


def identify(path: str | Path, network: str | None = None) -> Identification:
    """Say which published checkpoint a file is, by its hash and by its weights.

    Weights are known again in any layout, precision or wrapper, and under a classifier that is not
    theirs: with the fingerprints that come with this package, and those of what was fetched by name
    on this machine.  `network` is the prefix of the one that is meant where a file holds several.

    Raises:
        FileError: there is no such file, or nothing is known of it and it is no checkpoint.
    """
    path = Path(path)
    every = tuple(records())
    found = {} if path.is_dir() else _by_hash(path, every)
    weights, unread = None, None
    try:
        weights = match(path, network=network).weights
    except RosettaError as error:
        if not found:
            raise
        unread = str(error)
    marks = {} if weights is None else _marks_of(weights)
    for how, mark in marks.items():
        for one in known.having(mark):
            found.setdefault(one.reference, _phrase(how, one.of))
    return Identification(
        path=path,
        published=tuple(Named(reference, how) for reference, how in found.items()),
        fingerprint=marks.get(""),
        hashes=sum(any(place.digest for place in record.locations) for record in every),
        fingerprints=len(known.all_known()),
        records=len(every),
        unread=unread,
    )


def _by_hash(path: Path, every: tuple[Record, ...]) -> dict[str, str]:
    """The records one of whose files has the hash of this one."""
    has = {algorithm: digest_of(path, algorithm) for algorithm in ("sha256", "md5")}
    found = {}
    for record in every:
        for stated in (place.digest for place in record.locations):
            if stated is None:
                continue
            if has[stated.algorithm] == stated.value:
                found[record.reference] = f"its file, by the {stated.algorithm} that is stated"
            elif stated.is_prefix and has[stated.algorithm].startswith(stated.value):
                digits = len(stated.value)
                found[record.reference] = (
                    f"its file, by the first {digits} digits of the {stated.algorithm} that are "
                    "stated"
                )
    return found


def _marks_of(weights: Mapping[str, LazyTensor]) -> dict[str, str]:
    """The fingerprints of the file's weights as they are: the whole, and the backbone."""
    backbone = {name: stored for name, stored in weights.items() if name not in CLASSIFIER}
    whole = {"": fingerprint(weights)}
    return whole if len(backbone) == len(weights) else {**whole, BACKBONE: fingerprint(backbone)}


def _phrase(ours: str, theirs: str) -> str:
    """In what way two fingerprints that are the same make a file a published one."""
    part, _, dtype = theirs.rpartition(" ")
    rounded = "" if dtype == EXACT else f", rounded to {dtype}"
    if ours == part:
        return f"its weights{rounded}" + (", with another classifier" if ours else "")
    return f"its weights{rounded}, {'with a classifier' if ours else 'without its classifier'}"
