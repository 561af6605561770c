"""From the operations of a graph to values in the words of networks, without looking at names."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..formats.lazy import LazyTensor
from .constants import Constants, reshaped
from .graph import MICROSOFT, Graph, GraphError, Node
from .values import (
    COMPUTED,
    NO_PADS,
    SAME,
    UNKNOWN,
    UNRESOLVED,
    Axes,
    Linear,
    Pads,
    Step,
    Value,
    Window,
)

STEPS_LIMIT = 16  # of arithmetic after an operation
AXES_AS_ATTRIBUTE_LIMIT = 8
# What hands on its first input in inference.
PASSED_ON = ("Identity", "Cast", "CastLike", "Dropout")
ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
SWISH_ALPHA = 1e-6  # how near to 1 the factor of QuickGelu must be


@dataclass
class Walk:
    """The values of a graph by name, as its operations are gone through in their order."""

    graph: Graph
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

    def new(
        self, kind: str, name: str, *of: Value, key: Hashable = None, **fields: Any
    ) -> Value:
        """A value, which is the same as an earlier one if the same was computed of the same."""
        known = (kind, key, *((value.identity, value.axes) for value in of))
        identity = self.identities.setdefault(known, len(self.identities))
        return Value(kind, identity, name, of, **fields)

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
        function = FUNCTIONS.get((node.domain, node.operation))
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
            known = self.constants.array(name).ravel() if name in self.constants else [None]
            sizes += [None if size is None else int(size) for size in known]
        return tuple(sizes)

    def unknown(self, node: Node, given: list[Value]) -> None:
        """What no network of ours has; whether that matters is seen where it is needed."""
        for output in filter(None, node.outputs):
            self.values[output] = self.new("other", node.title, *given[:2], key=output)

    def first(self, node: Node) -> Value | None:
        """The value that an operation is of, if it is one."""
        return self.values.get(node.inputs[0])

    def tensor(self, node: Node, position: int) -> LazyTensor | None:
        """The constant that is an input of an operation."""
        name = node.inputs[position] if len(node.inputs) > position else ""
        return self.constants.tensors.get(name)

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


# ------------------------------------------------------------------ layers


def _conv(walk: Walk, node: Node) -> Value | None:
    given, weight = walk.first(node), walk.tensor(node, 1)
    if given is None or weight is None or len(weight.shape) != 4:
        return None
    if any(rate != 1 for rate in node.attributes.get("dilations", ())):
        return None
    base, axes, pads = _bordered(walk, node, given, 0.0)
    if "C" in axes and axes.index("C") != (3 if walk.graph.channels_last else 1):
        return None
    kernel = node.attributes.get("kernel_shape", weight.shape[2:])
    if pads is None or len(axes) not in (0, 4) or tuple(kernel) != weight.shape[2:]:
        return None
    linear = Linear(
        weight,
        _pair(node.attributes.get("strides", (1, 1))),
        int(node.attributes.get("group", 1)),
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


def _bordered(
    walk: Walk, node: Node, value: Value, fill: float
) -> tuple[Value, Axes, Pads | None]:
    """What a window goes over, its axes there, and the border around it, which may be a node's."""
    axes, own = value.axes, _own_pads(node)
    if value.kind != "pad" or own is None:
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
    return base, axes, tuple(a + b for a, b in inner)  # type: ignore[return-value]


def _own_pads(node: Node) -> Pads | None:
    rule = node.attributes.get("auto_pad", "NOTSET")
    if rule == "SAME_UPPER":
        return SAME
    if rule not in ("NOTSET", "VALID"):
        return None
    pads = node.attributes.get("pads", NO_PADS) if rule == "NOTSET" else NO_PADS
    return tuple(pads) if len(pads) == 4 else None  # type: ignore[return-value]


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)


def _gemm(walk: Walk, node: Node) -> Value | None:
    weight, attributes = walk.tensor(node, 1), node.attributes
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
    if weight is None or not plain or attributes.get("transA", 0):
        return None
    found = _dense(walk, node, weight if attributes.get("transB", 0) else _turned(weight))
    return _biased(walk, node, found, 2)


def _matmul(walk: Walk, node: Node) -> Value | None:
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


def _norm(walk: Walk, node: Node) -> Value | None:
    given = walk.first(node)
    tensors = [walk.tensor(node, position) for position in range(1, 5)]
    if given is None or None in tensors:
        return None
    kept = tuple(tensor for tensor in tensors if tensor is not None)
    shapes = {tensor.shape for tensor in kept}
    if len(shapes) != 1 or (given.channels and shapes != {(given.channels,)}):
        return None
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return walk.followed(given, Step("norm", kept, given.axes, epsilon), node.outputs[0])


