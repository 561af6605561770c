"""Two programs, operation by operation: which of them agree, and which is the first that does not.

Two traces of one network rarely have the same operations: one pads by itself, one folds batch
norms, one keeps channels last.  So operations are paired by what they compute, never by name or
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .trace import Step

HEAT_SIDE = 24  # cells of an error map, at most
EDGE = 5  # times the error inside, from which on an error is said to be at an edge

NEARLY_CONSTANT = 0.1  # spread over size, below which the spread is no unit for errors
# The error of a single operation that is rounded once.
ROUNDING = {"float32": 1e-7, "float64": 1e-15}

# From which error on an operation is to blame, which is given the same input in both programs.
OPERATION = {dtype: 100 * error for dtype, error in ROUNDING.items()}

Heat = tuple[tuple[float, ...], ...]  # rows of mean |difference|


@dataclass(frozen=True)
class Pair:
    """A step of the first trace, and the step of the second that computes the same, if any."""

    step: Step
    other: Step | None
    error: float  # root mean square, relative to the spread of the first; infinite if alone


@dataclass(frozen=True)
class Divergence:
    """The first operation that two programs do not agree on, although they agree on its inputs."""

    operation: str | None  # of the first program; None where only the second goes on
    counterpart: str | None  # None where the second program has nothing of that shape
    error: float
    after: tuple[str, str] | None  # the last pair that agrees before it; None for the image
    place: str
    heat: Heat | None  # of maps only


def align(first: Sequence[Step], second: Sequence[Step], limit: float) -> list[Pair]:
    """Pair every step of the first trace with the next of the second that is within the limit."""
    spreads = [_moments(step.value) for step in second]
    pairs, start = [], 0
    for step in first:
        moments = _moments(step.value)
        pair = Pair(step, None, float("inf"))
        for index in range(start, len(second)):
            # Means and deviations cannot be further apart than the values.
            if _near(moments, spreads[index], limit):
                error = relative_error(step.value, second[index].value)
                if error <= limit:
                    pair, start = Pair(step, second[index], error), index + 1
                    break
        pairs.append(pair)
    return pairs


def _moments(value: np.ndarray) -> tuple[int, float, float]:
    return (
        value.size,
        float(np.mean(value, dtype=np.float64)),
        float(np.std(value, dtype=np.float64)),
    )


def _near(one: tuple[int, float, float], other: tuple[int, float, float], limit: float) -> bool:
    allowed = limit * one[2] * (1 + 1e-6)
    return (
        one[0] == other[0]
        and abs(one[1] - other[1]) <= allowed
        and abs(one[2] - other[2]) <= allowed
    )


def relative_error(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square of the difference over the spread of the first, in the best orientation.

    Infinite if the shapes cannot be those of one map, or a value is no number.
    """
    gap = difference(first, second)
    if gap is None or not np.isfinite(gap).all():
        return float("inf")
    rms = float(np.sqrt(np.mean(np.square(gap))))
    spread = spread_of(first)
    if spread == 0:
        return 0.0 if rms == 0 else float("inf")
    return rms / spread


def spread_of(value: np.ndarray) -> float:
    """The unit of errors: the standard deviation, or a tenth of the size of what hardly varies.

    0 only if all values are.
    """
    finite = np.asarray(value, np.float64)[np.isfinite(value)]
    if not finite.size:
        return 0.0
    size = float(np.sqrt(np.mean(np.square(finite))))
    return max(float(np.std(finite)), NEARLY_CONSTANT * size)


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray | None:
    """second - first in the shape of the first, whichever of them keeps channels last.

    Where both are infinite in the same way, or no numbers, the difference is 0.
    """
    found = [_gap(first, turned) for turned in _orientations(second, first.shape)]
    return min(found, key=lambda gap: float(np.abs(gap).mean()), default=None)


def _gap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    wide = second.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        gap: np.ndarray = wide - first
    if not np.isfinite(gap).all():
        gap[(wide == first) | (np.isnan(wide) & np.isnan(first))] = 0
    return gap


