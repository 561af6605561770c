"""Reading the graph of an ONNX file without the package onnx.

The numbers of fields are those of onnx.proto3.  What a graph may hold beside nodes and tensors,
such as functions and graphs inside of nodes, is refused: no exporter makes it of these networks.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..._util.files import opened
from ...errors import FileError, reading
from ..formats import onnx_file
from ..formats.lazy import LazyTensor
from ..formats.protobuf_wire import (
    BYTES,
    FIXED32,
    VARINT,
    Field,
    Message,
    Scanner,
    WireError,
    shown,
    varint,
)
from .graph import NODES_LIMIT, Graph, GraphError, Node

# Of ModelProto, of GraphProto, of NodeProto, of AttributeProto and of ValueInfoProto.
PRODUCER, VERSION, GRAPH, FUNCTIONS = 2, 3, 7, 25
NODE, INITIALIZER, INPUT, OUTPUT = 1, 5, 11, 12
READS, GIVES, OPERATION, ATTRIBUTE, DOMAIN = 1, 2, 4, 5, 7
NAME, FLOAT, INT, TEXT, TENSOR, SUBGRAPH, FLOATS, INTS = 1, 2, 3, 4, 5, 6, 7, 8
TYPE = 2
NAME_LIMIT = 4096  # bytes
LIST_LIMIT = 1 << 16  # bytes of an attribute's list
VALUE_LIMIT = 1 << 16  # bytes of what is said of an input
INPUTS_LIMIT = 1 << 16
TITLE = 60  # characters of a producer
OWN_DOMAINS = ("", "ai.onnx")


def read(path: Path) -> Graph:
    """The graph of an ONNX file; its tensors are read when they are asked for.

    Raises:
        DamagedFileError: its bytes are no model.
        FileError: a tensor is in a file that is not beside this one, or the graph has parts that
            are not read.
    """
    found = _Reading(path)
    with reading(path, onnx_file.WHAT), opened(path) as file:
        size = file.seek(0, io.SEEK_END)
        try:
            found.model(Scanner(file), size)
        except GraphError as error:
            raise FileError(path, str(error)) from error
    given = {name: shape for name, shape in found.inputs.items() if name not in found.tensors}
    return Graph(
        producer=" ".join(found.producer)[:TITLE].strip(),
        nodes=tuple(found.nodes),
        constants=found.tensors,
        inputs=given,
        types=found.types,
        outputs=tuple(found.outputs),
    )


@dataclass
class _Reading:
    """What was found so far in a file."""

    path: Path
    producer: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, LazyTensor] = field(default_factory=dict)
    inputs: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    types: dict[str, np.dtype[Any]] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)

    def model(self, scanner: Scanner, size: int) -> None:
        for part in scanner.fields(0, size):
            if part.number in (PRODUCER, VERSION):
                said = shown(scanner.read(part, NAME_LIMIT))
                # tf2onnx adds what it knows of its commit to its version.
                self.producer += [said] if part.number == PRODUCER else said.split()[:1]
            elif part.number == FUNCTIONS:
                raise GraphError("has functions of its own, which are not read; export it without")
            elif part.number == GRAPH:
                for inner in scanner.fields(*part.content()):
                    self.part(scanner, inner)

    def part(self, scanner: Scanner, part: Field) -> None:
        if part.number == INITIALIZER:
            onnx_file.add(self.path, self.tensors, scanner, part)
        elif part.number == NODE:
            if len(self.nodes) == NODES_LIMIT:
                raise WireError(f"it has more than {NODES_LIMIT} operations")
            self.nodes.append(self.node(scanner, part))
        elif part.number == INPUT:
            value = Message(scanner.read(part, VALUE_LIMIT))
            name, tensor = onnx_file.text(value, 1), value.message(TYPE).message(1)
            self.inputs[name] = _shape(tensor)
            if (kind := tensor.number(1)) in onnx_file.TYPES:
                self.types[name] = onnx_file.TYPES[kind][0]
        elif part.number == OUTPUT:
            value = Message(scanner.read(part, VALUE_LIMIT))
            self.outputs.append(onnx_file.text(value, 1))

    def node(self, scanner: Scanner, place: Field) -> Node:
        reads: list[str] = []
        gives: list[str] = []
        names = {OPERATION: "", DOMAIN: ""}
        attributes: dict[str, Any] = {}
        for part in scanner.fields(*place.content()):
            if part.number in (READS, GIVES):
                (reads if part.number == READS else gives).append(_name(scanner, part))
                if len(reads) + len(gives) > INPUTS_LIMIT:
                    raise WireError("an operation takes too many values")
            elif part.number in names:
                names[part.number] = _name(scanner, part)
            elif part.number == ATTRIBUTE:
                key, value = self.attribute(scanner, part)
                attributes[key] = value
        domain = "" if names[DOMAIN] in OWN_DOMAINS else names[DOMAIN]
        return Node(names[OPERATION], tuple(reads), tuple(gives), attributes, domain)

    def attribute(self, scanner: Scanner, place: Field) -> tuple[str, Any]:
        """The name and the value of an attribute, by the only field of values that it has."""
        name, value = "", cast(Any, None)
        floats: list[float] = []
        ints: list[int] = []
        for part in scanner.fields(*place.content()):
            if part.number == NAME:
                name = _name(scanner, part)
            elif part.number == INT:
                value = part.signed()
            elif part.number == FLOAT:
                value = _floats(scanner, part)[0]
            elif part.number == TEXT:
                value = shown(scanner.read(part, LIST_LIMIT))
            elif part.number == TENSOR:
                value = onnx_file.tensor(self.path, scanner, part)
            elif part.number == SUBGRAPH:
                raise GraphError("has a graph inside of an operation, which is not read")
            elif part.number == FLOATS:
                floats += _floats(scanner, part)
            elif part.number == INTS:
                ints += [part.signed()] if part.wire == VARINT else _ints(scanner, part)
            if len(floats) + len(ints) > LIST_LIMIT:
                raise WireError("an attribute has too many numbers")
        return name, tuple(ints or floats) if ints or floats else value


def _name(scanner: Scanner, part: Field) -> str:
    return onnx_file.decoded(scanner.read(part, NAME_LIMIT), "the name of a value")


def _floats(scanner: Scanner, part: Field) -> list[float]:
    """One float, or those of a packed field."""
    if part.wire not in (FIXED32, BYTES) or part.size % 4 or not part.size:
        raise WireError("an attribute that should be a float is none")
    if part.size > LIST_LIMIT:
        raise WireError("an attribute has too many numbers")
    content = scanner.bytes_of(part)
    return list(struct.unpack(f"<{part.size // 4}f", content))


def _ints(scanner: Scanner, part: Field) -> list[int]:
    content = scanner.read(part, LIST_LIMIT)
    found, at = [], 0
    while at < len(content):
        value, at = varint(content, at)
        found.append(value - (1 << 64) if value >> 63 else value)
    return found


def _shape(tensor: Message) -> tuple[int | None, ...]:
    """The shape of an input, whose open sizes are None."""
    sizes: list[int | None] = []
    for axis in tensor.message(2).contents(1):
        size = Message(axis)
        sizes.append(size.number(1) if not size.contents(2) and size.number(1) > 0 else None)
    return tuple(sizes)
