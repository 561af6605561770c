"""Two programs, operation by operation: which of them agree, and which is the first that does not.

Two traces of one network rarely have the same operations: one pads by itself, one folds batch
norms, one keeps channels last.  So operations are paired by what they compute, never by name or
number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from .elementwise import is_function_of
from .heat import Heat, place_of
from .operations import sort_of
from .suspects import Side, digest, has_its_weights, is_like, is_same
from .trace import Step

NEARLY_CONSTANT = 0.1  # spread over size, below which the spread is no unit for errors
# The error of a single operation that is rounded once.
ROUNDING = {"float32": 1e-7, "float64": 1e-15}

# From which error on an operation is to blame, which is given the same input in both programs.
OPERATION = {dtype: 100 * error for dtype, error in ROUNDING.items()}

# Of a map, from channels last to first and from first to last.
MOVED_CHANNELS: dict[int, set[tuple[int, ...]]] = {
    4: {(0, 3, 1, 2), (0, 2, 3, 1)},
    5: {(0, 4, 1, 2, 3), (0, 2, 3, 4, 1)},
}
MOST_AXES = 5  # of which every order is tried
LARGEST = 1e150  # of which the square is a number: masks are the lowest that there is
HIDDEN, HIDING = 1e3, 1e3  # how low masks are, and times how large the others are, at least
LOOKED_AHEAD = 40  # steps, within which two programs that differ in one operation come together
FUSED = 12  # operations that another program may have as one
NEARER = 0.1  # times the error, from which on another pair is the better one

Ends = tuple[Sequence[str], Sequence[str]]


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
    # What each program has for the operation after all that agrees, in order, itself the last.
    parts: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def align(first: Sequence[Step], second: Sequence[Step], limit: float) -> list[Pair]:
    """Pair every step of the first trace with one of the second that is within the limit.

    Of several equal values, the one is taken that is made of what the step's own inputs are paired
    with, or comes next: branches may be run in another order, and a part may be used twice.  A step
    that hands on its input is paired with what this is paired with.
    """
    spreads = _Moments(second)
    positions = {step.name: position for position, step in enumerate(second)}
    partners: dict[str, str] = {}
    taken: set[str] = set()
    pairs, start = [], 0
    for step in first:
        read = {partners[name] for name in step.inputs if name in partners}
        candidates = sorted(
            (second[index] for index in spreads.near(step.value, limit)),
            key=lambda other: (
                other.name in taken,
                not read.intersection(other.inputs) if read else bool(other.inputs),
                positions[other.name] < start,
                positions[other.name],
            ),
        )
        pair = Pair(step, None, float("inf"))
        for other in candidates:
            error = relative_error(step.value, other.value)
            if error <= limit:
                pair = Pair(step, other, error)
                partners[step.name] = other.name
                taken.add(other.name)
                start = positions[other.name] + 1
                break
        pairs.append(pair)
    return pairs


class _Moments:
    """Sizes, means and deviations of many steps, which cannot be further apart than the values."""

    def __init__(self, steps: Sequence[Step]):
        found = np.array([_moments(step.value) for step in steps], np.float64)
        self.sizes, self.means, self.deviations = found.reshape(-1, 3).T

    def near(self, value: np.ndarray, limit: float) -> list[int]:
        """The places of the steps that may be within the limit of a value."""
        size, mean, deviation = _moments(value)
        allowed = limit * spread_of(value) * (1 + 1e-6) + 1e-13 * (abs(mean) + deviation)
        with np.errstate(invalid="ignore"):
            near = (
                (self.sizes == size)
                & (np.abs(self.means - mean) <= allowed)
                & (np.abs(self.deviations - deviation) <= allowed)
            )
        return [int(index) for index in np.flatnonzero(near)]


def _moments(value: np.ndarray) -> tuple[int, float, float]:
    with np.errstate(invalid="ignore", over="ignore"):
        return (
            value.size,
            float(np.mean(value, dtype=np.float64)),
            float(np.std(value, dtype=np.float64)),
        )


def relative_error(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square of the difference over the spread of the first, in the best orientation.

    Infinite if the shapes cannot be those of one map, or a value is no number.
    """
    gap = difference(first, second)
    if gap is None or not np.isfinite(gap).all():
        return float("inf")
    rms = float(np.sqrt(np.mean(np.square(np.clip(gap, -LARGEST, LARGEST)))))
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
    finite = _shown(np.clip(finite, -LARGEST, LARGEST))
    size = float(np.sqrt(np.mean(np.square(finite))))
    return max(float(np.std(finite)), NEARLY_CONSTANT * size)


