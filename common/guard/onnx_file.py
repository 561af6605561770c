"""ONNX files and graphs of anybody's, run by onnxruntime."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..backends.trace import Trace
from ..errors import FileError, RosettaError, UsageError, reason
from ..parity import onnx_program
from .program import FLOAT32, Given, Input, Outputs

if TYPE_CHECKING:
    from onnx import ModelProto

TYPES = {  # of onnxruntime
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}


class OnnxProgram:
    """An ONNX graph, in the types that it declares; most operations have no float64 here."""

    kind = "ONNX"
    precisions = (FLOAT32,)

    def __init__(self, model: str | Path | ModelProto, name: str | None = None):
        import onnx

        if isinstance(model, str | Path):
            # External data is found beside the file, which `onnx.load` sees to.
            self.model = onnx.load(str(model))
            self.session = onnx_program.start(str(model))
        else:
            self.model = model
            self.session = onnx_program.start(model.SerializeToString())
        self.name = name or (str(model) if isinstance(model, str | Path) else "the ONNX graph")

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """What the graph declares.

        Raises:
            FileError: an input is no tensor.
        """
        found = []
        for one in self.session.get_inputs():
            if one.type not in TYPES:
                raise FileError(self.name, f"takes {one.type} as {one.name}; a tensor is needed")
            shape = tuple(side if isinstance(side, int) else None for side in one.shape)
            found.append(Input(one.name, shape, TYPES[one.type]))
        return tuple(found)

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs."""
        names = [output.name for output in self.session.get_outputs()]
        try:
            values = self.session.run(names, self._fed(given))
        except RosettaError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base but this
            raise RosettaError(
                f"{self.name}: onnxruntime cannot run it ({reason(error)})"
            ) from error
        return dict(zip(names, map(np.asarray, values), strict=True))

    def trace(self, given: Given, precision: str = FLOAT32) -> Trace:
        """Every node that depends on the inputs."""
        found = Trace()
        fed = self._fed(given)
        ends = [output.name for output in self.model.graph.output]
        nodes = {output: node for node in self.model.graph.node for output in node.output}
        weights = self._weights()
        for name, value, inputs in onnx_program.steps(self.model, fed, ends):
            node = nodes[name]
            constants = tuple(weights[read] for read in node.input if read in weights)
            found.keep(name, value, inputs, node.op_type, constants)
        for name, value in self.run(given, precision).items():
            found.keep(name, value)
        return found

    def _weights(self) -> dict[str, np.ndarray]:
        """The arrays that stand in the graph, by name."""
        from onnx.numpy_helper import to_array

        graph = self.model.graph
        found = {one.name: to_array(one) for one in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                found[node.output[0]] = to_array(node.attribute[0].t)
        return found

    def _fed(self, given: Given) -> dict[str, np.ndarray]:
        """The inputs by their names, in the types and the order of axes that the graph declares.

        Raises:
            UsageError: there are others than the graph has.
        """
        named = dict(given.kwargs)
        free = [one for one in self.inputs if one.name not in named]
        if len(given.args) != len(free) or len(named) + len(free) != len(self.inputs):
            raise UsageError(
                f"{self.name} takes {', '.join(one.name for one in self.inputs)}; it was given "
                f"{len(given.args)} inputs by position and {', '.join(named) or 'none'} by name"
            )
        named |= {one.name: value for one, value in zip(free, given.args, strict=True)}
        return {one.name: np.ascontiguousarray(named[one.name], one.dtype) for one in self.inputs}
