"""From the operations of a graph to values in the words of networks, without looking at names."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..formats.lazy import LazyTensor
from .constants import Constants, whole_numbers
from .graph import Graph, GraphError, Node
from .values import UNKNOWN, UNRESOLVED, Step, Value

STEPS_LIMIT = 16  # of arithmetic after an operation
Function = Callable[["Walk", Node], Value | None]


@dataclass
class Walk:
    """The values of a graph by name, as its operations are gone through in their order."""

    graph: Graph
    functions: Mapping[tuple[str, str], Function]
    constants: Constants = field(init=False)
    values: dict[str, Value] = field(init=False)
    identities: dict[Hashable, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = Constants(dict(self.graph.constants))
        self.values = {}
        for name, shape in self.graph.inputs.items():
            axes = UNRESOLVED if len(shape) == len(UNRESOLVED) else UNKNOWN
            self.values[name] = self.new("input", name, axes=axes, key=name)
        for node in self.graph.nodes:
            if not self.constants.take(node):
                self.step(node)

    # -------------------------------------------------------------- values

    def new(self, kind: str, name: str, *of: Value, key: Hashable = None, **fields: Any) -> Value:
        """A value, which is the same as an earlier one if the same was computed of the same."""
        known = (kind, key, *((value.identity, value.axes) for value in of))
        identity = self.identities.setdefault(known, len(self.identities))
        unknown = [value.cause or value for value in of if value.cause or value.kind == "other"]
        cause = min(unknown, key=lambda value: value.identity, default=None)
        return Value(kind, identity, name, of, cause, **fields)

    def put(self, node: Node, value: Value) -> None:
        self.values[node.outputs[0]] = value

    def step(self, node: Node) -> None:
        """Give the outputs of an operation their values."""
        given = [self.values[name] for name in node.inputs if name in self.values]
        if not given or not node.outputs or not node.outputs[0]:
            # Of something that is not known, such as an operation that has no inputs.
            self.unknown(node, given)
            return
        if node.operation == "Shape" or all(value.kind == "shape" for value in given):
            sizes = self.joined(node)
            for output in filter(None, node.outputs):
                self.values[output] = self.new("shape", node.title, key=output, sizes=sizes)
            return
        function = self.functions.get((node.domain, node.operation))
        found = function(self, node) if function else None
        if found is None:
            self.unknown(node, given)
        else:
            self.put(node, found)

    def joined(self, node: Node) -> tuple[int | None, ...] | None:
        """The sizes that are put together to a shape, of which those of the batch are not known."""
        if node.operation not in ("Concat", "Pack"):
            return None
        sizes: list[int | None] = []
        for name in node.inputs:
            sizes += whole_numbers(self.constants.array(name)) if name in self.constants else [None]
            if len(sizes) > len(UNRESOLVED):
                return None
        return tuple(sizes)

    def unknown(self, node: Node, given: list[Value]) -> None:
        """What no network of ours has; whether that matters is seen where it is needed."""
        for output in filter(None, node.outputs):
            self.values[output] = self.new("other", node.title, *given[:2], key=output)

    def first(self, node: Node) -> Value | None:
        """The value that an operation is of, if it is one."""
        return self.values.get(node.inputs[0])

    def tensor(self, node: Node, position: int) -> LazyTensor | None:
        """The constant that is an input of an operation, if it is one of floats."""
        name = node.inputs[position] if len(node.inputs) > position else ""
        found = self.constants.tensors.get(name)
        return found if found is not None and found.is_float else None

    def followed(self, value: Value, step: Step, name: str) -> Value | None:
        """A value after arithmetic with a constant, if that is of one number a channel."""
        if len(value.steps) == STEPS_LIMIT:
            raise GraphError("has too much arithmetic with constants after one operation")
        if step.kind != "norm" and not _by_channel(step.tensors[0].shape, value):
            return None
        steps = (*value.steps, step)
        # Not by their contents: two additions of equal numbers count as two.
        identity = self.identities.setdefault(("step", name), len(self.identities))
        return replace(value, identity=identity, steps=steps)


def _by_channel(shape: tuple[int, ...], value: Value) -> bool:
    """Whether an array of a shape has one number for all channels, or for each."""
    if math.prod(shape) == 1:
        return True
    axes = value.axes[-len(shape) :] if value.axes else UNKNOWN
    if axes and len(axes) < len(shape):
        return False
    if axes and not set(axes) & set(UNRESOLVED):
        wanted = [value.channels if axis == "C" else 1 for axis in axes]
        return list(shape) == wanted
    return sum(size > 1 for size in shape) == 1 and (
        not value.channels or max(shape) == value.channels
    )
