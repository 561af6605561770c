"""Which weights of two models differ, under whatever names and in whatever orders they keep them.

Tensors of one name belong together; others do if they hold the same values, and what is left then
if it holds nearly the same, at nearly the same place of the model.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any

import numpy as np

from .._util.result import Result
from ..backends.align import spread_of
from ..checkpoints import formats
from ..errors import UsageError
from .arrays import array_of

# How the libraries order the axes of one kernel: as it is, and (out, in, ...) against (..., in,
# out); of four and five axes also a depthwise one, (channels, 1, ...) against (..., channels, 1).
ORDERS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((0, 1), (1, 0)),
    3: ((0, 1, 2), (2, 1, 0)),
    4: ((0, 1, 2, 3), (2, 3, 1, 0), (3, 2, 0, 1), (2, 3, 0, 1)),
    5: ((0, 1, 2, 3, 4), (2, 3, 4, 1, 0), (4, 3, 0, 1, 2), (2, 3, 4, 0, 1)),
}
KINDS = "f"  # of NumPy's types that are weights; whole numbers are counters and seeds
QUANTILES = np.linspace(0, 1, 33)  # that stand for the values of a tensor
LISTED = 8  # tensors of each kind in a message


@dataclass(frozen=True)
class TensorPair:
    """Two tensors that should be the same and are not.

    `error` is the root mean square of the difference, in standard deviations of the first; it is
    infinite where the shapes cannot be those of one tensor.
    """

    first: str
    second: str
    error: float
    why: str


@dataclass(frozen=True)
class WeightsFinding(Result):
    """What became of comparing the weights of two models."""

    names: tuple[str, str]
    equal: int  # tensors that are the same in both
    renamed: int  # of these: under another name
    differing: tuple[TensorPair, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Every tensor of either is in the other."""
        return not (self.differing or self.only_first or self.only_second)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        first, second = self.names
        total = self.equal + len(self.differing)
        if self.agree:
            yield f"{first} and {second} have the same {total} tensors"
            return
        yield (
            f"the weights of {first} and {second} differ: {self.equal} tensors are the same, "
            f"{len(self.differing)} are not"
        )
        for pair in self.differing[:LISTED]:
            other = "" if pair.second == pair.first else f" ({pair.second} in the second)"
            yield f"  {pair.first}{other}: {pair.why}"
        if len(self.differing) > LISTED:
            yield f"  and {len(self.differing) - LISTED} more"
        for name, only in zip(self.names, (self.only_first, self.only_second), strict=True):
            if only:
                more = f" and {len(only) - LISTED} more" if len(only) > LISTED else ""
                yield f"  {name} alone has {', '.join(only[:LISTED])}{more}"


@dataclass(frozen=True)
class _Tensor:
    name: str
    value: np.ndarray
    rank: float  # its place in the model, from 0 to 1


@dataclass
class _Pairs:
    """Tensors that belong together, and those of either side that are left."""

    first: dict[str, _Tensor]
    second: dict[str, _Tensor]
    found: list[tuple[_Tensor, _Tensor]] = field(default_factory=list)

    def join(self, one: str, other: str) -> None:
        self.found.append((self.first.pop(one), self.second.pop(other)))


