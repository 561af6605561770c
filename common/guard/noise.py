"""Inputs that are moved a little, or a lot, within the range that they have.

All is drawn from fixed seeds: the same inputs are always moved in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Pattern = Literal["alone", "together"]
FEW = 2  # different numbers, of which an array is a mask or a constant
DIMMED = 0.75  # what other inputs are multiplied by, so that they have another mean


def moved(
    arrays: Sequence[np.ndarray], share: float, pattern: Pattern = "alone", seed: int = 0
) -> list[np.ndarray]:
    """Arrays with each of their numbers up or down by a share of itself, in the types they have.

    By the pattern every number goes its own way, or all of an array go together: sums over many
    numbers hide the first, and normalizations the second.  No number leaves the range of its array,
    which a program may check.  Whole numbers stay, and so do masks, which a share of a softmax's
    1e9 would break, unless there is nothing else.
    """
    random = np.random.default_rng(seed)
    chosen = [array.dtype.kind == "f" and not _is_mask(array) for array in arrays]
    if not any(chosen):
        chosen = [array.dtype.kind == "f" for array in arrays]
    return [
        _moved(array, share, pattern, random) if moving else array
        for array, moving in zip(arrays, chosen, strict=True)
    ]


def _moved(
    array: np.ndarray, share: float, pattern: Pattern, random: np.random.Generator
) -> np.ndarray:
    if not array.size:
        return array
    shape = array.shape if pattern == "alone" else ()
    with np.errstate(invalid="ignore", over="ignore"):
        noisy = array.astype(np.float64) * (1 + share * random.choice((-1.0, 1.0), shape))
        return np.asarray(np.clip(noisy, array.min(), array.max()).astype(array.dtype))


def can_be_moved(arrays: Sequence[np.ndarray]) -> bool:
    """Whether there is a floating-point number among them that is not 0."""
    return any(array.dtype.kind == "f" and array.any() for array in arrays)


def others(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Quite other arrays of the same shapes, types and range: numbers of each, drawn again.

    Floating-point numbers are made smaller as well, so that a mean is another one; masks are not,
    unless nothing else would change.
    """
    random = np.random.default_rng(1)
    found = [_other(array, random) for array in arrays]
    if all(np.array_equal(*pair) for pair in zip(arrays, found, strict=True)):
        return [_dimmed(array) for array in arrays]
    return found


def _other(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    if not array.size:
        return array
    drawn = random.choice(array.reshape(-1), array.shape).astype(array.dtype)
    return drawn if _is_mask(array) else _dimmed(drawn)


def _dimmed(array: np.ndarray) -> np.ndarray:
    return np.asarray(DIMMED * array, array.dtype) if array.dtype.kind == "f" else array


def _is_mask(array: np.ndarray) -> bool:
    """Whether there are so few different numbers that they are likelier a mask, or a constant."""
    flat = array.reshape(-1)
    return np.unique(flat[:64]).size <= FEW and np.unique(flat).size <= FEW
