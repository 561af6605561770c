"""Graphs that are changed by hand, which the package onnx does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import helper, numpy_helper

Change = Callable[[onnx.ModelProto], None]


def changed(source: Path, path: Path, change: Change) -> Path:
    """A copy of a graph in which something is changed."""
    model = onnx.load(source)
    change(model)
    onnx.save(model, path)
    return path


def nodes(model: onnx.ModelProto, operation: str) -> list[onnx.NodeProto]:
    """The operations of a name, in their order."""
    return [node for node in model.graph.node if node.op_type == operation]


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    """An attribute, which can be changed."""
    return next(found for found in node.attribute if found.name == name)


def set_attribute(node: onnx.NodeProto, name: str, value) -> None:
    """Give an attribute another value, of whatever type."""
    kept = [found for found in node.attribute if found.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    """A stored tensor, which can be changed."""
    return next(found for found in model.graph.initializer if found.name == name)


def array(model: onnx.ModelProto, name: str):
    """The values of a stored tensor."""
    return numpy_helper.to_array(tensor(model, name))


def store(model: onnx.ModelProto, name: str, values) -> None:
    """Give a stored tensor other values, or store a new one."""
    new = numpy_helper.from_array(values, name)
    known = [found for found in model.graph.initializer if found.name == name]
    if known:
        known[0].CopyFrom(new)
    else:
        model.graph.initializer.append(new)


def replace_node(model: onnx.ModelProto, node: onnx.NodeProto, *new: onnx.NodeProto) -> None:
    """Put other operations where one was."""
    kept = list(model.graph.node)
    place = next(number for number, found in enumerate(kept) if found is node or found == node)
    kept[place : place + 1] = new
    del model.graph.node[:]
    model.graph.node.extend(kept)
