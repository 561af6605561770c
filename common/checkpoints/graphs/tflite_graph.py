"""Reading the graph of a TensorFlow Lite file, without TensorFlow.

The numbers of fields, operations and types are those of TensorFlow Lite's schema.fbs.  Operations
get ONNX's names, kernels their order of axes, and an activation inside of another operation
becomes one of its own; maps are (N, H, W, C).
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..._util.files import opened
from ...errors import FileError, reading
from ..formats.flatbuffer import I32, U8, U32, U64, Buffer, FlatError, Table
from ..formats.lazy import LazyTensor
from ..formats.protobuf_wire import shown
from .graph import NODES_LIMIT, Graph, GraphError, Node

WHAT = "TensorFlow Lite"
AXES_LIMIT = 8
TENSORS_LIMIT = 1 << 16
FLOAT = 1  # in ONNX, to which a float16 is turned
TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype(np.float32),
    1: np.dtype(np.float16),
    2: np.dtype(np.int32),
    3: np.dtype(np.uint8),
    4: np.dtype(np.int64),
    6: np.dtype(np.bool_),
    7: np.dtype(np.int16),
    9: np.dtype(np.int8),
    10: np.dtype(np.float64),
    18: np.dtype(ml_dtypes.bfloat16),
}
# By their numbers, the operations that are known by another name elsewhere.
OPERATIONS = {
    0: "Add",
    1: "AveragePool",
    2: "Concat",
    3: "Conv",
    4: "DepthwiseConv",
    6: "DequantizeLinear",
    9: "Gemm",
    14: "Sigmoid",
    17: "MaxPool",
    18: "Mul",
    19: "Relu",
    21: "Relu6",
    22: "Reshape",
    25: "Softmax",
    34: "Pad",
    36: "Gather",
    39: "Transpose",
    40: "ReduceMean",
    41: "Sub",
    42: "Div",
    43: "Squeeze",
    50: "LogSoftmax",
    53: "Cast",
    60: "Pad",
    70: "Unsqueeze",
    77: "Shape",
    83: "Pack",
    114: "QuantizeLinear",
    117: "HardSwish",
    129: "CallOnce",
    142: "VarHandle",
    143: "ReadVariable",
}
VARIABLES = ("CallOnce", "VarHandle", "ReadVariable")
FUSED = {1: "Relu", 3: "Relu6"}  # by the numbers of activations; 0 is none
# Where the number of an activation is in the options of an operation.
ACTIVATION_FIELDS = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Gemm"), 0),
    "Conv": 3,
    "DepthwiseConv": 4,
    "MaxPool": 5,
}
VALID = 1  # of Padding; SAME is 0


def read(path: Path) -> Graph:
    """The graph of a TensorFlow Lite file; its tensors are read when they are asked for.

    Raises:
        DamagedFileError: its bytes are no model.
        FileError: it has no weights, or other ones than floats.
    """
    with reading(path, WHAT), opened(path) as file:
        size = file.seek(0, io.SEEK_END)
        try:
            return _Reading(path, Buffer(file, size)).graph()
        except GraphError as error:
            raise FileError(path, str(error)) from error


@dataclass(frozen=True)
class _Tensor:
    """What the file says of a value."""

    shape: tuple[int, ...]
    open_shape: tuple[int | None, ...]
    type: int
    constant: LazyTensor | None


@dataclass
class _Reading:
    """What was found so far in a file."""

    path: Path
    buffer: Buffer
    tensors: list[_Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, LazyTensor] = field(default_factory=dict)

    def graph(self) -> Graph:
        model = self.buffer.root()
        codes = [
            # The first of them is what files had before there were more than 127 operations.
            max(code.number(0, U8), code.number(3, I32))
            for code in model.tables(1)
        ]
        buffers = list(model.tables(4))
        main = next(model.tables(2), None)
        if main is None:
            raise FlatError("it has no graph")
        for number, table in enumerate(main.tables(0)):
            if number == TENSORS_LIMIT:
                raise FlatError(f"it has more than {TENSORS_LIMIT} tensors")
            self.tensors.append(self.tensor(number, table, buffers))
        for number, tensor in enumerate(self.tensors):
            if tensor.constant is not None:
                self.constants[str(number)] = tensor.constant
        for table in main.tables(3):
            if len(self.nodes) >= NODES_LIMIT:
                raise FlatError(f"it has more than {NODES_LIMIT} operations")
            index = table.number(0, U32)
            if index >= len(codes):
                raise FlatError("an operation has no code")
            self.operation(OPERATIONS.get(codes[index], f"operation {codes[index]}"), table)
        inputs = [number for number in main.numbers(1) if str(number) not in self.constants]
        return Graph(
            producer=WHAT,
            nodes=tuple(self.nodes),
            constants=self.constants,
            inputs={self.name(number): self.tensors[number].open_shape for number in inputs},
            types={
                str(number): TYPES[self.tensors[number].type]
                for number in inputs
                if self.tensors[number].type in TYPES
            },
            outputs=tuple(self.name(number) for number in main.numbers(2)),
            channels_last=True,
        )

    def name(self, number: int) -> str:
        """What a value is called in the graph: its number, as names may be there twice."""
        if number == -1:
            return ""
        if not 0 <= number < len(self.tensors):
            raise FlatError("an operation takes a value that is not there")
        return str(number)

    # -------------------------------------------------------------- tensors

    def tensor(self, number: int, table: Table, buffers: list[Table]) -> _Tensor:
        shape, signature = table.numbers(0), table.numbers(7)
        if len(shape) > AXES_LIMIT or min(shape, default=0) < 0:
            raise FlatError("a tensor has a shape that it cannot have")
        open_shape = signature if len(signature) == len(shape) else shape
        kind, index = table.number(1, U8), table.number(2, U32)
        if index >= len(buffers):
            raise FlatError("a tensor is in a buffer that is not there")
        constant = None
        start, size = self.extent(buffers[index])
        if size and kind in TYPES:
            constant = self.stored(number, shown(table.text(3).encode()), shape, kind, start, size)
        known = tuple(axis if axis > 0 else None for axis in open_shape)
        return _Tensor(shape, known, kind, constant)

    def extent(self, table: Table) -> tuple[int, int]:
        """Where the bytes of a buffer are: in it, or after all tables in files of over 2 GiB."""
        start, size = table.extent(0, 1)
        if not size:
            start, size = table.number(1, U64), table.number(2, U64)
        if start <= 1 or not size:
            return 0, 0
        if start + size > self.buffer.size:
            raise FlatError("a buffer is longer than the file")
        return start, size

    def stored(
        self, number: int, name: str, shape: tuple[int, ...], kind: int, start: int, size: int
    ) -> LazyTensor:
        dtype = TYPES[kind]
        if math.prod(shape) * dtype.itemsize != size:
            raise FlatError(f"{name} has {size} bytes, which are not those of its shape")
        key = f"{name or 'tensor'} ({number})"
        return LazyTensor(key, shape, dtype, partial(_load, self.path, shape, dtype, start))

    # -------------------------------------------------------------- operations

    def operation(self, name: str, table: Table) -> None:
        """Add an operation, and the activation in it."""
        if name in VARIABLES:
            raise GraphError(
                "holds no weights: it was converted with variables whose values are elsewhere; "
                "convert it again with from_keras_model or from_saved_model"
            )
        inputs = [self.name(number) for number in table.numbers(1)]
        outputs = [self.name(number) for number in table.numbers(2)]
        if not outputs or not all(outputs):
            raise FlatError("an operation has no result")
        options = table.table(4)
        attributes = self.attributes(name, inputs, options)
        if name in ("Conv", "DepthwiseConv", "Gemm"):
            self.kernel(name, inputs, attributes)
        if name == "DequantizeLinear" and self.is_float(inputs):
            name, attributes = "Cast", {"to": FLOAT}
        fused = _number(options, ACTIVATION_FIELDS[name]) if name in ACTIVATION_FIELDS else 0
        result = tuple(outputs)
        if fused:
            result = (f"{outputs[0]} before its activation",)
            after = Node(FUSED.get(fused, f"activation {fused}"), result, tuple(outputs))
        name = "Conv" if name == "DepthwiseConv" else name
        self.nodes.append(Node(name, tuple(inputs), result, attributes))
        if fused:
            self.nodes.append(after)

    def is_float(self, inputs: list[str]) -> bool:
        return bool(inputs and inputs[0]) and self.tensors[int(inputs[0])].type in (0, 1)

    def attributes(self, name: str, inputs: list[str], options: Table | None) -> dict[str, Any]:
        """What an operation says beside its inputs, under ONNX's names."""
        if name in ("Conv", "DepthwiseConv", "MaxPool"):
            strides = _number(options, 2, I32, 1), _number(options, 1, I32, 1)
            rule = "VALID" if _number(options, 0) == VALID else "SAME_UPPER"
            found: dict[str, Any] = {"strides": strides, "auto_pad": rule}
            if name == "MaxPool":
                found["kernel_shape"] = (_number(options, 4, I32), _number(options, 3, I32))
            else:
                first = 4 if name == "Conv" else 5
                across, down = (_number(options, first + place, I32, 1) for place in (0, 1))
                found["dilations"] = (down, across)
            return found
        if name == "ReduceMean":
            return {"keepdims": _number(options, 0)}
        if name == "Squeeze":
            return {"axes": options.numbers(0) if options else ()}
        if name == "Gemm":
            return {"transB": 1}
        if name == "Cast":
            return {"to": FLOAT}
        given = self.constants.get(inputs[1]) if len(inputs) > 1 else None
        if given is None or math.prod(given.shape) > 2 * AXES_LIMIT:
            return {}
        numbers = given.read()
        if name == "Transpose":
            return {"perm": tuple(int(axis) for axis in numbers.ravel())}
        if name == "Pad" and numbers.ndim == 2:
            return {"pads": tuple(int(size) for size in numbers.T.ravel())}
        return {}

    def kernel(self, name: str, inputs: list[str], attributes: dict[str, Any]) -> None:
        """Turn the kernel of a layer, which gets a name of its own, to ONNX's order of axes."""
        kernel = self.constants.get(inputs[1]) if len(inputs) > 1 else None
        kind = self.tensors[int(inputs[1])].type if len(inputs) > 1 and inputs[1] else 0
        if kind not in (0, 1):
            image = self.tensors[int(inputs[0])].type if inputs[0] else 0
            how = "8-bit kernels" if image in (0, 1) else "8-bit kernels and maps"
            raise GraphError(
                f"is quantised to integers ({how}), from which the weights do not come back; "
                "convert the model again without quantisation, or to float16"
            )
        if name == "Gemm":
            return
        # A kernel may be computed: what it was before is known, and how many axes it has.
        turn = (3, 0, 1, 2) if name == "DepthwiseConv" else (0, 3, 1, 2)
        turned = f"{inputs[1]} as {name}"
        if name == "DepthwiseConv":
            attributes["group"] = self.tensors[int(inputs[1])].shape[-1:][0] if inputs[1] else 0
        if kernel is not None and len(kernel.shape) == len(turn):
            self.constants[turned] = kernel.transposed(turn)
        else:
            node = Node("Transpose", (inputs[1],), (turned,), {"perm": turn})
            self.nodes.append(node)
        inputs[1] = turned


def _number(options: Table | None, field: int, kind: struct.Struct = U8, default: int = 0) -> int:
    return default if options is None else options.number(field, kind, default)


def _load(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], start: int) -> NDArray[Any]:
    """The values of a tensor, which were within the file when it was opened.

    Raises:
        DamagedFileError: the file is gone, or was cut since.
    """
    content = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    with reading(path, WHAT), opened(path) as file:
        file.seek(start)
        if file.readinto(content.data) != content.size:
            raise FlatError("it ends early")
    return content.view(dtype).reshape(shape)