def weights(first: Any, second: Any) -> WeightsFinding:
    """Compare the weights of two models: those in memory, dictionaries of arrays, or files.

    Counters and seeds, which are whole numbers, are left out.

    Raises:
        UsageError: one of them has no weights.
        RosettaError: a file cannot be read.
    """
    pairs = _Pairs(_tensors(first), _tensors(second))
    is_one_layout = set(pairs.first) == set(pairs.second)
    order = {name: place for place, name in enumerate(pairs.first)}
    for name in [name for name in pairs.first if name in pairs.second]:
        pairs.join(name, name)
    _by_values(pairs)
    _by_likeness(pairs)
    pairs.found.sort(key=lambda pair: order[pair[0].name])
    usual = _usual_orders(pairs.found)
    differing = []
    for one, other in pairs.found:
        orders = {one.value.ndim: ((*range(one.value.ndim),),)} if is_one_layout else usual
        said = _difference(one, other, orders)
        if said is not None:
            differing.append(said)
    names = _name(first, "the first"), _name(second, "the second")
    if names[0] == names[1]:
        names = ("the first", "the second")
    same = {(pair.first, pair.second) for pair in differing}
    equal = [(a.name, b.name) for a, b in pairs.found if (a.name, b.name) not in same]
    return WeightsFinding(
        names=names,
        equal=len(equal),
        renamed=sum(one != other for one, other in equal),
        differing=tuple(differing),
        only_first=tuple(pairs.first),
        only_second=tuple(pairs.second),
    )


# ------------------------------------------------------------------ what belongs together


def _by_values(pairs: _Pairs) -> None:
    """Join what holds the same values, in whatever order; of several, the nearest in the model."""
    held: dict[tuple[int, str], list[_Tensor]] = defaultdict(list)
    for tensor in pairs.second.values():
        held[_key(tensor.value)].append(tensor)
    for tensor in list(pairs.first.values()):
        alike = held[_key(tensor.value)]
        if alike:
            nearest = min(alike, key=lambda other: abs(other.rank - tensor.rank))
            alike.remove(nearest)
            pairs.join(tensor.name, nearest.name)


def _key(value: np.ndarray) -> tuple[int, str]:
    """The same for tensors of the same values: their number, and a digest of them in order."""
    ordered = np.sort(value.astype(np.float64), None) + 0.0  # -0 is 0
    return value.size, hashlib.sha256(ordered.data.cast("B")).hexdigest()


def _by_likeness(pairs: _Pairs) -> None:
    """Join what has as many values, and nearly the same, at nearly the same place of the model."""
    marks = {
        id(tensor): np.quantile(tensor.value.astype(np.float64), QUANTILES)
        for side in (pairs.first, pairs.second)
        for tensor in side.values()
        if tensor.value.size
    }
    likely = []
    for one in pairs.first.values():
        for other in pairs.second.values():
            if one.value.size == other.value.size and one.value.size:
                gap = np.abs(marks[id(one)] - marks[id(other)]).mean()
                unlike = min(float(gap / (spread_of(one.value) or 1.0)), 1.0)
                likely.append((unlike + abs(one.rank - other.rank), one.name, other.name))
    for _, one_name, other_name in sorted(likely):
        if one_name in pairs.first and other_name in pairs.second:
            pairs.join(one_name, other_name)


# ------------------------------------------------------------------ whether they are the same


def _difference(
    one: _Tensor, other: _Tensor, orders: Mapping[int, Sequence[tuple[int, ...]]]
) -> TensorPair | None:
    """What two tensors that belong together differ in, if in anything."""
    first, second = _narrowed(one.value, other.value)
    turned = [first.transpose(order) for order in orders.get(first.ndim, ((*range(first.ndim),),))]
    turned = [value for value in turned if _fits(value.shape, second.shape)]
    if not turned:
        if _key(first) == _key(second):
            why = f"the same values in another order: {first.shape}, and {second.shape}"
            return TensorPair(one.name, other.name, float("inf"), why)
        shapes = f"its shape is {first.shape}, and {second.shape} in the second"
        return TensorPair(one.name, other.name, float("inf"), shapes)
    errors = [_error(value, second) for value in turned]
    if min(errors) == 0:
        return None
    if _key(first) == _key(second):
        return TensorPair(one.name, other.name, min(errors), "the same values in another order")
    said = f"differs by {min(errors):.1e} standard deviations"
    return TensorPair(one.name, other.name, min(errors), said)


