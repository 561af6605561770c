"""What makes outputs say nothing, although they agree.

A value that is no number, even one, and even in the same place of both programs, says nothing of
what made it, and is never an agreement.  Infinite values may be, among finite ones, as behind a
mask.  What is 0, 1 or -1 throughout hides the values that it was made from, and so do whole
numbers, such as classes, where the values in front of them are others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..backends.align import align, spread_of
from ..backends.comparison import TOLERANCES
from .apart import are_numbers
from .measure import Run, no_number
from .program import FLOAT32, FLOAT64, UnfitError

# From which error on, relative and root mean square, what whole numbers are made from is something
# else.  Programs in float64 may round to float32 somewhere inside; in float32 it is what rounding
# may explain of an output at most.
HIDDEN = {FLOAT64: 1e-4, FLOAT32: 1e-2}
# How near to 0, 1 or -1 the values of a saturated function are, in standard deviations.
SATURATION = TOLERANCES[FLOAT32].limit


def check_numbers(first: Run, second: Run, pairs: Mapping[str, str]) -> None:
    """See that outputs have values, and are numbers in one of the programs at least.

    Where one program has a number and the other has none they differ, which is not told here.

    Raises:
        UnfitError: they are not.
    """
    names = f"{first.program.name} and {second.program.name}"
    for name, other in pairs.items():
        one, two = first.outputs[name], second.outputs[other]
        if not one.size:
            raise UnfitError(f"{names} return no value at all as {name}, which is {one.shape}")
        if no_number(one) and no_number(two):
            raise UnfitError(f"{names} return no number at all as {name}")
        if are_numbers(one) and are_numbers(two) and np.isnan(two).any():
            count = int(np.isnan(one).sum())
            if count:
                raise UnfitError(
                    f"{names} return no number (NaN) as {name}, in {count} of {one.size} places"
                )


def check_agreement(first: Run, second: Run) -> None:
    """See that an agreement of all outputs says something of the two programs.

    Raises:
        UnfitError: one of them is random, both are saturated, or whole numbers hide a difference.
    """
    for side in (first, second):
        side.check_steady()
    if _is_saturated(first):
        raise UnfitError(
            f"every output of {first.program.name} is 0, 1 or -1, as of a softmax or a sigmoid "
            "that is saturated, which hides what comes before; compare that"
        )
    _check_hidden(first, second)


def _check_hidden(first: Run, second: Run) -> None:
    """See that whole numbers that agree are made from values that both programs have.

    The one may have a softmax in front of the classes, which the other goes without: it is enough
    that the last value of either is somewhere in the other.

    Raises:
        UnfitError: they are not.
    """
    sides = first, second
    if any(are_numbers(value) for side in sides for value in side.outputs.values()):
        return
    if not all(side.program.sees_inside and not side.recorded for side in sides):
        return
    one, other = (side.program.trace(side.given, side.precision, side.instead) for side in sides)
    ends = [[step for step in trace if are_numbers(step.value)] for trace in (one, other)]
    if not all(ends):
        return
    limit = HIDDEN[FLOAT32 if any(side.is_narrow for side in sides) else FLOAT64]
    for last, steps in ((ends[0][-1], ends[1]), (ends[1][-1], ends[0])):
        if align([last], steps, limit)[0].other is not None:
            return
    raise UnfitError(
        f"{first.program.name} and {second.program.name} return the same whole numbers, made from "
        f"values that are not the same ({ends[0][-1].name} and {ends[1][-1].name}); compare these"
    )


def _is_saturated(run: Run) -> bool:
    """Whether every output of numbers is; classes and truth values are what they are."""
    numbers = [value for value in run.outputs.values() if are_numbers(value)]
    return bool(numbers) and all(
        np.abs(np.abs(np.abs(value) - 0.5) - 0.5).max() <= SATURATION * spread_of(value)
        for value in numbers
    )
