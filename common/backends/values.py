"""What backends share: the order of axes, names of endpoints, and what dropping multiplies by."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

DROPOUT = "dropout"  # that before the classifier, where masks are given by role


def check_endpoints(known: Iterable[str], names: Iterable[str] | None) -> list[str]:
    """The names asked for, all of them if none were.

    Raises:
        ValueError: one is not known.
    """
    known = list(known)
    names = known if names is None else list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown endpoint {unknown[0]!r}; choose from {', '.join(known)}")
    return names


def to_layout(images: np.ndarray, channels_last: bool) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C) where the framework keeps channels last."""
    return images.transpose(0, 2, 3, 1) if channels_last else images


def from_layout(value: np.ndarray, channels_last: bool) -> np.ndarray:
    """The inverse of `to_layout` for a map; a vector (N, C) stays as it is."""
    return value.transpose(0, 3, 1, 2) if channels_last and value.ndim == 4 else value


def drop_factors_of(role: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The factors of `Backend.drop_factors` from values (N, ...) before and after dropping."""
    before, after = (
        values.reshape(len(values), -1).astype(np.float64) for values in (before, after)
    )
    if role != DROPOUT:
        return _common_factors(before, after)
    alive = before != 0
    return after[alive] / before[alive]


def _common_factors(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The factor that turns each row of `before` (N, values) into that of `after`; NaN if none."""
    # The largest value of a row has the most certain ratio.
    rows, largest = np.arange(len(before)), np.abs(before).argmax(1)
    factors = after[rows, largest] / before[rows, largest]
    same = np.isclose(after, before * factors[:, None], rtol=1e-5, atol=1e-9).all(1)
    return np.where(same, factors, np.nan)