# ------------------------------------------------------------------ between layers


def _arithmetic(walk: Walk, node: Node) -> Value | None:
    if len(node.inputs) != 2:
        return None
    one, two = (walk.values.get(name) for name in node.inputs)
    constant = [name for name in node.inputs if name in walk.constants]
    if one is not None and two is not None:
        if node.operation == "Add":
            return _sum(walk, node, one, two)
        return _product(walk, node, one, two) if node.operation == "Mul" else None
    value = one or two
    if value is None or not constant:
        return None
    if node.operation in ("Sub", "Div") and value is two:
        return None
    step = Step(ARITHMETIC[node.operation], (walk.constants.tensors[constant[0]],), value.axes)
    return walk.followed(value, step, node.outputs[0])


def _sum(walk: Walk, node: Node, one: Value, two: Value) -> Value | None:
    if one.axes != two.axes or one.channels != two.channels:
        return None
    return walk.new("sum", node.title, one, two, axes=one.axes, channels=one.channels)


def _product(walk: Walk, node: Node, one: Value, two: Value) -> Value | None:
    """Swish, if one is the sigmoid of the other, or a gate, if one is a sigmoid and pooled."""
    for value, sigmoid in ((one, two), (two, one)):
        if sigmoid.kind == "sigmoid" and not sigmoid.steps and sigmoid.of[0].same(value):
            return _activation("swish")(walk, node, value)
    for value, sigmoid in ((one, two), (two, one)):
        aligned = not value.axes or not sigmoid.axes or _aligned(value.axes, sigmoid.axes)
        if sigmoid.kind == "sigmoid" and sigmoid.is_pooled and aligned:
            return walk.new(
                "gate", node.title, value, sigmoid, axes=value.axes, channels=value.channels
            )
    return None


def _aligned(axes: Axes, pooled: Axes) -> bool:
    return len(axes) == len(pooled) and axes.find("C") == pooled.find("C")


def _activation(kind: str) -> Callable[..., Value | None]:
    def found(walk: Walk, node: Node, given: Value | None = None) -> Value | None:
        value = given or walk.first(node)
        if value is None:
            return None
        return walk.new(kind, node.title, value, axes=value.axes, channels=value.channels)

    return found


def _quick_gelu(walk: Walk, node: Node) -> Value | None:
    alpha = float(node.attributes.get("alpha", 1.702))
    return _activation("swish")(walk, node) if abs(alpha - 1) < SWISH_ALPHA else None


def _one_alpha(walk: Walk, node: Node) -> Value | None:
    alpha = float(node.attributes.get("alpha", 1.0))
    return _activation("swish")(walk, node) if alpha == 1 else None


def _fused(walk: Walk, node: Node) -> Value | None:
    """onnxruntime's convolution with a sum and an activation in it."""
    kind = {"Relu": "relu", "Sigmoid": "sigmoid"}.get(str(node.attributes.get("activation")))
    plain = replace(node, inputs=node.inputs[:3])
    value = _conv(walk, plain)
    if value is None or kind is None:
        return None
    if len(node.inputs) > 3 and node.inputs[3]:
        beside = walk.values.get(node.inputs[3])
        value = None if beside is None else _sum(walk, node, value, beside)
    return None if value is None else _activation(kind)(walk, node, value)


def _max_pool(walk: Walk, node: Node) -> Value | None:
    given, attributes = walk.first(node), node.attributes
    if given is None or any(rate != 1 for rate in attributes.get("dilations", ())):
        return None
    base, _, pads = _bordered(walk, node, given, -math.inf)
    if pads is None:
        return None
    window = Window(
        _pair(attributes.get("kernel_shape", ())),
        _pair(attributes.get("strides", (1, 1))),
        pads,
        bool(attributes.get("ceil_mode", 0)),
    )
    return walk.new(
        "max", node.title, base, key=window, axes=base.axes, channels=base.channels, window=window
    )


def _pad(walk: Walk, node: Node) -> Value | None:
    given = walk.first(node)
    if given is None or node.attributes.get("mode", "constant") != "constant":
        return None
    if len(node.inputs) > 3 and node.inputs[3]:
        return None
    value = walk.tensor(node, 2)
    fill = float(node.attributes.get("value", 0.0))
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


# ------------------------------------------------------------------ axes


