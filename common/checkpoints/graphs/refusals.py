"""Graphs that no weights can be read back from, each by its own name, and other networks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from ..formats.lazy import LazyTensor
from .graph import Graph, GraphError, Node

BLOCKED = "com.microsoft.nchwc"
RANDOM = ("Random", "Bernoulli", "Multinomial")
QUANTISED = ("QLinear", "QGemm", "QAttention", "QOrdered")
INTEGER = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "MatMulNBits"}
QDQ = {"QuantizeLinear", "DequantizeLinear"}

_BLOCKED = (
    "was optimised by onnxruntime for one kind of CPU, whose blocks the kernels were cut into; "
    "port the file that it was made from, or optimise that without its layout (ORT_ENABLE_EXTENDED)"
)
_QUANTISED = (
    "is quantised to integers ({}), from which the weights do not come back; port the file that "
    "it was made from"
)
_TRAINING = (
    "was exported in training mode ({}), where it drops parts at random and the export itself may "
    "have moved its statistics; export it again after model.eval()"
)
_FUSED = "it has full 3 x 3 convolutions after the stem"


def check(graph: Graph) -> None:
    """Refuse what cannot be a network of ours whatever its layers are.

    Raises:
        GraphError: the graph is one of those.
    """
    given = dict(graph.constants)
    for node in graph.nodes:
        value = node.attributes.get("value")
        if node.operation == "Constant" and isinstance(value, LazyTensor):
            given |= dict.fromkeys(node.outputs, value)
        if node.domain == BLOCKED:
            raise GraphError(_BLOCKED)
        if node.operation in INTEGER | QDQ or node.operation.startswith(QUANTISED):
            raise GraphError(_QUANTISED.format(node.title))
        if node.operation.startswith(RANDOM):
            raise GraphError(_TRAINING.format(node.title))
        if node.operation == "BatchNormalization" and _trains(node):
            raise GraphError(_TRAINING.format("training_mode of BatchNormalization"))
        if node.operation == "Dropout" and _drops(given, node):
            raise GraphError(_TRAINING.format("training_mode of Dropout"))


def _trains(node: Node) -> bool:
    """Whether a batch norm takes the statistics of its batch."""
    return bool(node.integer("training_mode")) or len(list(filter(None, node.outputs))) > 1


def _drops(constants: Mapping[str, LazyTensor], node: Node) -> bool:
    """Whether a dropout is told that it is training."""
    given = constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    return given is not None and math.prod(given.shape) == 1 and bool(given.read().any())


def looks_like(graph: Graph) -> str | None:
    """What a graph of another network looks like, by operations that tell; None if none does."""
    counts = Counter(node.operation for node in graph.nodes)
    kernels = [
        graph.constants[n].shape
        for node in graph.nodes
        for n in node.inputs[1:2]
        if node.operation.endswith("Conv") and n in graph.constants
    ]
    fused = sum(shape[2:] == (3, 3) and shape[1] > 3 for shape in kernels if len(shape) == 4) > 1
    depthwise = _depthwise(graph)
    relu6 = counts["Clip"] > 2 or counts["Relu6"] > 0
    if counts["LayerNormalization"] > 2 or (counts["Softmax"] > 1 and counts["MatMul"] > 4):
        return "a transformer"
    if counts["HardSwish"] or counts["HardSigmoid"]:
        return "MobileNetV3 (it has a hard swish)"
    if counts["Split"] > 2 and counts["Concat"] > 2 and depthwise:
        return "MixNet (it splits channels between kernels of several sizes)"
    if depthwise and counts["Sigmoid"] > 2 and not counts["Relu"] and not relu6:
        if fused:
            return f"an EfficientNetV2 of another size ({_FUSED}, and swish)"
        return "an EfficientNet of another size (it has depthwise convolutions and swish)"
    if depthwise and relu6 and not counts["Sigmoid"]:
        if any(shape[2:] == (5, 5) for shape in kernels):
            return "an EfficientNet-Lite of another size (it has ReLU6 and kernels of 5 x 5)"
        return "MobileNetV2 (it has ReLU6, and kernels of 3 x 3 alone)"
    if depthwise and counts["Relu"] > 2:
        if fused and not counts["Sigmoid"]:
            return f"an EfficientNet-EdgeTPU of another size ({_FUSED}, and ReLU)"
        return "MnasNet or another network of depthwise convolutions with ReLU"
    if counts["Relu"] > 2 and counts["Add"] > 2 and any(s[2:] == (7, 7) for s in kernels[:1]):
        return "a ResNet"
    return None


def _depthwise(graph: Graph) -> bool:
    return any(node.operation == "Conv" and node.integer("group", 1) > 1 for node in graph.nodes)
