"""Operations with weights, and those with a window: what they are in the words of networks."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import replace

from ..formats.lazy import LazyTensor
from .constants import reshaped
from .graph import Node
from .values import (
    COMPUTED,
    NO_PADS,
    SAME,
    Axes,
    Linear,
    Pads,
    Step,
    Value,
    Window,
)
from .walk import Walk


def convolution(walk: Walk, node: Node) -> Value | None:
    """A convolution, with the border in front of it and its bias."""
    given, weight = walk.first(node), walk.tensor(node, 1)
    if given is None or weight is None or len(weight.shape) != 4:
        return None
    if any(rate != 1 for rate in node.integers("dilations")):
        return None
    base, axes, pads = _bordered(walk, node, given, 0.0)
    if "C" in axes and axes.index("C") != (3 if walk.graph.channels_last else 1):
        return None
    kernel = node.integers("kernel_shape", weight.shape[2:])
    if pads is None or len(axes) not in (0, 4) or kernel != weight.shape[2:]:
        return None
    linear = Linear(
        weight,
        _pair(node.integers("strides", (1, 1))),
        node.integer("group", 1),
        pads,
        axes,
    )
    result = "NHWC" if walk.graph.channels_last else "NCHW"
    if base.is_pooled:
        result = result.replace("H", "1").replace("W", "1")
    found: Value | None = walk.new(
        "linear",
        node.title,
        base,
        key=(linear.strides, linear.groups, linear.pads, *_key(weight, node.inputs[1])),
        axes=result,
        channels=weight.shape[0],
        linear=linear,
    )
    return _biased(walk, node, found, 2)


def _key(weight: LazyTensor, name: str) -> tuple[Hashable, ...]:
    return (name, weight.shape)


def _biased(walk: Walk, node: Node, found: Value | None, position: int) -> Value | None:
    bias = walk.tensor(node, position)
    if found is None or len(node.inputs) <= position or not node.inputs[position]:
        return found
    if bias is None or bias.shape not in ((found.channels,), (1, found.channels)):
        return None
    # Along the channels, wherever they are.
    vector = reshaped(bias, (found.channels,))
    step = Step("add", (vector,), "C")
    identity = walk.identities.setdefault(
        ("bias", found.identity, node.inputs[position]), len(walk.identities)
    )
    return replace(found, identity=identity, steps=(step,))


def _bordered(walk: Walk, node: Node, value: Value, fill: float) -> tuple[Value, Axes, Pads | None]:
    """What a window goes over, its axes there, and the border around it, which may be a node's."""
    axes, own = value.axes, _own_pads(node)
    # A border that arithmetic comes after is none of zeros any more.
    if value.kind != "pad" or value.steps or own is None:
        return value, axes, own
    base = value.of[0]
    if value.pads is None:
        return base, axes, COMPUTED if own == NO_PADS and value.fill == fill else None
    height, width = (1, 2) if walk.graph.channels_last else (2, 3)
    if len(value.pads) != 4 or isinstance(own, str):
        return base, axes, None
    others = [pair for axis, pair in enumerate(value.pads) if axis not in (height, width)]
    if any(pair != (0, 0) for pair in others) or min(min(pair) for pair in value.pads) < 0:
        return base, axes, None
    (top, bottom), (left, right) = value.pads[height], value.pads[width]
    if (top, left, bottom, right) != NO_PADS and value.fill != fill:
        return base, axes, None
    inner = zip(own, (top, left, bottom, right), strict=True)
    return base, axes, tuple(a + b for a, b in inner)


def _own_pads(node: Node) -> Pads | None:
    rule = node.text("auto_pad", "NOTSET")
    if rule == "SAME_UPPER":
        return SAME
    if rule not in ("NOTSET", "VALID"):
        return None
    pads = node.integers("pads", NO_PADS) if rule == "NOTSET" else NO_PADS
    return pads if len(pads) == 4 else None


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)


def gemm(walk: Walk, node: Node) -> Value | None:
    """A dense layer with its bias."""
    weight = walk.tensor(node, 1)
    plain = node.number("alpha", 1.0) == node.number("beta", 1.0) == 1.0
    if weight is None or not plain or node.integer("transA"):
        return None
    found = _dense(walk, node, weight if node.integer("transB") else _turned(weight))
    return _biased(walk, node, found, 2)


def matmul(walk: Walk, node: Node) -> Value | None:
    """A dense layer."""
    weight = walk.tensor(node, 1)
    return None if weight is None else _dense(walk, node, _turned(weight))


def _turned(weight: LazyTensor) -> LazyTensor:
    return weight.transposed((1, 0)) if len(weight.shape) == 2 else weight


def _dense(walk: Walk, node: Node, weight: LazyTensor) -> Value | None:
    given = walk.first(node)
    if given is None or len(weight.shape) != 2:
        return None
    if given.axes and given.axes[-1] != "C":
        return None
    return walk.new(
        "linear",
        node.title,
        given,
        key=_key(weight, node.inputs[1]),
        axes=given.axes,
        channels=weight.shape[0],
        linear=Linear(weight),
    )


def norm(walk: Walk, node: Node) -> Value | None:
    """A batch norm, which becomes a step after what it is of."""
    given = walk.first(node)
    tensors = [walk.tensor(node, position) for position in range(1, 5)]
    if given is None or None in tensors:
        return None
    kept = tuple(tensor for tensor in tensors if tensor is not None)
    shapes = {tensor.shape for tensor in kept}
    if len(shapes) != 1 or (given.channels and shapes != {(given.channels,)}):
        return None
    epsilon = float(node.number("epsilon", 1e-5))
    return walk.followed(given, Step("norm", kept, given.axes, epsilon), node.outputs[0])


def max_pool(walk: Walk, node: Node) -> Value | None:
    """A pooling by the largest value, with the border in front of it."""
    given = walk.first(node)
    if given is None or any(rate != 1 for rate in node.integers("dilations")):
        return None
    base, _, pads = _bordered(walk, node, given, -math.inf)
    if pads is None:
        return None
    window = Window(
        _pair(node.integers("kernel_shape")),
        _pair(node.integers("strides", (1, 1))),
        pads,
        bool(node.integer("ceil_mode")),
    )
    return walk.new(
        "max", node.title, base, key=window, axes=base.axes, channels=base.channels, window=window
    )


def pad(walk: Walk, node: Node) -> Value | None:
    """A border around maps, which the window after it takes in."""
    given = walk.first(node)
    if given is None or node.text("mode", "constant") != "constant":
        return None
    if len(node.inputs) > 3 and node.inputs[3]:
        return None
    value = walk.tensor(node, 2)
    fill = float(node.number("value", 0.0))
    if value is not None:
        fill = float(walk.constants.array(node.inputs[2]).ravel()[0])
    # The lowest number of the type is as good as what is below all numbers.
    fill = -math.inf if fill < -1e4 else fill
    numbers = walk.constants.numbers(node, 1, "pads")
    pads = None
    if numbers is not None:
        half = len(numbers) // 2
        pads = tuple(zip(numbers[:half], numbers[half:], strict=False))
        if given.axes and len(pads) != len(given.axes):
            return None
    return walk.new(
        "pad",
        node.title,
        given,
        key=(pads, fill, *node.inputs[1:2]),
        axes=given.axes,
        channels=given.channels,
        pads=pads,
        fill=fill,
    )
