"""How far apart two arrays are, in units that cannot vanish beside what the numbers are about."""

from __future__ import annotations

import numpy as np

from ..backends.align import difference, spread_of

# A number that stands for "not this one": far below zero, and far below everything else.
MASKED, MASK_SHARE = -1e3, 100.0


def apart(first: np.ndarray, second: np.ndarray, unit: float | None = None) -> float:
    """The largest difference of two arrays of numbers, in standard deviations of the first.

    The arrays may keep their channels in other places.  Numbers that only mask others are measured
    in their own size, and are not among those that the deviation is of: a softmax is given -1e9, or
    -10000, beside scores of order one.  With `unit`, all are measured in that.  Infinite where
    the shapes are those of different things, or one is a number and the other is none.
    """
    gap = difference(first, second)
    if gap is None:
        return float("inf")
    if not gap.size:
        return 0.0
    if not np.isfinite(gap).all():
        return float("inf")
    gap = np.abs(gap)
    if not gap.any():
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = gap / (units(first) if unit is None else unit)
    return float(np.nan_to_num(shares, nan=0.0, posinf=np.inf).max())


def units(value: np.ndarray) -> np.ndarray:
    """The unit of every number: the standard deviation of all, and of a mask its own size."""
    wide = np.asarray(value, np.float64)
    masks = is_mask(wide)
    if not masks.any():
        return np.asarray(spread_of(wide))
    return np.where(masks, np.abs(wide), spread_of(wide[~masks]))


def resolution(value: np.ndarray, precision: str) -> float:
    """By what the largest of an output's numbers is rounded, in standard deviations."""
    wide = np.asarray(value, np.float64)
    kept = np.isfinite(wide) & ~is_mask(wide)
    spread = spread_of(wide[kept])
    largest = float(np.abs(wide[kept]).max(initial=0.0))
    return largest * float(np.finfo(precision).eps) / spread if spread else 0.0


def is_mask(value: np.ndarray) -> np.ndarray:
    """Which finite numbers only mask others; none unless they are far below all of the rest."""
    finite = np.isfinite(value)
    low = finite & (value <= MASKED)
    rest = finite & ~low
    if not low.any() or not rest.any():
        return np.zeros(value.shape, bool)
    largest, nearest = float(np.abs(value[rest]).max()), float(-value[low].max())
    return low if nearest >= MASK_SHARE * largest else np.zeros(value.shape, bool)


def are_numbers(value: np.ndarray) -> bool:
    """Whether an array is of floating-point numbers, and not of whole ones or truth values."""
    return value.dtype.kind == "f"


def share_apart(first: np.ndarray, second: np.ndarray, leaving_out: np.ndarray) -> float:
    """The share of places in which whole numbers differ, some places left out.

    Infinite where the shapes are those of different things.
    """
    differ = places_apart(first, second)
    if differ is None:
        return float("inf")
    return float(np.mean(differ & ~leaving_out)) if differ.size else 0.0


def places_apart(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """Where whole numbers differ, in the shape of the first; None if shapes cannot be compared."""
    gap = difference(np.asarray(first, np.float64), np.asarray(second, np.float64))
    return None if gap is None else gap != 0