def _shown(values: np.ndarray) -> np.ndarray:
    """Values without those that a mask has put far below all others."""
    lowest = float(values.min())
    if lowest > -HIDDEN:
        return values
    others = values[values > lowest / 10]
    if not others.size or HIDING * float(np.abs(others).max()) > -lowest:
        return values
    return others


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
    """The ways to read a value as one of another shape, by another order of axes or joined axes.

    Axes of equal length keep their order, so that a map that is turned is not taken for the map,
    unless they are those of channels and pixels.
    """
    if value.size != np.prod(shape):
        return
    if _joins(value.shape, shape) or _joins(shape, value.shape):
        yield value.reshape(shape)
    if value.ndim >= len(shape) > 1:
        for axes in _orders(value.shape):
            turned = value.transpose(axes)
            if _joins(turned.shape, shape):
                yield turned.reshape(shape)
    elif value.ndim > 1:
        for axes in _orders(shape):
            # The axes that are joined here come in this order in the other.
            split = tuple(shape[axis] for axis in axes)
            if _joins(split, value.shape):
                yield value.reshape(split).transpose(np.argsort(axes))


def _orders(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The orders that axes may be read in, the batch first, in which equal ones stay in order."""
    sides = range(1, len(shape))
    if len(shape) > MOST_AXES:
        return []
    orders = {
        (0, *axes)
        for axes in permutations(sides)
        if all(
            axes.index(one) < axes.index(other)
            for one, other in combinations(sides, 2)
            if shape[one] == shape[other]
        )
    }
    return sorted(orders | MOVED_CHANNELS.get(len(shape), set()))


def _joins(sides: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a shape comes of sides by joining neighbours."""
    rest = list(sides)
    for side in shape:
        product = rest.pop(0) if rest else 1
        while product < side and rest:
            product *= rest.pop(0)
        if product != side:
            return False
    return all(side == 1 for side in rest)


# ------------------------------------------------------------------ the first that differs


def first_divergence(
    first: Sequence[Step], second: Sequence[Step], limit: float, ends: Ends | None = None
) -> Divergence | None:
    """The first step that differs although what it reads agrees, and what the other has for it.

    `ends` are the names of the values that are to agree, in the first and in the second; the last
    ones by default.  None if they do.
    """
    lasts = ends or ((first[-1].name,), (second[-1].name,))
    if ends is None and relative_error(first[-1].value, second[-1].value) <= limit:
        return None
    return _Difference(first, second, limit, lasts).divergence()


class _Difference:
    """Two traces that end differently: what agrees in them, and what of the rest comes first."""

    def __init__(self, first: Sequence[Step], second: Sequence[Step], limit: float, ends: Ends):
        pairs = align(first, second, limit)
        self.partners = {pair.step.name: pair.other.name for pair in pairs if pair.other}
        backwards = {other: name for name, other in reversed(self.partners.items())}
        for pair in align([step for step in second if step.name not in backwards], first, limit):
            if pair.other is not None:
                backwards[pair.step.name] = pair.other.name
        self.back = backwards
        self.one = Side(first, set(self.partners), ends[0])
        self.other = Side(second, set(backwards), ends[1])

    def divergence(self) -> Divergence | None:
        """The first operation that differs."""
        if not self.one.suspects and not self.other.suspects:
            return None
        step, counterpart = self._matched()
        shown = step or counterpart
        assert shown is not None  # one of the sides has a suspect
        error = float("inf")
        if step is not None and counterpart is not None:
            error = relative_error(step.value, counterpart.value)
        gap = None
        if step is not None and counterpart is not None:
            gap = difference(step.value, counterpart.value)
        place, heat = f"there is nothing of its shape {shown.value.shape}", None
        if gap is not None and counterpart is not None:
            spread = float(np.std(shown.value, dtype=np.float64))
            place, heat = place_of(gap, spread, counterpart.value.shape)
        return Divergence(
            operation=step.name if step else None,
            counterpart=counterpart.name if counterpart else None,
            error=error,
            after=self._after(step, counterpart),
            place=place,
            heat=heat,
            parts=(self.one.parts_of(step), self.other.parts_of(counterpart)),
        )

    def _matched(self) -> tuple[Step | None, Step | None]:
        """The pair of operations to blame; one of them is None where the other side has it only."""
        if not self.one.suspects or not self.other.suspects:
            return self.one.first, self.other.first
        step = self.one.frontier[0]
        counterpart = self._counterpart(step)
        functions = self._functions(step, counterpart)
        if functions is not None:
            return functions
        if {sort_of(step), sort_of(counterpart)} & {"recurrent", "attention"}:
            return self._whole(step, counterpart)
        nearest = self._nearest(step, counterpart)
        if sort_of(step) == sort_of(counterpart) == "linear":
            if nearest == (step, counterpart):
                nearest = self._folded(step, counterpart)
            if is_like(step, counterpart) or has_its_weights(step, counterpart):
                return nearest
        if is_like(step, counterpart):
            return nearest
        if sort_of(step) == sort_of(counterpart) == "pool":  # row by row, or in one
            for one, other in self._further(step, counterpart):
                if is_like(one, other):
                    return one, other
        # One that the other side goes on with: what comes before it is there once only.
        for certain in (True, False):
            if self._goes_on(self.one, step, counterpart, certain):
                return step, None
            if self._goes_on(self.other, counterpart, step, certain):
                return None, counterpart
            if nearest != (step, counterpart):
                return nearest
        if difference(step.value, counterpart.value) is None:
            alike = sort_of(step) == sort_of(counterpart) != "other"
            return step, counterpart if alike else None
        return step, counterpart

    def _functions(self, step: Step, counterpart: Step) -> tuple[Step, Step] | None:
        """Where both make values of the same ones, each by itself: the last steps that do."""
        before = self.one.agreed_before(step)
        theirs = self.other.agreed_before(counterpart)
        if not before or self.partners[before[0]] not in theirs:
            return None
        sources = (
            self.one.by_name[before[0]].value,
            self.other.by_name[self.partners[before[0]]].value,
        )
        ends = []
        for side, begin, source in (
            (self.one, step, sources[0]),
            (self.other, counterpart, sources[1]),
        ):
            if not is_function_of(source, begin.value):
                return None
            chain = [begin]
            for found in side.after(begin)[:FUSED]:
                if is_function_of(source, found.value):
                    chain.append(found)
            ends.append(chain[-1])
        return ends[0], ends[1]

    def _whole(self, step: Step, counterpart: Step) -> tuple[Step, Step]:
        """The nearest pair where one side has in one operation what may be many in the other."""
        if is_like(step, counterpart):
            return step, counterpart
        if sort_of(step) in ("recurrent", "attention"):
            tried = [(step, other) for other in (counterpart, *self.other.after(counterpart))]
        else:
            tried = [(one, counterpart) for one in (step, *self.one.after(step))]
        return min(tried, key=lambda pair: relative_error(pair[0].value, pair[1].value))

    def _folded(self, step: Step, counterpart: Step) -> tuple[Step, Step]:
        """A pair of products, of which one may have in it the normalization after the other."""
        if {digest(array) for array in step.constants} & {
            digest(array) for array in counterpart.constants
        }:
            return step, counterpart
        norms = [
            next(
                (found for found in side.reading(begin) if sort_of(found) == "normalization"), None
            )
            for side, begin in ((self.one, step), (self.other, counterpart))
        ]
        if norms[0] is None and norms[1] is not None:
            return step, norms[1]
        if norms[0] is not None and norms[1] is None:
            return norms[0], counterpart
        return step, counterpart

    def _counterpart(self, step: Step) -> Step:
        """The first suspect of the other side that reads what the counterparts of inputs are."""
        read = {self.partners[name] for name in self.one.agreed_before(step)}
        frontier = self.other.frontier
        reading = [other for other in frontier if read & set(self.other.agreed_before(other))]
        found = reading or frontier
        return next((other for other in found if is_like(step, other)), found[0])

    @staticmethod
    def _goes_on(side: Side, begin: Step, like: Step, certain: bool) -> bool:
        """Whether what comes after a step of this side is a step of the other side.

        That is certain where it has the same weights.
        """
        same = has_its_weights if certain else is_same
        return any(same(found, like) for found in side.after(begin)[:LOOKED_AHEAD])

    def _nearest(self, step: Step, counterpart: Step) -> tuple[Step, Step]:
        """The same pair, or a much nearer one, where one side has in parts what the other fuses."""
        best = relative_error(step.value, counterpart.value)
        found = step, counterpart
        for one, other in self._further(step, counterpart):
            error = relative_error(one.value, other.value)
            if error < NEARER * min(best, 1.0):
                best, found = error, (one, other)
        return found

    def _further(self, step: Step, counterpart: Step) -> Iterator[tuple[Step, Step]]:
        """Pairs in which one of the two is a later operation."""
        yield from ((one, counterpart) for one in self.one.after(step)[:FUSED])
        yield from ((step, other) for other in self.other.after(counterpart)[:FUSED])

    def _after(self, step: Step | None, counterpart: Step | None) -> tuple[str, str] | None:
        """The last pair that agrees before the one to blame."""
        if step is not None:
            before = self.one.agreed_before(step)
            return (before[0], self.partners[before[0]]) if before else None
        if counterpart is None:
            return None
        before = self.other.agreed_before(counterpart)
        return (self.back[before[0]], before[0]) if before else None


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
