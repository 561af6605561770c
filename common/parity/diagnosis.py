"""Why two runs part: at one operation (a jump), or by rounding that adds up (a drift)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from ..backends.align import (
    OPERATION,
    ROUNDING,
    Divergence,
    first_divergence,
    operation_sentences,
)
from ..backends.comparison import Comparison, Endpoints
from ..backends.trace import Trace

# Growth of the error from one endpoint to the next that rounding does not explain: in runs that
# agree it is 6 at most (B0 to B8); one epsilon of B0, the smallest mistake tried, makes it 3,000.
JUMP = 30

SectionTracer = Callable[[str, np.ndarray], Trace]  # endpoint, and the value before it


@dataclass(frozen=True)
class Growth:
    """Where the error of a run that differs grows the most, and by how much."""

    kind: Literal["jump", "drift"]
    endpoint: str
    before: float
    error: float


@dataclass(frozen=True)
class Diagnosis:
    """Where a run leaves the reference, and the command that runs just that piece again."""

    growth: Growth
    divergence: Divergence | None  # None if no operation differs when its section runs alone
    command: str = ""


def growth(comparison: Comparison, dtype: str) -> Growth:
    """Tell a jump from a drift, up to the first endpoint that is over the tolerance.

    A mistake may well be small where it is made, and cross the tolerance some blocks later: what
    counts is the largest ratio of neighbours, not the crossing.

    Raises:
        ValueError: no endpoint is over the tolerance.
    """
    floor = ROUNDING[dtype]
    first = comparison.first_divergence
    if first is None:
        raise ValueError(f"{comparison.runner} agrees with the reference")
    last = comparison.errors.index(first)
    errors = [floor, *(max(comparison.judged(error), floor) for error in comparison.errors)]
    ratios = [after / before for before, after in pairwise(errors)]
    index = int(np.argmax(ratios[: last + 1]))
    if ratios[index] < JUMP:
        return Growth("drift", first.endpoint, errors[last], errors[last + 1])
    return Growth("jump", comparison.errors[index].endpoint, errors[index], errors[index + 1])


def diagnose(
    comparison: Comparison,
    dtype: str,
    reference: Endpoints,
    images: np.ndarray,
    tracers: tuple[SectionTracer, SectionTracer],
) -> Diagnosis:
    """Find the first operation that differs, in the section where the error grows the most.

    The section is run alone in the reference and in the run, both from the reference's value
    before it.
    """
    found = growth(comparison, dtype)
    value = before(reference, images, found.endpoint)
    first, second = (trace(found.endpoint, value) for trace in tracers)
    return Diagnosis(found, first_divergence(first, second, OPERATION[dtype]))


def before(reference: Endpoints, images: np.ndarray, endpoint: str) -> np.ndarray:
    """The value that the section of an endpoint begins with."""
    names = list(reference)
    position = names.index(endpoint)
    return reference[names[position - 1]] if position else images


def sentences(found: Diagnosis) -> list[str]:
    """A diagnosis in words."""
    grown = f"from {found.growth.before:.1e} to {found.growth.error:.1e} at {found.growth.endpoint}"
    if found.growth.kind == "drift":
        said = [f"the error grows little by little, {grown}, as rounding errors do"]
    else:
        said = [f"the error appears at once, {grown}"]
    if found.divergence is not None:
        return [*said, *operation_sentences(found.divergence)]
    return [*said, "no operation there differs when it is given the values of the reference"]
