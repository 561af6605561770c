"""ONNX files and graphs of anybody's, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._util.files import is_file
from ..backends.trace import Trace
from ..errors import FileError, RosettaError, UsageError, reason
from ..parity import onnx_program
from .arranging import Arranger, bound
from .outputs import wide
from .program import FLOAT32, FLOAT64, NCHW, NOTHING, Given, Input, Outputs

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

TYPES = {  # of onnxruntime
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}


class OnnxProgram:
    """An ONNX graph, in the types that it declares; most operations have no float64 here."""

    kind = "ONNX"
    sees_inside = True

    def __init__(
        self, model: str | Path | ModelProto, name: str | None = None, layout: str | None = None
    ):
        import onnx

        if isinstance(model, str | Path):
            if not is_file(model):
                raise FileError(model, "no such file")
            # External data is found beside the file, which `onnx.load` sees to.
            self.session = onnx_program.start(str(model))
            self.model = onnx.load(str(model))
        else:
            self.model = model
            self.session = onnx_program.start(model.SerializeToString())
        self.name = name or (str(model) if isinstance(model, str | Path) else "the ONNX graph")
        self.arranger = Arranger(self.name, layout, NCHW)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Float64 too where the graph declares it."""
        declared = any(one.dtype == FLOAT64 for one in self.inputs)
        return (FLOAT32, FLOAT64) if declared else (FLOAT32,)

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

    @cached_property
    def positions(self) -> dict[str, int]:
        """Which node of the graph makes a value."""
        return {
            output: place
            for place, node in enumerate(self.model.graph.node)
            for output in filter(None, node.output)
        }

    def goes_on_from(self, step: str) -> bool:
        """From every value that a node makes."""
        return step in self.positions

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs.

        Raises:
            UsageError: the inputs are not those that the graph has.
            RosettaError: onnxruntime cannot run it on these.
        """
        outputs = self._run(given, precision)[1]
        return {name: wide(value) for name, value in outputs.items()}

    def trace(
        self,
        given: Given,
        precision: str = FLOAT32,
        instead: Mapping[str, np.ndarray] = NOTHING,
    ) -> Trace:
        """Every node that depends on the inputs."""
        fed, outputs = self._run(given, precision)
        model, last = self.model, -1
        if instead:
            last = self._last(instead)
            model, values = onnx_program.with_values(model, instead)
            fed |= values
            outputs = self._outputs(onnx_program.start(model.SerializeToString()), fed)
        ends = [name for name, value in outputs.items() if value.dtype.kind == "f"]
        found = Trace()
        weights = self._weights()
        for name, value, inputs in onnx_program.steps(model, fed, ends):
            place = self.positions[name]
            if place > last:
                node = self.model.graph.node[place]
                constants = tuple(weights[read] for read in node.input if read in weights)
                known = tuple(n for n in inputs if n in found.names)
                found.keep(name, wide(value), known, node.op_type, constants)
        for name in ends:
            source = onnx_program.source(model, name)
            found.keep(name, wide(outputs[name]), (source,) if source in found.names else None)
        return found

    def _last(self, instead: Mapping[str, np.ndarray]) -> int:
        """The place of the last of the nodes whose values are given.

        Raises:
            UsageError: there is none of a name.
        """
        for name in instead:
            if name not in self.positions:
                raise UsageError(f"{self.name} has no value {name!r}", argument="after")
        return max(self.positions[name] for name in instead)

    def _run(self, given: Given, precision: str) -> tuple[dict[str, np.ndarray], Outputs]:
        """What the graph is fed by its own names, and its outputs."""

        def run(arranged: Given) -> tuple[dict[str, np.ndarray], Outputs]:
            fed = bound(self.name, arranged, self.inputs)
            return fed, self._outputs(self.session, fed)

        return self.arranger.call(given.in_precision(precision), self.inputs, run)

    def _outputs(self, session: InferenceSession, fed: dict[str, np.ndarray]) -> Outputs:
        names = [output.name for output in session.get_outputs()]
        try:
            values = session.run(names, fed)
        except Exception as error:  # onnxruntime's exceptions share no base but this
            raise RosettaError(
                f"{self.name}: onnxruntime cannot run it ({reason(error)})"
            ) from error
        return {
            name: np.asarray(value)
            for name, value in zip(names, values, strict=True)
            if value is not None
        }

    def _weights(self) -> dict[str, np.ndarray]:
        """The arrays that stand in the graph, by name."""
        from onnx.numpy_helper import to_array

        graph = self.model.graph
        found = {one.name: to_array(one) for one in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                found[node.output[0]] = to_array(node.attribute[0].t)
        return found