def _narrowed(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in the narrower type of the two, as what was written with fewer digits is the same."""
    narrow = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    with np.errstate(over="ignore"):
        first, second = one.astype(narrow), other.astype(narrow)
    return first.astype(np.float64), second.astype(np.float64)


def _error(one: np.ndarray, other: np.ndarray) -> float:
    first, second = one.reshape(-1), other.reshape(-1)
    if np.array_equal(first, second, equal_nan=True):
        return 0.0
    with np.errstate(invalid="ignore"):
        rms = float(np.sqrt(np.mean(np.square(first - second))))
    spread = spread_of(one)
    return rms / spread if spread and np.isfinite(rms) else float("inf")


def _fits(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether shapes are those of one tensor: but for sides of 1, and for axes that are one axis.

    A dense kernel (64, 64) is (64, 8, 8) where its outputs are heads.  Sides that are exchanged do
    not fit: such values were reshaped and not transposed.
    """
    one, two = ([side for side in sides if side > 1] for sides in (shape, other))
    if len(one) == len(two):
        return one == two
    ends = [set(accumulate(sides, mul)) for sides in (one, two)]
    return bool(one and two) and (ends[0] <= ends[1] or ends[1] <= ends[0])


def _usual_orders(
    pairs: Sequence[tuple[_Tensor, _Tensor]],
) -> dict[int, tuple[tuple[int, ...], ...]]:
    """The orders of axes that explain two models: where all shapes that tell say one, only that.

    A square kernel fits in two orders; it is wrong in the one that no other kernel has.
    """
    told: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    for one, other in pairs:
        orders = ORDERS.get(one.value.ndim, ())
        fitting = [
            order
            for order in orders
            if _fits([one.value.shape[axis] for axis in order], other.value.shape)
        ]
        if len(fitting) == 1:
            told[one.value.ndim].add(fitting[0])
    return {
        axes: tuple(told[axes]) if len(told[axes]) == 1 else orders
        for axes, orders in ORDERS.items()
    }


# ------------------------------------------------------------------ where weights are


def _tensors(what: Any) -> dict[str, _Tensor]:
    """The weights of a model, a dictionary or a file, by name, in its order.

    Raises:
        UsageError: there are none.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, value in _named(what):
        if value.dtype.kind in KINDS:
            same = sum(other.partition(" ")[0] == name for other in arrays)
            arrays[f"{name} {same + 1}" if same else name] = value
    if not arrays:
        raise UsageError(f"{_name(what, 'this')} has no weights that could be compared")
    return {
        name: _Tensor(name, value, place / len(arrays))
        for place, (name, value) in enumerate(arrays.items())
    }


def _named(what: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a model, a dictionary or a file, by names that need not be unique."""
    if isinstance(what, str | Path):
        for name, tensor in formats.read(what).tensors.items():
            yield name, array_of(np.asarray(tensor))
        return
    state = getattr(what, "state_dict", None)
    state = state() if callable(state) else state
    if state is not None or isinstance(what, Mapping):
        yield from _in_dictionary(what if state is None else state)
    elif hasattr(getattr(what, "graph", None), "initializer"):
        from onnx import numpy_helper

        for one in what.graph.initializer:
            yield one.name, array_of(numpy_helper.to_array(one))
    else:
        # Keras's model, or TensorFlow's module.
        for place, variable in enumerate(
            getattr(what, "weights", None) or getattr(what, "variables", None) or ()
        ):
            said = getattr(variable, "path", None) or getattr(variable, "name", None)
            yield str(said or place), array_of(variable)


def _in_dictionary(state: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a dictionary, and of those in it, as JAX's libraries keep them."""
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from _in_dictionary(value, f"{prefix}{name}/")
        elif hasattr(value, "shape"):  # or else a version, or what a module keeps beside
            yield f"{prefix}{name}", array_of(value)


def _name(what: Any, otherwise: str) -> str:
    if isinstance(what, str | Path):
        return str(what)
    if isinstance(what, Mapping):
        return otherwise
    return str(getattr(what, "name", None) or type(what).__name__)
