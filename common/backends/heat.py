"""Where in a map an error is: at an edge, in some channels, or everywhere."""

from __future__ import annotations

import numpy as np

HEAT_SIDE = 24  # cells of an error map, at most
# The two edges across every axis of a row, a map and a volume.
EDGES = {
    1: (("first", "last"),),
    2: (("top", "bottom"), ("left", "right")),
    3: (("front", "back"), ("top", "bottom"), ("left", "right")),
}
EDGE = 5  # times the error inside, from which on an error is said to be at an edge

Heat = tuple[tuple[float, ...], ...]  # rows of mean |difference|


def place_of(signed: np.ndarray, spread: float, other: tuple[int, ...]) -> tuple[str, Heat | None]:
    """The place of an error, in words, and of a map the error map, in spreads.

    `other` is the shape that the second program has the value in.
    """
    gap = np.abs(signed)
    if gap.ndim == 4 and is_channels_last(gap.shape, other):
        gap = gap.transpose(0, 3, 1, 2)
    if not np.isfinite(gap).all():
        return "not a number", None
    if gap.ndim != 4 or max(gap.shape[2:]) == 1:
        return _channels(gap), None
    error_map = gap.mean((0, 1)) / (spread or 1.0)
    edges = edges_of(error_map)
    place = _channels(gap)
    if edges:
        place = f"on the {' and '.join(edges)} edge, the mark of padding"
    return place, tuple(map(tuple, _reduced(error_map).tolist()))


def is_channels_last(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether a map of a shape, which another program has in another, is (N, H, W, C).

    Where both have it in the same shape, it is taken to be square.
    """
    _, *sides = shape
    if shape != other and len(other) == len(shape):
        return tuple(other[1:]) == (sides[-1], *sides[:-1])
    return len(sides) == 3 and sides[0] == sides[1] != sides[2]


def edges_of(error_map: np.ndarray) -> list[str]:
    """The edges of a row, a map (H, W) or a volume at which the error is many times that inside."""
    if error_map.ndim not in EDGES or min(error_map.shape) < 4:
        return []
    least = EDGE * float(inner(error_map, error_map.ndim).mean())
    return [
        name
        for axis, names in enumerate(EDGES[error_map.ndim])
        for place, name in zip((0, -1), names, strict=True)
        if float(inner(error_map.take(place, axis), error_map.ndim - 1).mean()) > least
    ]


def inner(values: np.ndarray, sides: int) -> np.ndarray:
    """Values without those at the edges of the last axes."""
    index = (slice(None),) * (values.ndim - sides) + (slice(1, -1),) * sides
    return values[index]


def _channels(gap: np.ndarray) -> str:
    """Whether an error (N, C, ...) is in all channels or in some."""
    if gap.ndim < 2:
        return "everywhere"
    channels = gap.reshape(len(gap), gap.shape[1], -1).max((0, 2))
    wrong = int((channels > 0.01 * channels.max()).sum())
    if 4 * wrong <= len(channels):
        return f"in {wrong} of {len(channels)} channels"
    return "everywhere"


def _reduced(error_map: np.ndarray) -> np.ndarray:
    """At most `HEAT_SIDE` cells a side, each the largest of its pixels, so that edges stay."""
    rows, columns = (
        np.linspace(0, side, min(side, HEAT_SIDE) + 1).astype(int)[:-1] for side in error_map.shape
    )
    return np.maximum.reduceat(np.maximum.reduceat(error_map, rows, 0), columns, 1)
