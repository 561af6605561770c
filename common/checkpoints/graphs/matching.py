"""Holding the values of a graph against the description of a network, operation by operation.

It goes from the output to the image.  A network is found where everything that its description
says is what the graph computes: kernels, strides, groups, activations, gates, sums and poolings.
Nothing is known by a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...network import (
    Activation,
    Gate,
    Layer,
    MapSection,
    MaxPool,
    Network,
    Operation,
    Section,
    Size,
)
from .values import Linear, Step, Value, Window


class MismatchError(Exception):
    """A graph does not compute a network; the text says where, and what is there instead."""


@dataclass(frozen=True)
class Found:
    """The layer of a graph that a layer of a network is: what it computes, and what follows it.

    `norm` is the network's batch norm after it, if there is one.
    """

    layer: Layer
    linear: Linear
    steps: tuple[Step, ...]
    norm: Layer | None


@dataclass(frozen=True)
class Strided:
    """A window that moves by more than one pixel, or none, over a map of a known size."""

    role: str
    kernel: int
    stride: int
    padded: bool
    size: Size
    window: Linear | Window
    kind: str  # of layer, or "max_pool"


@dataclass
class Matched:
    """What was found of a network in a graph, the last layer first."""

    network: Network
    layers: list[Found] = field(default_factory=list)
    windows: list[Strided] = field(default_factory=list)
    image: Value | None = None


@dataclass
class Matching:
    """A network on its way through a graph."""

    matched: Matched
    section: Section

    def back(self, operations: Iterable[Operation], value: Value) -> Value:
        """What operations are computed from, of which a value is the result.

        Raises:
            MismatchError: it is the result of others.
        """
        norm: Layer | None = None
        for operation in reversed(tuple(operations)):
            if isinstance(operation, Activation):
                value = self.expected(value, operation.function, f"a {operation.function}")
            elif isinstance(operation, MaxPool):
                value = self.pooled(operation, value)
            elif isinstance(operation, Gate):
                value = self.gated(operation, value)
            elif operation.kind == "batch_norm":
                norm = operation
            else:
                value = self.layer(operation, norm, value)
                norm = None
        return value

    def expected(self, value: Value, kind: str, what: str) -> Value:
        """What an operation of a kind takes, if a value is the result of one and of nothing else.

        Raises:
            MismatchError: it is not.
        """
        if value.kind != kind or value.steps:
            raise self.mismatch(what, value)
        return value.of[0]

    def mismatch(self, what: str, value: Value) -> MismatchError:
        after = " with arithmetic after it" if value.steps and value.kind != "linear" else ""
        if value.kind == "other" and value.cause is not None:
            after += f" after another kind of {value.cause}"
        return MismatchError(f"{self.section.role} should be {what}, and is {value}{after}")

    def layer(self, layer: Layer, norm: Layer | None, value: Value) -> Value:
        """What a layer takes."""
        linear = value.linear
        shape = layer.tensors[f"{layer.role}.weight"]
        shown = ", ".join(map(str, shape))
        if value.kind != "linear" or linear is None:
            raise self.mismatch(f"a layer of ({shown})", value)
        groups = layer.in_channels if layer.kind == "depthwise_conv" else 1
        if not _fits(linear.weight.shape, shape) or linear.groups != groups:
            raise self.mismatch(f"a layer of ({shown})", value)
        if linear.strides != (layer.stride, layer.stride):
            strides = " x ".join(map(str, linear.strides))
            raise MismatchError(
                f"{layer.role} should have the stride {layer.stride}, and has {strides}"
            )
        if layer.kernel > 1:
            self.window(layer.role, layer.kernel, layer.stride, layer.padded, linear, layer.kind)
        elif linear.pads not in ((0, 0, 0, 0), "same"):
            raise MismatchError(f"{layer.role} has a border, and should have none")
        self.matched.layers.append(Found(layer, linear, value.steps, norm))
        return value.of[0]

    def window(
        self,
        role: str,
        kernel: int,
        stride: int,
        padded: bool,
        window: Linear | Window,
        kind: str,
    ) -> None:
        size = self.section.input_size if isinstance(self.section, MapSection) else (1, 1)
        found = Strided(role, kernel, stride, padded, size, window, kind)
        self.matched.windows.append(found)

    def means(self, value: Value) -> Value:
        """The map of which a value is the means."""
        before = self.expected(value, "mean", "made from means")
        if not value.is_pooled:
            raise MismatchError("the features are means over a part of each map")
        return before

    def pooled(self, pool: MaxPool, value: Value) -> Value:
        """What a pooling by the largest value takes."""
        window = value.window
        before = self.expected(value, "max", "a pooling by the largest value")
        kernel, stride = (pool.kernel, pool.kernel), (pool.stride, pool.stride)
        if window is None or (window.kernel, window.strides) != (kernel, stride):
            raise MismatchError(f"{self.section.role} has a pooling of another size or stride")
        role = f"{self.section.role} pooling"
        self.window(role, pool.kernel, pool.stride, True, window, "max_pool")
        return before

    def gated(self, gate: Gate, value: Value) -> Value:
        """What a gate weighs, if what it weighs it by is computed from the same."""
        if value.kind != "gate" or value.steps:
            raise self.mismatch("a gate", value)
        weighed, sigmoid = value.of
        expanded = self.expected(sigmoid, "sigmoid", "a gate by a sigmoid")
        squeezed = self.expected(
            self.layer(gate.expand, None, expanded), "swish", "a gate with a swish in it"
        )
        mean = self.layer(gate.reduce, None, squeezed)
        if not mean.is_pooled or not self.expected(mean, "mean", "a gate by means").same(weighed):
            raise MismatchError(f"{self.section.role} is weighed by the means of another map")
        return weighed

    def whole(self, value: Value) -> Value:
        """What the section takes, of which a value is the result."""
        section = self.section
        if section.shortcut is None:
            return self.back(section.path, value)
        if value.kind != "sum" or value.steps:
            raise self.mismatch("a sum", value)
        kept = len(self.matched.layers), len(self.matched.windows)
        failures: list[tuple[int, MismatchError]] = []
        for path, shortcut in (value.of, value.of[::-1]):
            try:
                # From the end: the layers of the shortcut are the last of the section.
                beside = self.back(section.shortcut, shortcut)
                before = self.back(section.path, path)
                if not before.same(beside):
                    raise MismatchError(f"{section.role} adds what is not its own input")
                return before
            except MismatchError as failure:
                failures.append((len(self.matched.layers), failure))
                del self.matched.layers[kept[0] :], self.matched.windows[kept[1] :]
        raise max(failures, key=lambda pair: pair[0])[1]


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether shapes are the same but for axes of one place at their ends."""
    longest = max(len(found), len(wanted))
    filled = [(*shape, *(1,) * (longest - len(shape))) for shape in (found, wanted)]
    return filled[0] == filled[1]


def match(network: Network, value: Value, progress: list[int] | None = None) -> Matched:
    """The layers of a network in the graph that computes a value, in forward order.

    The first of `progress` becomes how many layers were found, whatever comes of it.

    Raises:
        MismatchError: the value is not the output of the network.
    """
    matched = Matched(network)
    try:
        if network.classifier is None and value.kind == "mean":
            value = Matching(matched, network.sections[-1]).means(value)
        for section in reversed(network.sections):
            matching = Matching(matched, section)
            value = matching.whole(value)
            if section is network.classifier:
                value = matching.means(value)
        if value.kind != "input":
            raise MismatchError(f"{network.sections[0].role} is of {value}, and not of the image")
    finally:
        if progress is not None:
            progress[:] = [len(matched.layers)]
    matched.image = value
    matched.layers.reverse()
    matched.windows.reverse()
    return matched
