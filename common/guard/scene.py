"""The first place where two programs differ: both values, what they are made from, and of what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..backends.align import difference
from ..backends.heat import is_channels_last
from ..backends.operations import Sort, sort_of
from ..backends.trace import Step, Trace

Constants = tuple[np.ndarray, ...]
Parts = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True)
class Scene:
    """Two values that should be the same, a map as (N, C, H, W), and all that is known of them."""

    one: np.ndarray
    other: np.ndarray
    gap: np.ndarray  # other - one
    sources: tuple[np.ndarray, ...]  # what both are made from, in the first program's order of axes
    reads: tuple[np.ndarray, ...]  # what the operation of the first reads itself
    others: tuple[np.ndarray, ...]  # the same of the second
    constants: tuple[Constants, Constants]  # weights that both are made with
    operations: tuple[str, str]  # what both are called
    sort: Sort
    other_sort: Sort
    is_fused: bool  # one program may have in several operations what the other has in one
    is_folded: bool  # one program may have in its weights what is a normalization in the other

    def has(self, sort: Sort) -> bool:
        """Whether either is an operation of a sort."""
        return sort in (self.sort, self.other_sort)


def scene_of(
    one: Step,
    other: Step,
    parts: Parts,
    first: Trace,
    second: Trace,
    inputs: Sequence[np.ndarray],
) -> Scene | None:
    """What is known of two steps; None where their values cannot be compared."""
    gap = difference(one.value, other.value)
    if gap is None:
        return None
    steps = {step.name: step for step in first}
    others = {step.name: step for step in second}
    chain = [steps[name] for name in parts[0] or (one.name,)]
    other_chain = [others[name] for name in parts[1] or (other.name,)]
    value = one.value.astype(np.float64)
    turned = value + np.where(np.isfinite(gap), gap, 0)
    is_last = value.ndim == 4 and is_channels_last(value.shape, other.value.shape)
    if is_last:
        value, turned, gap = (array.transpose(0, 3, 1, 2) for array in (value, turned, gap))
    sources = [_like(source, value.shape, is_last) for source in _sources(chain, steps, inputs)]
    return Scene(
        value,
        turned,
        gap,
        tuple(sources),
        tuple(steps[name].value for name in one.inputs if name in steps),
        tuple(others[name].value for name in other.inputs if name in others),
        (_constants(chain), _constants(other_chain)),
        (one.operation or one.name, other.operation or other.name),
        sort_of(one),
        sort_of(other),
        len(chain) > 1 or len(other_chain) > 1,
        _normalizes(chain) != _normalizes(other_chain),
    )


def _normalizes(chain: Sequence[Step]) -> bool:
    return any(sort_of(step) == "normalization" for step in chain)


def _like(source: np.ndarray, shape: tuple[int, ...], is_last: bool) -> np.ndarray:
    """A source in the order of axes that a value has now, where that can be told."""
    if source.ndim != 4 or len(shape) != 4:
        return source
    if source.shape == shape and not is_last:
        return source
    orders = ((0, 3, 1, 2), (0, 2, 3, 1))
    alike = [axes for axes in orders if source.transpose(axes).shape == shape]
    if alike:
        return source.transpose(alike[0])
    if source.shape == shape or not is_last:
        return source
    return source.transpose(0, 3, 1, 2)


def _sources(
    chain: Sequence[Step], steps: dict[str, Step], inputs: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The values that operations are made from: those before them, or the program's inputs."""
    inner = {step.name for step in chain}
    names = dict.fromkeys(
        name for step in chain for name in step.inputs if name not in inner and name in steps
    )
    found = [steps[name].value for name in names]
    return found or [array for array in inputs if array.dtype.kind == "f"]


def _constants(chain: Sequence[Step]) -> Constants:
    """The weights of operations: all numbers that are no single ones."""
    return tuple(
        array.astype(np.float64)
        for step in chain
        for array in step.constants
        if array.size > 1 and array.dtype.kind == "f"
    )
