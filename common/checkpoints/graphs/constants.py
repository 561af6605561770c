"""What is computed from constants alone, which exporters leave in a graph.

Only what they leave is known here, and nothing that draws random numbers.  Kernels stay in their
file: what changes no value but its place or its type is done when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats.lazy import LazyTensor
from ..formats.onnx_file import TYPES
from .graph import GraphError, Node

Array = NDArray[Any]
SMALL = 1 << 16  # values of an array that is computed at once
TOTAL = 1 << 24  # of all of them
NUMBERS = 64  # sizes, axes or places in one list; no tensor here has more than 8 axes
COST = 64  # operations behind a tensor that is computed when it is read

_ELEMENTWISE: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Neg": np.negative,
}
_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
_TYPED = ("Cast", "CastLike")
_SMALL_ONES = ("Shape", "ConstantOfShape", "Concat", "Slice", "Expand", "Gather")


@dataclass
class Constants:
    """The constants of a graph by name, to which those that are computed come."""

    tensors: dict[str, LazyTensor]
    costs: dict[str, int] = field(default_factory=dict)
    left: int = TOTAL

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def array(self, name: str) -> Array:
        """The values of a constant that is small.

        Raises:
            GraphError: it is not.
        """
        found = self.tensors[name]
        if math.prod(found.shape) > SMALL:
            raise GraphError(f"uses a constant of {math.prod(found.shape)} values as an axis")
        return found.read()

    def numbers(self, node: Node, position: int, attribute: str) -> list[int] | None:
        """Whole numbers that are an input of a node, or its attribute in older operator sets.

        None where they are neither given nor constant.
        """
        if attribute in node.attributes:
            return list(node.integers(attribute))
        name = node.inputs[position] if len(node.inputs) > position else ""
        return whole_numbers(self.array(name)) if name in self.tensors else None

    def take(self, node: Node) -> bool:
        """Compute a node, if it is of constants alone; say whether it was.

        Raises:
            GraphError: its constants do not fit it, or become more than any network has.
        """
        if node.domain or not node.outputs:
            return False
        if node.operation == "Constant":
            self.tensors[node.outputs[0]] = self._given(node)
            return True
        known = [name for name in node.inputs if name]
        # The type is that of another value, which may be any.
        needed = known[:1] if node.operation == "CastLike" else known
        if not needed or not all(name in self.tensors for name in needed):
            return False
        found = self._computed(node, [self.tensors[name] for name in needed])
        if found is None:
            return False
        cost = sum(self.costs.get(name, 0) for name in needed) + (node.operation != "Identity")
        if cost > COST:
            raise GraphError("computes its weights in too many steps")
        if node.operation not in _SMALL_ONES:
            self.costs[node.outputs[0]] = cost
        self.tensors[node.outputs[0]] = found
        return True

    def _given(self, node: Node) -> LazyTensor:
        """The value of a Constant, under whichever name it is."""
        value = next((v for k, v in node.attributes.items() if k.startswith("value")), None)
        if isinstance(value, LazyTensor):
            return replace(value, key=value.key or node.outputs[0])
        if value is None or isinstance(value, str):
            raise GraphError("has a constant that is no tensor")
        numbers = value if isinstance(value, tuple) else (value,)
        kind = np.int64 if all(isinstance(number, int) for number in numbers) else np.float32
        array = np.array(numbers, kind)
        return LazyTensor.of(
            node.outputs[0], array if isinstance(value, tuple) else array.reshape(())
        )

    def _computed(self, node: Node, tensors: list[LazyTensor]) -> LazyTensor | None:
        operation, first = node.operation, tensors[0]
        try:
            if operation == "Identity":
                return first
            if operation in _TYPED:
                return self._typed(node, first)
            if operation in _MOVES:
                return self._moved(node, first)
            if operation in _ELEMENTWISE and len(tensors) <= 2:
                return self._elementwise(node, tensors)
            if operation in _SMALL_ONES:
                return self._small(node)
        except (ValueError, IndexError, TypeError, OverflowError) as error:
            if isinstance(error, GraphError):
                raise
            raise GraphError(f"computes a {operation} of constants that do not fit it") from error
        return None

    def _typed(self, node: Node, tensor: LazyTensor) -> LazyTensor | None:
        if node.operation == "CastLike":
            like = self.tensors.get(node.inputs[1]) if len(node.inputs) > 1 else None
            return tensor if like is None else tensor.astype(like.dtype.name)
        kind = TYPES.get(node.integer("to"))
        return None if kind is None else tensor.astype(kind[0].name)

    def _moved(self, node: Node, tensor: LazyTensor) -> LazyTensor | None:
        shape = tensor.shape
        if node.operation == "Transpose":
            axes = node.integers("perm", tuple(reversed(range(len(shape)))))
            if sorted(axes) != list(range(len(shape))):
                raise GraphError("turns a constant by axes that it does not have")
            return tensor.transposed(axes)
        wanted = self._shape(node, shape)
        if wanted is None:
            return None
        if math.prod(wanted) != math.prod(shape) or min(wanted, default=1) < 0:
            raise GraphError(f"gives a constant of {shape} the shape {wanted}")
        return reshaped(tensor, wanted)

    def _shape(self, node: Node, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """The shape that a node gives a constant; None if that is not constant itself."""
        if node.operation == "Flatten":
            axis = node.integer("axis", 1)
            return (math.prod(shape[:axis]), math.prod(shape[axis:]))
        name = "shape" if node.operation == "Reshape" else "axes"
        numbers = self.numbers(node, 1, name)
        if node.operation == "Reshape":
            if numbers is None:
                return None
            wanted = [shape[i] if n == 0 else n for i, n in enumerate(numbers)]
            if wanted.count(-1) == 1:
                rest = math.prod(n for n in wanted if n != -1)
                wanted[wanted.index(-1)] = math.prod(shape) // rest if rest else 0
            return tuple(wanted)
        if node.operation == "Squeeze":
            places = {n % len(shape) for n in numbers} if numbers is not None else None
            return tuple(
                size
                for axis, size in enumerate(shape)
                if not (size == 1 if places is None else axis in places)
            )
        if numbers is None:
            return None
        wanted = list(shape)
        rank = len(shape) + len(numbers)
        for axis in sorted(n % rank for n in numbers):
            wanted.insert(axis, 1)
        return tuple(wanted)

    def _elementwise(self, node: Node, tensors: list[LazyTensor]) -> LazyTensor | None:
        """One that is computed when it is read, of no more values than the larger of its inputs."""
        if any(tensor.dtype.kind not in "iuf" for tensor in tensors):
            return None
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
        if math.prod(shape) > max(SMALL, *(math.prod(tensor.shape) for tensor in tensors)):
            raise GraphError("multiplies constants into one that is larger than each of them")
        function = _ELEMENTWISE[node.operation]
        if node.operation == "Div" and all(tensor.dtype.kind in "iu" for tensor in tensors):
            function = np.floor_divide
        kind = np.result_type(*(tensor.dtype for tensor in tensors))

        def load() -> Array:
            with np.errstate(all="ignore"):
                return np.asarray(function(*(tensor.read() for tensor in tensors))).astype(kind)

        largest = max(tensors, key=lambda tensor: math.prod(tensor.shape))
        return LazyTensor(largest.key, tuple(shape), kind, load)

    def _small(self, node: Node) -> LazyTensor | None:
        if node.operation == "Shape":
            shape = self.tensors[node.inputs[0]].shape
            first, last = node.integer("start"), node.integer("end", len(shape))
            return LazyTensor.of(node.outputs[0], np.array(shape[first:last], np.int64))
        wanted = _SIZES[node.operation](node, self.array)
        self.left -= wanted
        if not 0 <= wanted <= SMALL or self.left < 0:
            raise GraphError("computes constants that are larger than those of any network")
        array = _FUNCTIONS[node.operation](node, self.array)
        return LazyTensor.of(node.outputs[0], np.ascontiguousarray(array))


def whole_numbers(array: Array) -> list[int]:
    """The numbers of a short list, of which nodes may ask for the same one again and again.

    Raises:
        GraphError: it is a long one.
    """
    if array.size > NUMBERS:
        raise GraphError(f"uses {array.size} numbers where sizes or axes should be")
    return [int(number) for number in array.ravel()]


def reshaped(tensor: LazyTensor, shape: tuple[int, ...]) -> LazyTensor:
    """The same values in another shape, which is done when they are read."""
    return replace(tensor, shape=shape, read=lambda: tensor.read().reshape(shape))


# ------------------------------------------------------------------ the small ones

Read = Callable[[str], Array]


def _target(node: Node, read: Read, position: int) -> list[int]:
    return whole_numbers(read(node.inputs[position]))


def _expanded(node: Node, read: Read) -> tuple[int, ...]:
    shape = tuple(_target(node, read, 1))
    if len(shape) > 8 or min(shape, default=1) < 0 or math.prod(shape) > SMALL:
        raise GraphError("computes constants that are larger than those of any network")
    return np.broadcast_shapes(read(node.inputs[0]).shape, shape)


def _filled(node: Node, read: Read) -> Array:
    value = node.attributes.get("value")
    one = value.read().ravel()[:1] if isinstance(value, LazyTensor) else np.zeros(1, np.float32)
    return np.full(_target(node, read, 0), one[0], one.dtype)


def _slices(node: Node, read: Read) -> Array:
    array = read(node.inputs[0])
    names = ("starts", "ends", "axes", "steps")
    given: dict[str, list[int]] = {}
    for position, name in enumerate(names, 1):
        if name in node.attributes:
            given[name] = list(node.integers(name))
        elif len(node.inputs) > position and node.inputs[position]:
            given[name] = _target(node, read, position)
    count = len(given["starts"])
    axes, steps = given.get("axes", list(range(count))), given.get("steps", [1] * count)
    places = [slice(None)] * array.ndim
    for axis, start, end, step in zip(axes, given["starts"], given["ends"], steps, strict=True):
        # From behind, an end before the first value is written as a number below all of them.
        stop = None if step < 0 and end < -array.shape[axis] else end
        places[axis] = slice(start, stop, step)
    return np.asarray(array[tuple(places)])


_SIZES: Mapping[str, Callable[[Node, Read], int]] = {
    "ConstantOfShape": lambda node, read: math.prod(_target(node, read, 0)),
    "Concat": lambda node, read: sum(read(name).size for name in node.inputs),
    "Slice": lambda node, read: read(node.inputs[0]).size,
    "Expand": lambda node, read: math.prod(_expanded(node, read)),
    "Gather": lambda node, read: read(node.inputs[0]).size * read(node.inputs[1]).size,
}
_FUNCTIONS: Mapping[str, Callable[[Node, Read], Array]] = {
    "ConstantOfShape": _filled,
    "Concat": lambda node, read: np.concatenate(
        [read(name) for name in node.inputs], node.integer("axis")
    ),
    "Slice": _slices,
    "Expand": lambda node, read: np.broadcast_to(read(node.inputs[0]), _expanded(node, read)),
    "Gather": lambda node, read: np.take(
        read(node.inputs[0]), read(node.inputs[1]), node.integer("axis")
    ),
}