def _mean(walk: Walk, node: Node) -> Value | None:
    given = walk.first(node)
    if given is None or not given.axes:
        return None
    places = walk.constants.numbers(node, 1, "axes")
    if node.operation == "GlobalAveragePool":
        places = list(range(2, len(given.axes)))
    if places is None:
        return None
    taken = {place % len(given.axes) for place in places}
    if any(given.axes[place] not in "HW1" for place in taken):
        return None
    kept = node.operation == "GlobalAveragePool" or node.attributes.get("keepdims", 1)
    axes = "".join(
        ("1" if kept else "") if place in taken else axis
        for place, axis in enumerate(given.axes)
    )
    base = given.of[0] if given.kind == "mean" and not given.steps else given
    # The order in which axes are taken changes nothing but the rounding.
    left = "".join(sorted(axis for axis in axes if axis in "HW"))
    return walk.new("mean", node.title, base, key=left, axes=axes, channels=given.channels)


def _transposed(walk: Walk, node: Node) -> Value | None:
    given, turn = walk.first(node), node.attributes.get("perm", ())
    if given is None or sorted(turn) != list(range(len(given.axes))) or not turn:
        return None
    pads = None if given.pads is None else tuple(given.pads[axis] for axis in turn)
    return replace(given, axes="".join(given.axes[axis] for axis in turn), pads=pads)


def _flattened(walk: Walk, node: Node) -> Value | None:
    given = walk.first(node)
    if given is None or not given.is_pooled or int(node.attributes.get("axis", 1)) != 1:
        return None
    return given.along("NC") if given.axes[:1] == "N" else None


def _squeezed(walk: Walk, node: Node) -> Value | None:
    given = walk.first(node)
    places = walk.constants.numbers(node, 1, "axes")
    if given is None or not given.axes or places is None:
        return None
    taken = {place % len(given.axes) for place in places}
    if any(given.axes[place] != "1" for place in taken):
        return None
    return given.along("".join(axis for i, axis in enumerate(given.axes) if i not in taken))


def _unsqueezed(walk: Walk, node: Node) -> Value | None:
    given = walk.first(node)
    places = walk.constants.numbers(node, 1, "axes")
    if given is None or not given.axes or places is None:
        return None
    axes = list(given.axes)
    rank = len(axes) + len(places)
    if rank > AXES_AS_ATTRIBUTE_LIMIT:
        return None
    for place in sorted(place % rank for place in places):
        axes.insert(place, "1")
    return given.along("".join(axes))


def _reshaped(walk: Walk, node: Node) -> Value | None:
    """Another shape of a value with one number a channel, which are what it is found by."""
    given = walk.first(node)
    if given is None or not given.is_pooled:
        return None
    sizes: Sequence[int | None] | None = walk.constants.numbers(node, 1, "shape")
    if sizes is None and len(node.inputs) > 1 and node.inputs[1] in walk.values:
        sizes = walk.values[node.inputs[1]].sizes
    if sizes is None:
        return given.along(UNKNOWN)
    if not 2 <= len(sizes) <= 4:
        return None
    places = [place for place, size in enumerate(sizes) if place and size == given.channels]
    open_ones = [place for place, size in enumerate(sizes) if place and size == -1]
    places = (places or open_ones)[:1]
    if not places:
        return given.along(UNKNOWN)
    return given.along(
        "".join("N" if i == 0 else "C" if i == places[0] else "1" for i in range(len(sizes)))
    )


def _passed_on(walk: Walk, node: Node) -> Value | None:
    return walk.first(node)


FUNCTIONS: dict[tuple[str, str], Callable[[Walk, Node], Value | None]] = {
    **{("", name): _passed_on for name in PASSED_ON},
    **{("", name): _arithmetic for name in ARITHMETIC},
    ("", "Conv"): _conv,
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul,
    ("", "BatchNormalization"): _norm,
    ("", "Sigmoid"): _activation("sigmoid"),
    ("", "Relu"): _activation("relu"),
    ("", "Swish"): _one_alpha,
    ("", "Softmax"): _activation("softmax"),
    ("", "LogSoftmax"): _activation("softmax"),
    ("", "MaxPool"): _max_pool,
    ("", "Pad"): _pad,
    ("", "GlobalAveragePool"): _mean,
    ("", "ReduceMean"): _mean,
    ("", "Transpose"): _transposed,
    ("", "Flatten"): _flattened,
    ("", "Squeeze"): _squeezed,
    ("", "Unsqueeze"): _unsqueezed,
    ("", "Reshape"): _reshaped,
    (MICROSOFT, "QuickGelu"): _quick_gelu,
    (MICROSOFT, "FusedConv"): _fused,
}
