"""Where on a row, a map or a volume a difference is, and whether the one is the other, moved."""

from __future__ import annotations

import numpy as np

from ..backends.heat import edges_of, inner
from .kind import Kind
from .scene import Scene

SAMPLES = 16  # values of a channel, from which on it can be seen how far it is moved
ONE = 1e-6  # of the largest difference, that what is inside may be of one at the edges only
SHIFT_EXPLAINS = 0.2  # of the variance of the difference, at least
SAME_WAY = 0.9  # of the channels, that a padding on another side moves one way


def at_an_edge(scene: Scene) -> Kind | None:
    """An error that is much larger at edges is that of padding."""
    if not scene.is_map or min(scene.one.shape[2:]) < 4:
        return None
    edges = edges_of(np.abs(scene.gap).mean((0, 1)))
    if not edges:
        return None
    return Kind("padding", f"the error is many times larger on the {' and '.join(edges)} edge")


def within_edges(scene: Scene) -> Kind | None:
    """An error that is at edges only, in a map too small for more of it."""
    if not scene.is_map or min(scene.one.shape[2:]) < 3:
        return None
    inside = np.abs(inner(scene.gap, scene.gap.ndim - 2)).max()
    if inside <= ONE * np.abs(scene.gap).max():
        return Kind("padding", "the error is at the edges only")
    return None


def shifted(scene: Scene) -> Kind | None:
    """A strided operation that begins elsewhere moves all channels by a part of a pixel."""
    if not scene.is_map or min(scene.one.shape[2:]) < 4:
        return None
    shifts = np.array([_shift(scene, channel) for channel in range(scene.one.shape[1])])
    shifts = shifts[np.isfinite(shifts).all(1)]
    if not len(shifts):
        return None
    whole, explained = _whole_shift(scene)
    strong = explained > SHIFT_EXPLAINS and min(map(abs, whole)) > 0.1
    if len(shifts) >= 4:
        one_way = [max((axis > 0).mean(), (axis < 0).mean()) for axis in shifts.T]
        strong = strong or (min(one_way) >= SAME_WAY and min(map(abs, whole)) > 0.1)
    if not strong or max(map(abs, whole)) > 1.5:
        return None
    return Kind(
        "padding",
        f"one map is the other moved by {' and '.join(f'{side:+.1f}' for side in whole)} places, "
        "as where the padding of a strided operation is on another side",
    )


def _slopes(scene: Scene, channels: slice) -> tuple[np.ndarray, np.ndarray]:
    """How steep a map is along each of its sides, and the difference, at all places inside."""
    mean = ((scene.one + scene.other) / 2)[:, channels]
    sides = mean.ndim - 2
    slopes = [inner(np.gradient(mean, axis=2 + side), sides).ravel() for side in range(sides)]
    return np.stack(slopes, 1), inner(scene.gap[:, channels], sides).ravel()


def _shift(scene: Scene, channel: int) -> np.ndarray:
    """Places that a channel is moved by, along each side; not finite where that is unknown."""
    slopes, gap = _slopes(scene, slice(channel, channel + 1))
    if len(gap) < SAMPLES or not np.square(gap).sum():
        return np.full(slopes.shape[1], np.nan)
    found: np.ndarray = np.linalg.lstsq(slopes, gap, rcond=None)[0]
    return found


def _whole_shift(scene: Scene) -> tuple[np.ndarray, float]:
    """Places that the map is moved by, and the share of variance that this explains."""
    slopes, gap = _slopes(scene, slice(None))
    if not np.square(gap).sum():
        return np.zeros(slopes.shape[1]), 0.0
    found, *_ = np.linalg.lstsq(slopes, gap, rcond=None)
    left = np.square(gap - slopes @ found).sum() / np.square(gap).sum()
    return found, float(1 - left)
