"""What of a trace may be to blame: the steps that differ, in what order, and which are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .operations import sort_of
from .trace import Step


class Side:
    """The steps of one trace that differ and lead to an end that differs."""

    def __init__(self, steps: Sequence[Step], agreeing: set[str], ends: Sequence[str]):
        self.steps, self.agreeing = steps, agreeing
        self.by_name = {step.name: step for step in steps}
        reached = set(ends) - agreeing
        exonerated: set[str] = set()  # they lead to what agrees
        varying = {step.name for step in steps if np.ptp(step.value) != 0}
        for step in reversed(steps):
            agrees = step.name in agreeing and step.name in varying
            if agrees or step.name in exonerated:
                exonerated |= set(step.inputs)
            if step.name in reached:
                reached |= set(step.inputs) - agreeing
        left = reached - exonerated or reached
        # What does not vary is a size that was computed, or a state that something begins with.
        self.suspects = [step for step in steps if step.name in (left & varying or left)]
        names = {step.name for step in self.suspects}
        self.frontier = [step for step in self.suspects if not names.intersection(step.inputs)]

    @property
    def first(self) -> Step | None:
        """The first that differs although all that it reads agrees."""
        return next(iter(self.frontier), None)

    def reading(self, begin: Step) -> list[Step]:
        """The suspects that read a suspect."""
        return [step for step in self.suspects if begin.name in step.inputs]

    def after(self, begin: Step) -> list[Step]:
        """The suspects that a suspect leads to."""
        reached = {begin.name}
        found = []
        for step in self.suspects:
            if reached.intersection(step.inputs):
                reached.add(step.name)
                found.append(step)
        return found

    def parts_of(self, end: Step | None) -> tuple[str, ...]:
        """A suspect and the suspects that lead to it, in forward order."""
        if end is None:
            return ()
        wanted = {end.name}
        found: list[str] = []
        for step in reversed(self.steps):
            if step.name in wanted:
                found.append(step.name)
                wanted |= set(step.inputs) - self.agreeing
        return tuple(reversed(found))

    def agreed_before(self, step: Step) -> list[str]:
        """The nearest steps upstream that agree, of the last input first."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        queue = list(step.inputs)
        while queue:
            name = queue.pop()
            if name in self.agreeing:
                found[name] = None
            elif name in self.by_name and name not in seen:
                seen.add(name)
                queue.extend(self.by_name[name].inputs)
        return list(found)


def is_like(one: Step, other: Step) -> bool:
    """Whether two steps can be the same operation: of one sort, and of one size."""
    sorts = sort_of(one), sort_of(other)
    return sorts[0] == sorts[1] != "other" and one.value.size == other.value.size


def is_same(one: Step, other: Step) -> bool:
    """Whether two steps are likely the same operation on other values: they have the same weights.

    Where no weights are known, they are of one sort and size.
    """
    if one.constants and other.constants:
        return has_its_weights(one, other)
    return is_like(one, other)


def has_its_weights(one: Step, other: Step) -> bool:
    """Whether an array of one is one of the other as well, in whatever order of axes."""
    if sort_of(one) != sort_of(other):
        return False
    return bool(_marks(one) & _marks(other))


def _marks(step: Step) -> set[tuple[float, ...]]:
    """What stays of a step's weights in another order of axes, or folded with a normalization."""
    weights = [array for array in step.constants if array.size > 1]
    return {digest(array) for array in weights} | {
        digest(directions(array)) for array in weights if array.ndim in (3, 4)
    }


def directions(kernel: np.ndarray) -> np.ndarray:
    """A kernel (O, ...) whose outputs are scaled to length 1, as before anything was folded in."""
    rows = kernel.reshape(len(kernel), -1).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: np.ndarray = (rows / np.where(lengths, lengths, 1.0)).reshape(kernel.shape)
    return scaled


def digest(array: np.ndarray) -> tuple[float, ...]:
    """What stays of an array in another order of axes, and in another precision."""
    wide = array.astype(np.float64)
    size = float(np.abs(wide).sum())
    return array.size, float(f"{size:.4g}"), float(f"{np.square(wide).sum():.4g}")
