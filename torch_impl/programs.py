"""Anybody's PyTorch programs: modules, exported programs and TorchScript, value by value.

The same program as `keras_impl/programs.py`, name for name.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten_with_path, tree_leaves

from efficientnet_rosetta.common.backends.trace import Trace
from efficientnet_rosetta.common.errors import RosettaError, reason
from efficientnet_rosetta.common.guard.program import FLOAT32, FLOAT64, Given, Input, Outputs

# What hands on its input in another shape, order or type, or amid zeros.
MOVES = {
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "squeeze", "unsqueeze"),
    *(
        "t",
        "transpose",
        "permute",
        "expand",
        "alias",
        "detach",
        "clone",
        "contiguous",
        "lift_fresh",
    ),
    *("_to_copy", "to", "constant_pad_nd"),
}
# What cuts its input into parts, each of which is a value by itself.
CUTS = {"split", "split_with_sizes", "unbind", "chunk", "tensor_split"}


class ModelProgram:
    """A `torch.nn.Module`, what `torch.export` or `torch.jit` made of one, run in inference."""

    def __init__(self, module: Any, name: str | None = None):
        self.kind = _kind(module)
        if isinstance(module, torch.export.ExportedProgram):
            module = module.module()
        self.module: nn.Module = module
        self.name = name or type(module).__name__
        self.made: dict[str, nn.Module] = {}

    @property
    def precisions(self) -> tuple[str, ...]:
        """Float64 where a copy of the module can be made."""
        try:
            self._in(FLOAT64)
        except Exception:  # of somebody else's module, which may not be copied
            return (FLOAT32,)
        return (FLOAT32, FLOAT64)

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """A module says nothing of its inputs."""
        return None

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs."""
        return _named(self._called(given, precision))

    def trace(self, given: Given, precision: str = FLOAT32) -> Trace:
        """Every operation of PyTorch's that depends on the inputs."""
        recorder = _Recorder()
        outputs = self._called(given, precision, recorder)
        for name, value in _named(outputs).items():
            recorder.found.keep(name, value)
        return recorder.found

    def _in(self, precision: str) -> Any:
        """The module in a precision; a copy, so that the user's own stays what it is."""
        if precision not in self.made:
            made = copy.deepcopy(self.module)
            self.made[precision] = made.to(getattr(torch, precision))
        return self.made[precision]

    def _called(self, given: Given, precision: str, recorder: _Recorder | None = None) -> Any:
        module = self._in(precision)
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        arrays = given.in_precision(precision).arrays
        tensors = [torch.tensor(array, device=device) for array in arrays]
        positions = len(given.args)
        named = dict(zip(given.kwargs, tensors[positions:], strict=True))
        try:
            with _in_inference(module), torch.no_grad():
                if recorder is None:
                    return module(*tensors[:positions], **named)
                with recorder.watching(module, tensors):
                    return module(*tensors[:positions], **named)
        except Exception as error:  # whatever somebody else's code raises
            raise RosettaError(f"{self.name}: {type(error).__name__}: {reason(error)}") from error


def _kind(module: Any) -> str:
    if isinstance(module, torch.export.ExportedProgram):
        return "torch.export program"
    return "TorchScript" if isinstance(module, torch.jit.ScriptModule) else "torch.nn.Module"


def _named(output: Any) -> Outputs:
    """The tensors of whatever a module returns, by their place in it."""
    if isinstance(output, Tensor):
        return {"output": output.numpy(force=True)}
    found = {}
    for path, leaf in tree_flatten_with_path(output)[0]:
        if isinstance(leaf, Tensor):
            name = "".join(str(getattr(key, "key", getattr(key, "idx", key))) + "." for key in path)
            found[name.rstrip(".")] = leaf.numpy(force=True)
    return found


@contextmanager
def _in_inference(module: Any) -> Iterator[None]:
    """With every part of a module in evaluation, and as it was afterwards."""
    phases = {part: part.training for part in module.modules()}
    try:
        for part in phases:
            part.training = False  # `eval` is refused by exported programs
        yield
    finally:
        for part, phase in phases.items():
            part.training = phase


class _Recorder(TorchDispatchMode):
    """Keeps the values of all operations that depend on the inputs.

    A tensor is known by its identity, and none is let go, so that no other takes its place.  What
    an operation writes into a tensor that is there already is the tensor's new value.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = Trace()
        self.origins: dict[int, str | None] = {}  # of a tensor: its step; None is an input
        self.held: list[Tensor] = []
        self.places: list[str] = []  # the modules that are being run, the innermost last

    @contextmanager
    def watching(self, module: Any, inputs: list[Tensor]) -> Iterator[None]:
        """Record what a module makes of inputs."""
        for tensor in inputs:
            self._own(tensor, None)
        hooks = []
        for name, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):  # takes no hooks
                continue
            hooks.append(part.register_forward_pre_hook(self._entering(name)))
            hooks.append(part.register_forward_hook(self._leaving, always_call=True))
        try:
            with self:
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def _entering(self, name: str) -> Any:
        return lambda module, args: self.places.append(name)

    def _leaving(self, module: Any, args: Any, output: Any) -> None:
        self.places.pop()

    def _own(self, tensor: Tensor, origin: str | None) -> None:
        self.held.append(tensor)
        self.origins[id(tensor)] = origin

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        read = [
            self.origins[id(leaf)]
            for leaf in tree_leaves((args, dict(kwargs or {})))
            if isinstance(leaf, Tensor) and id(leaf) in self.origins
        ]
        if not read:
            return output
        operation = func._schema.name.partition("::")[2].rstrip("_")
        results = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if results:
            constants = tuple(
                leaf.numpy(force=True)
                for leaf in tree_leaves((args, dict(kwargs or {})))
                if isinstance(leaf, Tensor) and id(leaf) not in self.origins
            )
            self._note(operation, results[0], read, constants)
            if operation in CUTS:
                for part in results[1:]:
                    self._note(operation, part, read, constants)
                return output
            for further in results[1:]:  # such as the statistics of a normalization
                self._own(further, self.origins[id(results[0])])
        return output

    def _note(
        self,
        operation: str,
        value: Tensor,
        read: list[str | None],
        constants: tuple[np.ndarray, ...],
    ) -> None:
        if operation in MOVES or not value.is_floating_point() or not value.numel():
            self._own(value, read[0])
            return
        place = self.places[-1] if self.places else ""
        inputs = tuple(dict.fromkeys(name for name in read if name is not None))
        # A copy: the next operation may write into the same memory.
        array = np.array(value.numpy(force=True))
        name = f"{place}.{operation}" if place else operation
        self.found.keep(name, array, inputs, operation, constants)
        self._own(value, self.found[-1].name)
