"""What makes outputs say nothing, although they agree.

A value that is no number, even one, and even in the same place of both programs, says nothing of
what made it, and is never an agreement.  Infinite values may be, among finite ones, as behind a
mask.  What is 0, 1 or -1 throughout hides the values that it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..backends.align import spread_of
from ..backends.comparison import TOLERANCES
from .apart import are_numbers
from .measure import Run, no_number
from .program import FLOAT32, UnfitError

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
        UnfitError: one of them is random, or both are saturated.
    """
    for side in (first, second):
        side.check_steady()
    if _is_saturated(first):
        raise UnfitError(
            f"every output of {first.program.name} is 0, 1 or -1, as of a softmax or a sigmoid "
            "that is saturated, which hides what comes before; compare that"
        )


def _is_saturated(run: Run) -> bool:
    """Whether every output of numbers is; classes and truth values are what they are."""
    numbers = [value for value in run.outputs.values() if are_numbers(value)]
    return bool(numbers) and all(
        np.abs(np.abs(np.abs(value) - 0.5) - 0.5).max() <= SATURATION * spread_of(value)
        for value in numbers
    )
