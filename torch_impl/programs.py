"""Anybody's PyTorch modules, value by value.

The same program as `keras_impl/programs.py`, name for name.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from efficientnet_rosetta.common.backends.trace import Trace
from efficientnet_rosetta.common.errors import RosettaError, UsageError
from efficientnet_rosetta.common.guard.arranging import Arranger
from efficientnet_rosetta.common.guard.outputs import named, wide
from efficientnet_rosetta.common.guard.program import (
    FLOAT32,
    FLOAT64,
    NCHW,
    NOTHING,
    Given,
    Input,
    Outputs,
    check_unchanged,
    rest_of,
    standing_in,
    told_as_errors_of,
)
from efficientnet_rosetta.common.guard.recording import Recording

from ._compat import DispatchMode

# What hands on its input in another shape, order or type, or amid zeros.
MOVES = {
    *("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "squeeze", "unsqueeze"),
    *("t", "transpose", "permute", "expand", "alias", "detach", "clone", "contiguous"),
    *("lift_fresh", "_to_copy", "to", "constant_pad_nd"),
}
WIDER = {
    **dict.fromkeys((torch.float32, torch.float16, torch.bfloat16), torch.float64),
    torch.complex64: torch.complex128,
}
# What cuts its input into parts, each of which is a value by itself.
CUTS = {"split", "split_with_sizes", "unbind", "chunk", "tensor_split"}


class ModelProgram:
    """A `torch.nn.Module`, run in inference.

    It is run in copies, so that the user's own keeps its weights, their type and its phase, and
    with a state of PyTorch's generators of its own, another one every time.
    """

    kind = "torch.nn.Module"
    sees_inside = True

    def __init__(self, module: Any, name: str | None = None, layout: str | None = None):
        self.module: nn.Module = module
        self.name = name or type(module).__name__
        self.arranger = Arranger(self.name, layout, NCHW)
        self.made: dict[str, nn.Module] = {}
        self.runs = 0

    @property
    def precisions(self) -> tuple[str, ...]:
        """Float64 too, by what is written down in it of float32 being read as that."""
        return (FLOAT32, FLOAT64)

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """A module says nothing of its inputs."""
        return None

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of what `forward` takes."""
        return tuple(_parameters(self.module)[0])

    def goes_on_from(self, step: str) -> bool:
        """From every operation."""
        return True

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs."""
        return self._called(given, precision, None)[1]

    def trace(
        self,
        given: Given,
        precision: str = FLOAT32,
        instead: Mapping[str, np.ndarray] = NOTHING,
    ) -> Trace:
        """Every operation of PyTorch's that depends on the inputs."""
        recorder = Recorder(self.name, instead)
        output, outputs = self._called(given, precision, recorder)
        recorder.close(output, outputs)
        return rest_of(recorder.found, instead, self.name)

    def _in(self, precision: str) -> Any:
        """The module in a precision: a copy, or itself in float32 where it cannot be copied.

        Raises:
            RosettaError: it cannot be copied.
        """
        if precision not in self.made:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    made = copy.deepcopy(self.module)
                    made = made.double() if precision == FLOAT64 else made.float()
            except Exception as error:  # of somebody else's module
                if precision == FLOAT64:
                    raise RosettaError(
                        f"{self.name} cannot be copied, to run it in float64"
                    ) from error
                made = self.module
            self.made[precision] = made
        return self.made[precision]

    def _called(
        self, given: Given, precision: str, recorder: Recorder | None
    ) -> tuple[Any, Outputs]:
        """What the module returns, and the arrays in it."""
        module = self._in(precision)

        def run(arranged: Given) -> tuple[Any, Outputs]:
            device = next((p.device for p in module.parameters()), torch.device("cpu"))
            called = self._arguments(module, arranged, precision)
            tensors = [torch.tensor(array, device=device) for array in called.arrays]
            args = tensors[: len(called.args)]
            kwargs = dict(zip(called.kwargs, tensors[len(args) :], strict=True))
            if recorder is not None:
                recorder.begin()
            with ExitStack() as stack:
                stack.enter_context(told_as_errors_of(self.name))
                stack.enter_context(_in_inference(module))
                stack.enter_context(self._seeded(device))
                stack.enter_context(_in_precision(precision))
                if recorder is not None:
                    stack.enter_context(recorder.watching(module, tensors))
                output = self._output(module, args, kwargs, recorder)
            check_unchanged(self.name, called.arrays, [one.numpy(force=True) for one in tensors])
            return output, named(output, _array)

        return self.arranger.call(given.in_precision(precision), self.inputs, run)

    def _arguments(self, module: Any, given: Given, precision: str) -> Given:
        """The inputs by position and by the names of `forward`; one may have any name.

        Raises:
            UsageError: `forward` has no such name.
        """
        known, takes_others = _parameters(module)
        if takes_others or given.kwargs.keys() <= set(known):
            return given
        if len(given.arrays) == 1:
            return replace(given, args=given.arrays, kwargs={})
        unknown = next(name for name in given.kwargs if name not in known)
        raise UsageError(
            f"{self.name} takes {', '.join(known)}; it was given an input named {unknown}"
        )

    def _output(
        self,
        module: Any,
        args: list[Tensor],
        kwargs: dict[str, Tensor],
        recorder: Recorder | None,
    ) -> Any:
        return module(*args, **kwargs)

    @contextmanager
    def _seeded(self, device: torch.device) -> Iterator[None]:
        """With generators in a state that is another one in every run, and restored afterwards."""
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            self.runs += 1
            torch.default_generator.manual_seed(self.runs)
            if devices:
                torch.cuda.manual_seed(self.runs)
            yield


