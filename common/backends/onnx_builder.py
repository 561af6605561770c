"""Building an ONNX graph operation by operation, for the exporters of the backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import RosettaError, needs

with needs("writing ONNX"):
    import onnx
    from onnx import helper, numpy_helper

INPUT, BATCH = "image", "batch"
PROTOBUF_LIMIT = 2**31 - 2**20  # bytes of a message, less room for everything but the weights
MIN_OPSET, MAX_OPSET = 13, 23
AXES_AS_INPUT = 18  # the opset in which ReduceMean's axes stopped being an attribute


class OnnxBuilder:
    """Collects nodes and weights, and makes a checked model of them.

    `dtype` is that of all floats, `opset` the version of ONNX's operators.

    Raises:
        RosettaError: the opset is not one that the exporters know.
    """

    def __init__(self, dtype: np.dtype | str, opset: int):
        if not MIN_OPSET <= opset <= MAX_OPSET:
            raise RosettaError(f"opset is {opset}; choose from {MIN_OPSET} to {MAX_OPSET}")
        self.dtype, self.opset = np.dtype(dtype), opset
        self._element = helper.np_dtype_to_tensor_dtype(self.dtype)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._bytes = 0

    def add(self, op_type: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Append a node with one output, and return the name of that output: the node's own.

        `attributes` are those of ONNX's operator: numbers, texts or lists of them.
        """
        self._nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, array: np.ndarray | Sequence[int]) -> str:
        """Store an array under a name: floats in the model's dtype, integers as int64.

        Raises:
            RosettaError: the file becomes larger than ONNX allows.
        """
        array = np.asarray(array)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else self.dtype)
        self._bytes += array.nbytes
        if self._bytes > PROTOBUF_LIMIT:
            raise RosettaError(
                "the network is too large for one ONNX file (2 GiB); export it in float32"
                if self.dtype.itemsize > 4
                else "the network is too large for one ONNX file (2 GiB)"
            )
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def input(self, shape: Sequence[int | str | None]) -> str:
        """Declare the image batch; a string names a dynamic axis."""
        self._inputs.append(helper.make_tensor_value_info(INPUT, self._element, shape))
        return INPUT

    def output(self, name: str, value: str, shape: Sequence[int | str | None]) -> None:
        """Declare an output under its own name."""
        if value != name:
            self.add("Identity", value, name=name)
        self._outputs.append(helper.make_tensor_value_info(name, self._element, shape))

    # Operations that are more than one node, or whose form depends on the opset.

    def swish(self, x: str, name: str) -> str:
        """x * sigmoid(x); ONNX has no node for it before opset 24."""
        gate = self.add("Sigmoid", x, name=f"{name}.sigmoid")
        return self.add("Mul", x, gate, name=name)

    def clip(self, x: str, least: float, most: float, name: str) -> str:
        """What is below or above a range becomes its bound; ReLU6 is the range from 0 to 6."""
        least_name = self.constant(f"{name}.least", np.array(float(least)))
        most_name = self.constant(f"{name}.most", np.array(float(most)))
        return self.add("Clip", x, least_name, most_name, name=name)

    def pad(self, x: str, pads: Sequence[int], value: float, name: str) -> str:
        """A constant around a value: `pads` before every axis, then after every axis."""
        inputs = [x, self.constant(f"{name}.pads", pads)]
        if value:
            inputs.append(self.constant(f"{name}.value", np.array(value)))
        return self.add("Pad", *inputs, name=name)

    def mean(self, x: str, axes: Sequence[int], keepdims: bool, name: str) -> str:
        """Mean over axes, the last one first.

        onnxruntime adds up float32 one by one: over a whole map in one node (or as
        GlobalAveragePool) that costs one to two digits of the logits at 456 x 456.
        """
        *others, last = sorted(axes)
        if others:
            x = self._reduce_mean(x, [last], True, f"{name}.rows")
        return self._reduce_mean(x, sorted(axes), keepdims, name)

    def _reduce_mean(self, x: str, axes: list[int], keepdims: bool, name: str) -> str:
        if self.opset >= AXES_AS_INPUT:
            axes_input = self.constant(f"{name}.axes", axes)
            return self.add("ReduceMean", x, axes_input, name=name, keepdims=int(keepdims))
        return self.add("ReduceMean", x, name=name, axes=axes, keepdims=int(keepdims))

    def model(self, metadata: dict[str, str]) -> onnx.ModelProto:
        """Put the graph together and have it checked."""
        graph = helper.make_graph(
            self._nodes,
            metadata.get("preset", "network"),
            self._inputs,
            self._outputs,
            list(self._initializers.values()),
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph,
            opset_imports=opsets,
            # The oldest file format that holds this opset, for the sake of old runtimes.
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name=metadata["producer"],
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return model
