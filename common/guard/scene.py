"""The first place where two programs differ: both values, what they are made from, and of what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..backends.align import difference
from ..backends.heat import is_channels_last
from ..backends.operations import Sort, sort_of
from ..backends.trace import Step, Trace

Constants = tuple[np.ndarray, ...]
Parts = tuple[Sequence[str], Sequence[str]]

CHANNELS_LAST = re.compile(r"\dD$")  # what Keras calls its layers of rows and maps
OVER_FEATURES = re.compile(r"layer_?norm|rms_?norm", re.I)  # which keep these last


@dataclass(frozen=True)
class Scene:
    """Two values that should be the same, and all that is known of them.

    Rows, maps and volumes have their channels first, (N, C, ...); whatever else there is, such as
    tokens (N, T, D), has them last.
    """

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
    is_map: bool  # channels come first, and places after
    is_fused: bool  # one program may have in several operations what the other has in one
    is_folded: bool  # one program may have in its weights what is a normalization in the other

    @property
    def channel(self) -> int:
        """The axis of the channels."""
        return 1 if self.is_map else self.one.ndim - 1

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
    around = [*_around(chain, first), *_around(other_chain, second)]
    channel = _channel(value.shape, other.value.shape, around)
    is_last = channel is not None and channel > 1
    if is_last:
        value, turned, gap = (np.moveaxis(array, -1, 1) for array in (value, turned, gap))
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
        channel is not None,
        len(chain) > 1 or len(other_chain) > 1,
        _normalizes(chain) != _normalizes(other_chain),
    )


def _around(chain: Sequence[Step], trace: Trace) -> list[Step]:
    """Operations, and those that read what comes out of them."""
    ends = {step.name for step in chain}
    return [*chain, *(step for step in trace if ends.intersection(step.inputs))]


def _channel(shape: tuple[int, ...], other: tuple[int, ...], around: Sequence[Step]) -> int | None:
    """The axis of the channels of a row, a map or a volume; None if a value is none of these.

    A row (N, C, L) looks like tokens (N, T, D), and is known by the operations around it: the
    kernels of convolutions have three axes there, and scale and bias are one number a channel.
    """
    if len(shape) == 4:
        return 3 if is_channels_last(shape, other) else 1
    if len(shape) == 5:
        return 1
    if len(shape) != 3:
        return None
    axes = (2, 1) if CHANNELS_LAST.search(around[0].operation) else (1, 2)
    for step in around:
        for sides in _numbers_of_channels(step):
            found = next((axis for axis in axes if shape[axis] in sides), None)
            if found is not None:
                return found
    return None


def _numbers_of_channels(step: Step) -> list[set[int]]:
    """What an operation on rows says of how many channels there are, before it or after it."""
    found = [set(array.shape) for array in step.constants if array.ndim == 3]
    name = step.operation or step.name
    if sort_of(step) == "normalization" and not OVER_FEATURES.search(name):
        found += [{array.size} for array in step.constants if array.size > 1]
    return found


def _normalizes(chain: Sequence[Step]) -> bool:
    return any(sort_of(step) == "normalization" for step in chain)


def _like(source: np.ndarray, shape: tuple[int, ...], is_last: bool) -> np.ndarray:
    """A source in the order of axes that a value has now, where that can be told."""
    if source.ndim == len(shape) == 3:
        if is_last:
            return np.moveaxis(source, -1, 1)
        # Of a sequence, recurrent operations have the time first.
        is_turned = source.shape != shape and source.swapaxes(0, 1).shape == shape
        return source.swapaxes(0, 1) if is_turned else source
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
