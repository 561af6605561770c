"""Do two files hold the same network?  The answer of `rosetta verify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._util.result import Result, plain
from ..backends.judgement import DIFFERS, Verdict
from ..errors import FileError
from ..weights.canonical import fingerprint
from .formats.lazy import LazyTensor
from .heads import counted
from .identify import Match, match_with
from .published import sourced
from .run_files import NOT_ASKED, FileRun, NotRun, Outputs, compare_runs, verdict_on


@dataclass(frozen=True)
class Difference:
    """A tensor that two files do not share."""

    name: str
    largest: float  # absolute; infinite where one file lacks it or has another shape


@dataclass(frozen=True)
class Verification(Result):
    """What two files have in common."""

    fingerprints: tuple[str, str]
    dialects: tuple[tuple[str, ...], tuple[str, ...]]  # that each may be run in
    differences: tuple[Difference, ...]  # the largest first
    outputs: Outputs | NotRun
    beside: tuple[str, ...] = ()  # what was not compared, for it is not of the network

    @property
    def verdict(self) -> Verdict:
        """What the check ended in."""
        if not self.same_weights:
            worst, number = self.differences[0], len(self.differences)
            others = f" and {number - 1} more tensors" if number > 1 else ""
            return Verdict(DIFFERS, f"{worst.name}{others} of the two files")
        if not self.same_dialect:
            one, other = (" or ".join(names) for names in self.dialects)
            return Verdict(DIFFERS, f"the weights need different dialects: {one} against {other}")
        return verdict_on(self.outputs, self.fingerprints[0])

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, and the verdict."""
        return {**super().to_dict(), "verdict": plain(self.verdict)}

    @property
    def same_weights(self) -> bool:
        """Every tensor is in both, with the same values."""
        # Not by the fingerprints, in which zeros of either sign are two.
        return not self.differences

    @property
    def same_dialect(self) -> bool:
        """There is a dialect that both can be run in."""
        return bool(set(self.dialects[0]) & set(self.dialects[1]))

    @property
    def same(self) -> bool:
        """The two files hold the same network."""
        return self.same_weights and self.same_dialect


# ------------------------------------------------------------------ verify


def verify(
    first: str | Path,
    second: str | Path,
    *,
    dialect: str | None = None,
    network: str | None = None,
    run: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> Verification:
    """Whether two files hold the same network, and if not, where they part.

    Either may be the name of a published file, as `load` takes it.
    `network` is the prefix of the network that is meant, in files that hold several.  What else is
    beside a network is not compared, and is named.

    With `run`, both are also run on the same images, each in the framework of its library where
    that is installed, and judged by what rounding explains.  `progress` is told what is done next.

    Raises:
        RosettaError: a file cannot be read or explained.
    """
    a, b = (_matched(path, dialect, network) for path in (first, second))
    found = Verification(
        fingerprints=(fingerprint(a.weights), fingerprint(b.weights)),
        dialects=(_names(a), _names(b)),
        differences=_differences(a.weights, b.weights),
        outputs=NOT_ASKED,
        beside=tuple(
            f"{f.checkpoint.path} has {counted(f.head.rest)} beside it"
            for f in (a, b)
            if f.head.rest
        ),
    )
    if a.network.name != b.network.name:
        return replace(found, outputs=NotRun("the files hold networks of different sizes"))
    ending = a.ending or b.ending
    if ending:
        return replace(found, outputs=NotRun(f"the network {ending}"))
    if not run:
        return found
    progress("comparing the outputs of both files")
    # Where one file leaves its dialect open, it is run in the other's.
    dialects = [
        mine.dialect or other.dialect or mine.possible[0] for mine, other in ((a, b), (b, a))
    ]
    runs = [
        FileRun(f.checkpoint.path, f.layouts[0].framework, dialect, network=f.prefix)
        for f, dialect in zip((a, b), dialects, strict=True)
    ]
    return replace(found, outputs=compare_runs(*runs))


def _matched(path: str | Path, dialect: str | None, network: str | None) -> Match:
    """A file explained; the name of a network is for the file only that holds several."""
    source = sourced(path)
    try:
        return match_with(source, dialect)
    except FileError as error:
        if network is None or error.argument != "network":
            raise
    return match_with(source, dialect, network)


def _names(found: Match) -> tuple[str, ...]:
    possible = found.possible if found.dialect is None else (found.dialect,)
    # Momentum, the rest of a dialect, is of no consequence to what is computed.
    return tuple(f"{d.padding} padding, epsilon {d.epsilon:g}" for d in possible)


def _differences(
    a: Mapping[str, LazyTensor], b: Mapping[str, LazyTensor]
) -> tuple[Difference, ...]:
    differences = []
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b or a[name].shape != b[name].shape:
            differences.append(Difference(name, float("inf")))
            continue
        x, y = (np.asarray(weights[name], np.float64) for weights in (a, b))
        apart = (x != y) & ~(np.isnan(x) & np.isnan(y))
        if apart.any():
            gap = np.abs(x[apart] - y[apart])
            differences.append(Difference(name, float(np.where(np.isnan(gap), np.inf, gap).max())))
    return tuple(sorted(differences, key=lambda difference: -difference.largest))
