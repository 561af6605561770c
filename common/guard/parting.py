"""Where two programs part: the values that agree, and the first that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..backends.align import (
    ROUNDING,
    Divergence,
    align,
    first_divergence,
    relative_error,
)
from ..backends.trace import Trace
from ..parity.diagnosis import JUMP
from .kind import Kind
from .kinds import kind_of

# From which error on, relative and root mean square, values inside two programs differ.
INSIDE = {"float64": 1e-9, "float32": 1e-4}
STEP = 10.0  # between the limits that are tried until an error appears at once

Pairs = tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class Parting:
    """The first value that two programs do not agree on, and how it came to be so.

    `pairs` are the steps that agree.  The error appears at once with a jump, or else it has grown
    bit by bit.
    """

    pairs: Pairs
    divergence: Divergence | None = None
    jump: bool = False
    kind: Kind | None = None


# Values may hold infinities, as of a mask, and what is no number: NumPy is not to warn of these.
@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def parted(
    first: Trace, second: Trace, ends: tuple[str, str], precision: str, given: Sequence[np.ndarray]
) -> Parting:
    """Where two programs part on the way to the steps `ends`, one of each.

    Rounding grows on the way, and a mistake shows as a jump.  So the limit from which on values
    differ is raised until the first one that is over it is a jump; if there is none, the error has
    grown from the first value over the lowest limit.  `given` are the programs' inputs.
    """
    last = relative_error(_value(first, ends[0]), _value(second, ends[1]))
    # Where only the largest value of an output is over what is allowed, a lower limit is needed.
    limit = min(INSIDE[precision], last / 2)
    lowest = None
    while limit < min(last, 1.0):
        divergence = first_divergence(first, second, limit, ((ends[0],), (ends[1],)))
        if divergence is None:
            break
        pairs = _pairs(first, second, limit)
        jump = _is_jump(divergence, pairs, precision)
        found = Parting(pairs, divergence, jump)
        lowest = found if jump else lowest or found
        if jump:
            break
        limit *= STEP
    if lowest is None or lowest.divergence is None:
        return Parting(_pairs(first, second, INSIDE[precision]))
    return replace(lowest, kind=kind_of(lowest.divergence, first, second, given))


def agreeing(first: Trace, second: Trace, precision: str) -> Pairs:
    """The steps of two programs that agree, and their errors."""
    return _pairs(first, second, INSIDE[precision])


def _value(trace: Trace, name: str) -> np.ndarray:
    return next(step.value for step in trace if step.name == name)


def _pairs(first: Trace, second: Trace, limit: float) -> Pairs:
    return tuple(
        (pair.step.name, pair.other.name, pair.error)
        for pair in align(first, second, limit)
        if pair.other is not None
    )


def _is_jump(found: Divergence, pairs: Pairs, precision: str) -> bool:
    before = ROUNDING[precision]
    if found.after is not None:
        errors = {step: error for step, _, error in pairs}
        before = max(before, errors.get(found.after[0], 0.0))
    return not found.error / before < JUMP
