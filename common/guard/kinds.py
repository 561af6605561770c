"""What kind of mistake a difference looks like: from its picture, its place and its operation.

Every kind leaves marks.  Padding is wrong at an edge, or moves what a stride picks by a part of a
pixel; a normalization is wrong by a factor and a constant of each channel; an activation is another
function of the same input; exchanged channels are all there, elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..backends.align import Divergence, difference, edges_of
from ..backends.trace import Step, Trace

KindName = Literal[
    "padding",
    "epsilon",
    "statistics",
    "activation",
    "layout",
    "order of channels",
    "scale",
    "weights",
    "missing operation",
    "not a number",
    "unknown",
]

EXACT = 1e-3  # of a spread: from here on a pattern explains a difference
SAMPLES = 16  # values of a channel, from which on its factor and constant can be found
ONE = 1e-6  # relative, within which factors are equal
SHIFTED = (0.15, 0.85)  # of a pixel: what another side of padding moves a map by, at stride 2
SHIFT_EXPLAINS = 0.2  # of the variance of the difference, at least

ACTIVATIONS = re.compile(
    r"relu|silu|swish|gelu|sigmoid|tanh|softmax|hardtanh|clip|elu|mish|softplus|activation", re.I
)
NORMALIZATIONS = re.compile(r"norm|_bn|bn\d|\bbn\b|rsqrt", re.I)
LINEAR = re.compile(r"conv|dense|gemm|matmul|addmm|\bmm\b|linear|einsum|\bfc\b", re.I)


@dataclass(frozen=True)
class Kind:
    """The likeliest kind of a mistake, and what speaks for it, as a sentence."""

    name: KindName
    why: str


def kind_of(divergence: Divergence, first: Trace, second: Trace) -> Kind:
    """The kind of mistake that makes the first value that differs what it is."""
    if divergence.operation is None or divergence.counterpart is None:
        only = divergence.operation or divergence.counterpart
        return Kind("missing operation", f"only one of the two has {only}")
    steps = {step.name: step for step in first}
    one = steps[divergence.operation]
    other = next(step for step in second if step.name == divergence.counterpart)
    gap = difference(one.value, other.value)
    if gap is None:
        return Kind("missing operation", "nothing of the other has its shape")
    if not np.isfinite(gap).all():
        return Kind("not a number", "one of the two is infinite or no number")
    source = _source(one, steps)
    value = one.value.astype(np.float64)
    # The names of both: one framework may fuse what the other has as two operations.
    names = f"{one.name} {other.name}"
    for look in (_padding, _order, _layout, _pointwise, _by_channel, _by_name):
        found = look(value, value + gap, source, names)
        if found is not None:
            return found
    return Kind("unknown", "its picture is that of no known mistake")


def _source(step: Step, steps: dict[str, Step]) -> np.ndarray | None:
    """What the operation reads, the first of several."""
    return steps[step.inputs[0]].value.astype(np.float64) if step.inputs else None


def _padding(
    one: np.ndarray, other: np.ndarray, source: np.ndarray | None, names: str
) -> Kind | None:
    if one.ndim != 4 or min(one.shape[2:]) < 4:
        return None
    channels_last = _is_channels_last(one)
    if channels_last:
        one, other = (value.transpose(0, 3, 1, 2) for value in (one, other))
    edges = edges_of(np.abs(other - one).mean((0, 1)))
    if edges:
        return Kind("padding", f"the error is many times larger on the {' and '.join(edges)} edge")
    shifts, explained = _shift(one, other)
    low, high = SHIFTED
    if explained > SHIFT_EXPLAINS and all(low < abs(shift) < high for shift in shifts):
        return Kind(
            "padding",
            f"one map is the other moved by {shifts[0]:+.1f} rows and {shifts[1]:+.1f} columns, as "
            "where the padding of a strided operation is on another side",
        )
    return None


def _shift(one: np.ndarray, other: np.ndarray) -> tuple[tuple[float, float], float]:
    """Rows and columns that a map (N, C, H, W) is moved by, and the share of variance explained."""
    middle = (one + other)[:, :, 1:-1, 1:-1] / 2
    mean = (one + other) / 2
    rows = (mean[:, :, 2:, 1:-1] - mean[:, :, :-2, 1:-1]).ravel() / 2
    columns = (mean[:, :, 1:-1, 2:] - mean[:, :, 1:-1, :-2]).ravel() / 2
    gap = (other - one)[:, :, 1:-1, 1:-1].ravel()
    if middle.size < SAMPLES or not np.square(gap).sum():
        return (0.0, 0.0), 0.0
    slopes = np.stack([rows, columns], 1)
    found, *_ = np.linalg.lstsq(slopes, gap, rcond=None)
    left = np.square(gap - slopes @ found).sum() / np.square(gap).sum()
    return (float(found[0]), float(found[1])), float(1 - left)


def _order(
    one: np.ndarray, other: np.ndarray, source: np.ndarray | None, names: str
) -> Kind | None:
    """Whether the channels are the same ones in another order."""
    for axis in {1, one.ndim - 1}:
        if one.ndim < 2 or one.shape[axis] < 2:
            continue
        first, second = (
            np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1) for value in (one, other)
        )
        order = np.argsort(first.sum(1)), np.argsort(second.sum(1))
        if _same(first[order[0]], second[order[1]]):
            return Kind("order of channels", "the channels are the same ones, in another order")
    return None


def _layout(
    one: np.ndarray, other: np.ndarray, source: np.ndarray | None, names: str
) -> Kind | None:
    if one.ndim == 4:
        rows, columns = (1, 2) if _is_channels_last(one) else (2, 3)
        if one.shape[rows] == one.shape[columns] and _same(one, other.swapaxes(rows, columns)):
            return Kind("layout", "one map is the other with its rows and columns exchanged")
    if _same(np.sort(one, None), np.sort(other, None)):
        return Kind("layout", "the values are the same ones, in another order")
    flattened = source is not None and sum(side > 1 for side in source.shape[1:]) > 1
    if flattened and one.ndim == 2 and LINEAR.search(names):
        return Kind(
            "layout",
            "it follows a map that is flattened, whose values come in another order where channels "
            "are last",
        )
    return None


def _pointwise(
    one: np.ndarray, other: np.ndarray, source: np.ndarray | None, names: str
) -> Kind | None:
    """Whether both are functions of the same values, one by one, and no straight lines."""
    if source is None or source.size != one.size:
        return None
    turned = difference(one, source)
    if turned is None:
        return None
    before = (one + turned).ravel()
    if _same(before, other.ravel()) and ACTIVATIONS.search(names):
        return Kind("activation", "the other hands on the input of the activation as it is")
    order = np.argsort(before)
    if not all(_is_smooth(value.ravel()[order]) for value in (one, other)):
        return None
    if all(_is_line(before, value.ravel()) for value in (one, other)):
        return Kind("scale", "one is the other times a factor, or with a constant added")
    return Kind("activation", "both are functions of the same input, and of another form")


def _is_smooth(values: np.ndarray) -> bool:
    """Whether values hardly jump from one to the next."""
    spread = float(values.std())
    return spread > 0 and float(np.abs(np.diff(values)).mean()) < 0.02 * spread


def _is_line(x: np.ndarray, y: np.ndarray) -> bool:
    slope, constant = np.polyfit(x, y, 1)
    return _same(slope * x + constant, y)


def _by_channel(
    one: np.ndarray, other: np.ndarray, source: np.ndarray | None, names: str
) -> Kind | None:
    """Whether each channel is wrong by a factor and a constant of its own."""
    axis = one.ndim - 1 if _is_channels_last(one) else 1
    if one.ndim < 2 or one.size // one.shape[axis] < SAMPLES:
        return None
    first, second = (
        np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1) for value in (one, other)
    )
    means, others = first.mean(1, keepdims=True), second.mean(1, keepdims=True)
    centred = first - means
    varies = np.square(centred).sum(1)
    kept = varies > ONE * varies.max()
    if not kept.any():
        return None
    factors = ((second - others) * centred).sum(1)[kept] / varies[kept]
    if not _same(factors[:, None] * centred[kept] + others[kept], second[kept]):
        return None
    constants = (others - means * factors.mean())[:, 0]
    alike = bool(np.ptp(factors) <= ONE * np.abs(factors).max())
    if alike and np.abs(constants).max() <= EXACT * float(one.std()):
        return Kind("scale", f"one is the other times {factors.mean():.6g}")
    if not NORMALIZATIONS.search(names) and not LINEAR.search(names):
        return None
    same_side = bool(
        (factors >= 1 - ONE).all() or ((factors > 0).all() and (factors <= 1 + ONE).all())
    )
    equal = bool(np.abs(factors - 1).max() <= ONE)
    if same_side and not equal and NORMALIZATIONS.search(names):
        return Kind(
            "epsilon",
            f"every channel is wrong by a factor on one side of 1, from {factors.min():.4g} to "
            f"{factors.max():.4g}",
        )
    return Kind("statistics", "every channel is wrong by a factor and a constant of its own")


def _by_name(
    one: np.ndarray, other: np.ndarray, source: np.ndarray | None, names: str
) -> Kind | None:
    if ACTIVATIONS.search(names):
        return Kind("activation", "it is an activation, and its input agrees")
    if NORMALIZATIONS.search(names):
        return Kind("statistics", "it is a normalization, and its input agrees")
    if LINEAR.search(names):
        return Kind("weights", "it is linear, its input agrees, and the error has no pattern")
    return None


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal but for a small part of their spread."""
    spread = float(one.std())
    return spread > 0 and float(np.sqrt(np.mean(np.square(one - other)))) < EXACT * spread


def _is_channels_last(value: np.ndarray) -> bool:
    """Whether a map (N, ?, ?, ?) is likelier (N, H, W, C): its first two sides are alike."""
    sides: Sequence[int] = value.shape[1:]
    return value.ndim == 4 and sides[0] == sides[1] and sides[1] != sides[2]
