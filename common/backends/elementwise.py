"""Whether one array is a function of another, value by value."""

from __future__ import annotations

import numpy as np

FEWEST = 16  # values, from which on a function can be told from chance
TURNS = 3.0  # ranges that the values of a function pass through in all, as its argument grows


def is_function_of(source: np.ndarray, value: np.ndarray) -> bool:
    """Whether values hardly jump from one to the next in the order of what they are made from.

    Both are in the same order.  A function of the usual kind rises and falls a few times, which
    values that have nothing to do with the source do at every step.
    """
    if source.size != value.size or source.size < FEWEST:
        return False
    if not (np.isfinite(source).all() and np.isfinite(value).all()):
        return False
    sources = source.astype(np.float64).ravel()
    order = np.argsort(sources, kind="stable")
    values = value.astype(np.float64).ravel()[order]
    extent = float(np.ptp(values))
    if not extent:
        return False
    passed = float(np.abs(np.diff(values)).sum())
    return passed <= TURNS * extent