def _parameters(module: Any) -> tuple[list[str], bool]:
    """The names of what `forward` takes, and whether it takes others as well."""
    try:
        known = inspect.signature(module.forward).parameters
    except ValueError:  # TorchScript's, which is called with itself first
        return [one.name for one in module.forward.schema.arguments][1:], False
    named = [
        name for name, one in known.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    return named, any(one.kind is one.VAR_KEYWORD for one in known.values())


def _array(leaf: Any) -> np.ndarray | None:
    """The array of a tensor; nothing else that a module returns can be compared."""
    if not isinstance(leaf, Tensor):
        return None
    return (leaf.float() if leaf.dtype == torch.bfloat16 else leaf).numpy(force=True)


@contextmanager
def _in_inference(module: Any) -> Iterator[None]:
    """Without gradients, and with every part of a module in evaluation and as it was afterwards."""
    phases = {part: part.training for part in module.modules()}
    try:
        for part in phases:
            part.training = False  # `eval` is refused by exported programs
        with torch.no_grad():
            yield
    finally:
        for part, phase in phases.items():
            part.training = phase


@contextmanager
def _in_precision(precision: str) -> Iterator[None]:
    """With numbers that are made on the way in a precision."""
    if precision != FLOAT64:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Widening():
            yield
    finally:
        torch.set_default_dtype(before)


class _Widening(DispatchMode):
    """Makes float64 of every narrower type that an operation is told to make."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is not torch.ops.aten.view.dtype:  # which reads bits, and makes no numbers
            args = tuple(map(_wider, args))
            named = {name: _wider(value) for name, value in named.items()}
        return func(*args, **named)


def _wider(argument: Any) -> Any:
    return WIDER.get(argument, argument) if isinstance(argument, torch.dtype) else argument


class Recorder(Recording, DispatchMode):
    """Keeps the values of all operations that depend on the inputs.

    What an operation writes into a tensor that is there already is the tensor's new value.
    """

    def __init__(self, program: str, instead: Mapping[str, np.ndarray]) -> None:
        DispatchMode.__init__(self)
        Recording.__init__(self, program, instead)

    def begin(self) -> None:
        """Forget what an earlier attempt to run the program has left."""
        super().begin()
        self.places: list[str] = []  # the modules that are being run, the innermost last

    @contextmanager
    def watching(self, module: Any, inputs: list[Tensor]) -> Iterator[None]:
        """Record what a module makes of inputs."""
        for tensor in inputs:
            self.own(tensor, None)
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

    @contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """Call the operations that are run after a module."""
        self.places.append(place)
        try:
            yield
        finally:
            self.places.pop()

    def _entering(self, name: str) -> Any:
        return lambda module, args: self.places.append(name)

    def _leaving(self, module: Any, args: Any, output: Any) -> None:
        self.places.pop()

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
        operation = func.name().partition("::")[2].partition(".")[0].rstrip("_")
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
                self.own(further, self.origins[id(results[0])])
        return output

    def _note(
        self,
        operation: str,
        value: Tensor,
        read: list[str | None],
        constants: tuple[np.ndarray, ...],
    ) -> None:
        if operation in MOVES or not value.is_floating_point() or not value.numel():
            self.own(value, read[0])
            return
        place = self.places[-1] if self.places else ""
        inputs = tuple(dict.fromkeys(name for name in read if name is not None))
        # A copy: the next operation may write into the same memory.
        name = f"{place}.{operation}" if place else operation
        self.found.keep(name, _copied(value), inputs, operation, constants)
        step = self.found[-1]
        given = standing_in(self.program, step.name, value.shape, self.instead)
        if given is not None:
            value.copy_(torch.tensor(given))
            self.found[-1] = replace(step, value=_copied(value))
        self.own(value, step.name)


def _copied(value: Tensor) -> np.ndarray:
    array = _array(value)
    assert array is not None
    return np.array(wide(array))
