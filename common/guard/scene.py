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
    sort: Sort
    other_sort: Sort
    is_fused: bool  # one program may have in several operations what the other has in one

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
    sources = _sources(chain, steps, inputs)
    if value.ndim == 4 and is_channels_last(value.shape, other.value.shape):
        value, turned, gap = (array.transpose(0, 3, 1, 2) for array in (value, turned, gap))
        sources = [
            source.transpose(0, 3, 1, 2) if source.ndim == 4 else source for source in sources
        ]
    return Scene(
        value,
        turned,
        gap,
        tuple(sources),
        tuple(steps[name].value for name in one.inputs if name in steps),
        tuple(others[name].value for name in other.inputs if name in others),
        (_constants(chain), _constants(other_chain)),
        sort_of(one),
        sort_of(other),
        len(chain) > 1 or len(other_chain) > 1,
    )


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