def _orientations(value: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The ways to read a value as one of another shape, by exchanging first and last channels."""
    if value.size == np.prod(shape) and value.shape[:1] == shape[:1]:
        squeezed = [side for side in value.shape[1:] if side > 1]
        if squeezed == [side for side in shape[1:] if side > 1]:
            yield value.reshape(shape)
    if value.ndim == len(shape) == 4:
        for axes in ((0, 3, 1, 2), (0, 2, 3, 1)):
            if tuple(value.shape[axis] for axis in axes) == shape:
                yield value.transpose(axes)


def first_divergence(
    first: Sequence[Step], second: Sequence[Step], limit: float
) -> Divergence | None:
    """The first step that has no counterpart within the limit, and leads to none that has.

    None if the last steps agree.
    """
    if relative_error(first[-1].value, second[-1].value) <= limit:
        return None
    pairs = align(first, second, limit)
    if pairs[-1].other is None:
        return _divergence(pairs, second)
    # All of the first agrees: the second goes on where the first ends.
    pairs = align(second, first, limit)
    found = _divergence(pairs, first)
    after = None if found.after is None else (found.after[1], found.after[0])
    return replace(found, operation=found.counterpart, counterpart=found.operation, after=after)


def _divergence(pairs: list[Pair], second: Sequence[Step]) -> Divergence:
    """The first step of pairs that is alone, and the likeliest counterpart that it should have."""
    culprit = next(step for step in _alone(pairs) or [pairs[-1].step])
    before = _last_agreeing(culprit, {pair.step.name: pair for pair in pairs})
    positions = {step.name: position for position, step in enumerate(second)}
    start = -1 if before is None else positions[before[1].name]
    taken = {pair.other.name for pair in pairs if pair.other is not None}
    counterpart = next(
        (
            step
            for step in second[start + 1 :]
            if step.name not in taken and difference(culprit.value, step.value) is not None
        ),
        None,
    )
    error = float("inf")
    if counterpart is not None:
        error = relative_error(culprit.value, counterpart.value)
    place, heat = _where(culprit.value, counterpart)
    return Divergence(
        operation=culprit.name,
        counterpart=None if counterpart is None else counterpart.name,
        error=error,
        after=None if before is None else (before[0].name, before[1].name),
        place=place,
        heat=heat,
    )


def _alone(pairs: list[Pair]) -> list[Step]:
    """Steps that have no counterpart and lead to none that has, in forward order."""
    agreeing: set[str] = set()
    for pair in reversed(pairs):
        if pair.other is not None or pair.step.name in agreeing:
            agreeing |= {pair.step.name, *pair.step.inputs}
    return [pair.step for pair in pairs if pair.step.name not in agreeing]


def _last_agreeing(step: Step, pairs: dict[str, Pair]) -> tuple[Step, Step] | None:
    """The nearest step upstream that has a counterpart, and this."""
    for name in reversed(step.inputs):
        pair = pairs[name]
        found = _last_agreeing(pair.step, pairs) if pair.other is None else (pair.step, pair.other)
        if found is not None:
            return found
    return None


def operation_sentences(found: Divergence) -> list[str]:
    """The operation that differs, in words."""
    counterpart = "" if found.counterpart is None else f" ({found.counterpart} in the second)"
    agrees = "its input" if found.after is None else f"{found.after[0]} before it"
    if found.operation is None:
        return [f"{found.counterpart} is there only; {agrees} agrees"]
    if found.counterpart is None:
        return [
            f"{found.operation} is the first operation that differs; {agrees} agrees; {found.place}"
        ]
    return [
        f"{found.operation}{counterpart} is the first operation that differs, by {found.error:.1e} "
        f"standard deviations, {found.place}; {agrees} agrees"
    ]


# ------------------------------------------------------------------ where in a map an error is


def _where(value: np.ndarray, counterpart: Step | None) -> tuple[str, Heat | None]:
    """The place of an error, in words, and the error map where there is one."""
    signed = None if counterpart is None else difference(value, counterpart.value)
    if signed is None:
        return f"there is nothing of its shape {value.shape}", None
    gap = np.abs(signed)
    if not np.isfinite(gap).all():
        return "not a number", None
    if value.ndim != 4 or max(value.shape[2:]) == 1:
        return _channels(gap), None
    error_map = gap.mean((0, 1)) / (float(np.std(value, dtype=np.float64)) or 1.0)
    edges = edges_of(error_map)
    place = _channels(gap)
    if edges:
        place = f"on the {' and '.join(edges)} edge, the mark of padding"
    return place, tuple(map(tuple, _reduced(error_map).tolist()))


def edges_of(error_map: np.ndarray) -> list[str]:
    """The edges of a map (H, W) at which the error is many times that inside."""
    if min(error_map.shape) < 4:
        return []
    inside = float(error_map[1:-1, 1:-1].mean())
    sides = {
        "top": error_map[0, 1:-1],
        "bottom": error_map[-1, 1:-1],
        "left": error_map[1:-1, 0],
        "right": error_map[1:-1, -1],
    }
    return [name for name, side in sides.items() if float(side.mean()) > EDGE * inside]


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
