"""Where two programs part: the values that agree, and the first that does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..backends.align import (
    ROUNDING,
    Divergence,
    align,
    first_divergence,
    relative_error,
)
from ..backends.trace import Step, Trace
from ..parity.diagnosis import JUMP
from .kinds import Kind, kind_of

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


def agreeing(first: Trace, second: Trace, precision: str) -> Pairs:
    """The steps of two programs that agree, and their errors."""
    pairs = align(first, second, INSIDE[precision])
    return tuple((p.step.name, p.other.name, p.error) for p in pairs if p.other is not None)


def parted(first: Trace, second: Trace, precision: str) -> Parting:
    """Where two programs part on the way to the last steps of both.

    Rounding grows on the way, and a mistake shows as a jump.  So the limit from which on values
    differ is raised until the first one that is over it is a jump; if there is none, the error has
    grown from the first value over the lowest limit.
    """
    last = relative_error(first[-1].value, second[-1].value)
    # Where only the largest value of an output is over what is allowed, a lower limit is needed.
    limit = min(INSIDE[precision], last / 2)
    lowest = None
    while limit < min(last, 1.0):
        found = _parted(first, second, limit, precision)
        if found is None or found.jump:
            lowest = found or lowest
            break
        lowest, limit = lowest or found, limit * STEP
    return lowest or Parting(agreeing(first, second, precision))


def _parted(first: Trace, second: Trace, limit: float, precision: str) -> Parting | None:
    divergence = first_divergence(first, second, limit)
    if divergence is None:
        return None
    pairs = tuple(
        (p.step.name, p.other.name, p.error)
        for p in align(first, second, limit)
        if p.other is not None
    )
    return Parting(
        pairs,
        divergence,
        _is_jump(divergence, pairs, precision),
        kind_of(divergence, first, second),
    )


def _is_jump(found: Divergence, pairs: Pairs, precision: str) -> bool:
    before = ROUNDING[precision]
    if found.after is not None:
        errors = {step: error for step, _, error in pairs}
        before = max(before, errors.get(found.after[0], 0.0))
    return not found.error / before < JUMP


def leading_to(trace: Trace, place: int, outputs: int) -> Trace:
    """The steps that lead to one of a trace's outputs, which are its last steps.

    They end in the step that has made the output, or in the output itself where none has.
    """
    inner, ends = trace[:-outputs], trace[-outputs:]
    output = ends[place]
    made = [number for number, step in enumerate(inner) if _is_same(step, output)]
    if not made:
        return Trace([*inner, *ends[: place + 1]])
    found = Trace(inner[: made[-1] + 1])
    return found if outputs == 1 else _needed(found)


def _is_same(step: Step, other: Step) -> bool:
    one, two = np.ravel(step.value), np.ravel(other.value)
    return one.size == two.size and np.array_equal(one, two, equal_nan=True)


def _needed(trace: Trace) -> Trace:
    """The steps that the last one is made from."""
    wanted = {trace[-1].name}
    for step in reversed(trace):
        if step.name in wanted:
            wanted.update(step.inputs)
    return Trace(step for step in trace if step.name in wanted)
