"""PyTorch programs that stand without their source: exported ones and TorchScript, and files.

The same program as `keras_impl/exported.py`, name for name.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, TensorArgument

from efficientnet_rosetta.common.errors import reading
from efficientnet_rosetta.common.guard.arranging import bound
from efficientnet_rosetta.common.guard.files import is_script
from efficientnet_rosetta.common.guard.program import Given, Input

from ._compat import module_path
from .programs import ModelProgram, Recorder


class GraphProgram(ModelProgram):
    """What `torch.export` or `torch.jit` made of a module, or of a function."""

    def __init__(self, graph: Any, name: str | None = None, layout: str | None = None):
        self.declared: tuple[Input, ...] | None = None
        self.positions = 0  # of inputs that were not given by name when it was exported
        if isinstance(graph, torch.export.ExportedProgram):
            self.kind = "torch.export program"
            self._declare(graph)
            name = name or "the exported program"
            graph = graph.module()
        else:
            self.kind = "TorchScript"
            name = name or str(getattr(graph, "original_name", getattr(graph, "name", self.kind)))
            graph = graph if isinstance(graph, nn.Module) else _Function(graph)
        super().__init__(graph, name, layout)

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """What an exported program was exported for; TorchScript says no shapes."""
        return self.declared

    def _declare(self, program: torch.export.ExportedProgram) -> None:
        """Read off a program what it takes, unless that is nested."""
        args, kwargs = program.example_inputs or ((), {})
        if not all(isinstance(one, Tensor) for one in (*args, *kwargs.values())):
            return
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        found = [
            _declared(spec.arg.name, values[spec.arg.name])
            for spec in program.graph_signature.input_specs
            if spec.kind == InputKind.USER_INPUT and isinstance(spec.arg, TensorArgument)
        ]
        if len(found) == len(args) + len(kwargs):
            self.declared, self.positions = tuple(found), len(args)

    def _arguments(self, module: Any, given: Given, precision: str) -> Given:
        """The inputs by position and by name as when the program was exported."""
        if self.declared is None:
            return super()._arguments(module, given, precision)
        arrays = bound(self.name, given, self.declared, precision)
        named = dict(list(arrays.items())[self.positions :])
        return replace(given, args=tuple(arrays.values())[: self.positions], kwargs=named)

    def _output(
        self,
        module: Any,
        args: list[Tensor],
        kwargs: dict[str, Tensor],
        recorder: Recorder | None,
    ) -> Any:
        """What the program returns; where it is recorded, operation by operation."""
        if recorder is None or self.declared is None:
            return super()._output(module, args, kwargs, recorder)
        flat = [*args, *kwargs.values()]
        values = _Placing(module, recorder).run(*flat, enable_io_processing=False)
        return module.graph.process_outputs(values)


class _Placing(fx.Interpreter):
    """Says of every operation of an exported program which module it was made in."""

    def __init__(self, module: fx.GraphModule, recorder: Recorder):
        super().__init__(module)
        self.recorder = recorder

    def run_node(self, n: fx.Node) -> Any:
        """Run one operation."""
        with self.recorder.inside(module_path(n) if n.meta.get("nn_module_stack") else ""):
            return super().run_node(n)


class _Function(nn.Module):
    """A function of TorchScript, which is no module."""

    def __init__(self, function: Any):
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        return self.function(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Function:
        return _Function(self.function)  # whose constants keep their type


def _declared(name: str, value: Any) -> Input:
    shape = tuple(side if isinstance(side, int) else None for side in value.shape)
    return Input(name, shape, str(value.dtype).removeprefix("torch."))


def program_in(
    path: str | Path, name: str | None = None, layout: str | None = None
) -> GraphProgram:
    """The program in a file of `torch.export.save` or `torch.jit.save`.

    Raises:
        DamagedFileError: it cannot be read.
    """
    with reading(path, "a program of PyTorch"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.jit.load(path, "cpu") if is_script(path) else torch.export.load(path)
    return GraphProgram(graph, name or str(path), layout)
