"""Every operation that graphs of our networks have, by domain and name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import nan

from ..formats.onnx_file import TYPES
from .axes import flattened, mean, passed_on, squeezed, transposed, unsqueezed, with_shape
from .graph import MICROSOFT, Graph, Node
from .layers import convolution, gemm, matmul, max_pool, norm, pad
from .values import Axes, Step, Value
from .walk import Function, Walk

# What hands on its first input in inference.
PASSED_ON = ("Identity", "CastLike", "Dropout")
ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
RANGE_OF_RELU6 = [[0.0], [6.0]]
SWISH_ALPHA = 1e-6  # how near to 1 the factor of QuickGelu must be


def walked(graph: Graph) -> Walk:
    """The values of a graph.

    Raises:
        GraphError: its constants make no sense.
    """
    return Walk(graph, FUNCTIONS)


def _cast(walk: Walk, node: Node) -> Value | None:
    """A value of another type; only an image may be of whole numbers, others are rounded by it."""
    given, kind = walk.first(node), TYPES.get(node.integer("to"))
    if given is None or kind is None:
        return None
    is_image = given.kind == "input" and not given.steps
    return given if is_image or kind[0].kind not in "biu" else None


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
    tensor = walk.constants.tensors[constant[0]]
    if not tensor.is_float:
        return None
    step = Step(ARITHMETIC[node.operation], (tensor,), value.axes)
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
    alpha = node.number("alpha", 1.702)
    return _activation("swish")(walk, node) if abs(alpha - 1) < SWISH_ALPHA else None


def _one_alpha(walk: Walk, node: Node) -> Value | None:
    return _activation("swish")(walk, node) if node.number("alpha", 1.0) == 1 else None


def _clip(walk: Walk, node: Node) -> Value | None:
    """ReLU6, if the range is from 0 to 6; it was an attribute in older operator sets."""
    names = (*node.inputs[1:], "", "")[:2]
    given = [walk.constants.array(n).ravel().tolist() for n in names if n in walk.constants]
    bounds = given or [[node.number(name, nan)] for name in ("min", "max")]
    return _activation("relu6")(walk, node) if bounds == RANGE_OF_RELU6 else None


def _fused_kind(node: Node) -> str | None:
    """The activation in one of onnxruntime's convolutions."""
    kind = node.text("activation")
    if kind == "Clip":
        parameters = node.attributes.get("activation_params")
        return "relu6" if parameters == (0.0, 6.0) else None
    return {"Relu": "relu", "Sigmoid": "sigmoid"}.get(kind)


def _fused(walk: Walk, node: Node) -> Value | None:
    """onnxruntime's convolution with a sum and an activation in it."""
    kind = _fused_kind(node)
    plain = replace(node, inputs=node.inputs[:3])
    value = convolution(walk, plain)
    if value is None or kind is None:
        return None
    if len(node.inputs) > 3 and node.inputs[3]:
        beside = walk.values.get(node.inputs[3])
        value = None if beside is None else _sum(walk, node, value, beside)
    return None if value is None else _activation(kind)(walk, node, value)


FUNCTIONS: dict[tuple[str, str], Function] = {
    **{("", name): passed_on for name in PASSED_ON},
    **{("", name): _arithmetic for name in ARITHMETIC},
    ("", "Cast"): _cast,
    ("", "Conv"): convolution,
    ("", "Gemm"): gemm,
    ("", "MatMul"): matmul,
    ("", "BatchNormalization"): norm,
    ("", "Sigmoid"): _activation("sigmoid"),
    ("", "Relu"): _activation("relu"),
    ("", "Relu6"): _activation("relu6"),  # of TFLite
    ("", "Clip"): _clip,
    ("", "Swish"): _one_alpha,
    ("", "Softmax"): _activation("softmax"),
    ("", "LogSoftmax"): _activation("log_softmax"),
    ("", "MaxPool"): max_pool,
    ("", "Pad"): pad,
    ("", "GlobalAveragePool"): mean,
    ("", "ReduceMean"): mean,
    ("", "Transpose"): transposed,
    ("", "Flatten"): flattened,
    ("", "Squeeze"): squeezed,
    ("", "Unsqueeze"): unsqueezed,
    ("", "Reshape"): with_shape,
    (MICROSOFT, "QuickGelu"): _quick_gelu,
    (MICROSOFT, "FusedConv"): _fused,
}
