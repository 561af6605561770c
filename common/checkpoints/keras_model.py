"""What Keras writes of a model beside its weights, read as data: how its classifier is reached.

A configuration lists layers by class and name, and for each the layers that it takes its inputs
from.  Nothing of it is built; names are looked up, and the way from the classifier back to the
network is walked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .formats.checkpoint import Checkpoint

DEPTH_LIMIT = 16  # models inside models
# What may stand between the pooled features and the classifier, for it changes nothing there.
TRANSPARENT = {
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "InputLayer",
    "Reshape",
    "SpatialDropout2D",
}
POOLINGS = {"GlobalAveragePooling2D", "GlobalAvgPool2D"}
MODELS = {"Functional", "Model", "Sequential"}
LINEAR = (None, "linear")
PROBABILITIES = ("softmax", "sigmoid")
CLASSIFIER_ACTIVATION = "classifier_activation"  # an argument of models, as in keras.applications
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """What a configuration says of a classifier; nothing where there is no configuration."""

    activation: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Node:
    """A layer in a model, and the names of the layers that it is given."""

    name: str
    kind: str
    config: Config
    inputs: tuple[str, ...]


def classifier_of(checkpoint: Checkpoint, key: str, classes: int) -> Said:
    """What is said of the dense layer of a key: what comes before it, and after."""
    if checkpoint.model is None:
        return Said()
    layers = list(_nodes(checkpoint.model))
    if not layers:
        return _of_class(checkpoint.model)
    nodes = {node.name: node for node in layers}
    dense = [
        node
        for node in layers
        if (node.kind == "Dense" and node.config.get("units") == classes)
        or (node.kind == "Conv2D" and node.config.get("filters") == classes)
    ]
    parts = key.split("/")
    named = [node for node in dense if node.name in parts] or dense
    if len(named) != 1:
        return Said()
    said = _after(named[0], layers)
    return Said(said.activation, said.problem or _before(named[0], nodes))


def _of_class(model: Config) -> Said:
    """What a library's own class of models was given as the ending of its classes."""
    config = model.get("config")
    if not isinstance(config, Mapping) or CLASSIFIER_ACTIVATION not in config:
        return Said()
    return _ending([_activation(config[CLASSIFIER_ACTIVATION])])


def _ending(applied: list[str | None]) -> Said:
    """One activation of all that follow a dense layer, if there is no more than one."""
    applied = [activation for activation in applied if activation not in LINEAR]
    if len(applied) > 1 or (applied and applied[0] not in PROBABILITIES):
        return Said(problem=f"the dense layer ends in {' and '.join(map(str, applied))}")
    return Said(applied[0] if applied else "linear")


def _after(dense: Node, layers: list[Node]) -> Said:
    """The activation that a classifier's outputs go through, its own or that of a layer."""
    following: dict[str, list[Node]] = {}
    for node in layers:
        for name in node.inputs:
            following.setdefault(name, []).append(node)
    applied = [_activation(dense.config.get("activation"))]
    seen = {dense.name}
    nodes = following.get(dense.name, [])
    while len(nodes) == 1 and nodes[0].name not in seen:
        (node,) = nodes
        seen.add(node.name)
        if node.kind in ("Activation", "Softmax"):
            applied.append("softmax" if node.kind == "Softmax" else _activation(node.config))
        elif node.kind not in TRANSPARENT | MODELS:
            return Said(problem=f"{node.kind} follows the dense layer")
        nodes = following.get(node.name, [])
    return _ending(applied)


def _activation(said: Any) -> str | None:
    """The name of an activation, by which Keras writes it in several ways."""
    for _ in range(4):
        if isinstance(said, str) or said is None:
            return said
        if not isinstance(said, Mapping):
            break
        inner = said.get("config")
        said = (
            said.get("activation")
            or (inner.get("name") if isinstance(inner, Mapping) else inner)
            or said.get("class_name")
        )
    return "an unknown function"


def _before(dense: Node, nodes: Mapping[str, Node]) -> str | None:
    """What is wrong with the way from the features to a dense layer, if something is."""
    node, pooled = dense, dense.kind == "Conv2D"
    for _ in nodes:
        if len(node.inputs) > 1:
            return f"{node.kind} has several inputs"
        if not node.inputs or node.inputs[0] not in nodes:
            return None
        node = nodes[node.inputs[0]]
        if node.kind in POOLINGS:
            pooled = True
        elif node.kind.startswith("Global"):
            return f"the features are pooled by {node.kind}"
        elif node.kind in ("Activation", "BatchNormalization", "Conv2D", "SeparableConv2D"):
            return None if pooled or node.kind != "Activation" else "the features are not pooled"
        elif node.kind not in TRANSPARENT:
            return None if node.kind in MODELS else f"{node.kind} precedes the dense layer"
    return None


# ------------------------------------------------------------------ layers and what they are given


def _nodes(model: Config, depth: int = 0) -> Iterator[Node]:
    """The layers of a model and of the models in it; a model stands for its last layer."""
    inside = model.get("config")
    if depth > DEPTH_LIMIT:
        return
    layers = inside.get("layers") if isinstance(inside, Mapping) else inside
    if not isinstance(layers, list):
        return
    sequential = model.get("class_name") == "Sequential"
    last: str | None = None
    for layer in layers:
        if not isinstance(layer, Mapping) or not isinstance(layer.get("config"), Mapping):
            continue
        config = layer["config"]
        name = str(layer.get("name") or config.get("name"))
        inputs = (last,) if sequential and last else tuple(_inputs(layer.get("inbound_nodes")))
        kind = str(layer.get("class_name"))
        if kind in MODELS:
            yield from _nested(layer, name, inputs, depth)
        else:
            yield Node(name, kind, config, inputs)
        last = name


def _nested(layer: Config, name: str, inputs: tuple[str, ...], depth: int) -> Iterator[Node]:
    """A model inside a model: its layers, its input joined to what it is given."""
    inner = list(_nodes(layer, depth + 1))
    outputs = _outputs(layer) or tuple(node.name for node in inner[-1:])
    for node in inner:
        joined = inputs if not node.inputs else node.inputs
        yield Node(node.name, node.kind, node.config, joined)
    yield Node(name, "Flatten" if inner else "Functional", {}, outputs or inputs)


def _outputs(model: Config) -> tuple[str, ...]:
    config = model.get("config")
    found = config.get("output_layers") if isinstance(config, Mapping) else None
    if not isinstance(found, list) or not found:
        return ()
    if isinstance(found[0], str):
        return (found[0],)
    return tuple(str(output[0]) for output in found if isinstance(output, list) and output)


def _inputs(said: Any, depth: int = 0) -> Iterator[str]:
    """The layers that a node is given, as Keras 2 and 3 write them."""
    if depth > DEPTH_LIMIT:
        return
    if isinstance(said, Mapping):
        history = said.get("keras_history")
        config = said.get("config")
        if isinstance(config, Mapping) and isinstance(config.get("keras_history"), list):
            history = config["keras_history"]
        if isinstance(history, list) and history:
            yield str(history[0])
            return
        for value in (said.get("args"), said.get("kwargs")):
            yield from _inputs(value, depth + 1)
    elif isinstance(said, list):
        if said and isinstance(said[0], str):  # Keras 2: [name, node, tensor, arguments]
            yield said[0]
            return
        for value in said:
            yield from _inputs(value, depth + 1)
