"""What can be compared: ONNX files, checkpoints of any layout, and functions of one's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .._util.files import is_file, is_there
from ..architectures import changed
from ..backends.protocol import Tracer, loaded, require
from ..backends.registry import installed_backend
from ..backends.trace import Trace
from ..catalogue.search import record
from ..checkpoints.identify import Match, match_with
from ..checkpoints.published import Source, is_library, is_published, sourced
from ..errors import FileError, RosettaError, reason

if TYPE_CHECKING:
    from onnx import ModelProto

DEFAULT_SIDE = 224  # pixels, where a program does not say


class Program(Protocol):
    """Something that turns images into outputs."""

    @property
    def name(self) -> str:
        """What it is called in messages: its file, or its function."""

    @property
    def kind(self) -> str:
        """What it is, in words."""

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """The images that it takes, (C, H, W), where it says."""

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """Every value that it can show on the way from images (N, C, H, W), the output last.

        Values may be kept in files of the folder.
        """


def program(what: str | Path | Callable[..., Any], dialect: str | None = None) -> Program:
    """What is behind an argument: FILE.onnx, a checkpoint, module:function, or a function itself.

    A checkpoint may be named as the catalogue has it.

    Raises:
        RosettaError: it is none of these, or cannot be read.
    """
    if callable(what):
        return CallableProgram(getattr(what, "__qualname__", repr(what)), what)
    what = str(what)
    if is_published(what):
        source = sourced(what)
        graph = source.path.suffix == ".onnx"
        return OnnxProgram(str(source.path)) if graph else CheckpointProgram(source, dialect)
    if Path(what).suffix == ".onnx":
        return OnnxProgram(what)
    if not is_there(what) and ":" in what:
        return CallableProgram(what, _function(what))
    return CheckpointProgram(what, dialect)


class OnnxProgram:
    """An ONNX file with one input, channels first or last."""

    def __init__(self, path: str):
        from . import onnx_program

        if not is_file(path):
            raise FileError(path, "no such file")
        self.name, self.kind = path, "ONNX"
        session = onnx_program.start(path)
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise FileError(
                path,
                f"has {len(inputs)} inputs, {', '.join(i.name for i in inputs)}; one is needed",
            )
        self.shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
        self.dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}.get(inputs[0].type)
        if self.dtype is None:
            raise FileError(path, f"takes {inputs[0].type}; floating point is needed")
        del session
        self.model = onnx_program.load(path)
        self.channels_last = len(self.shape) == 4 and self.shape[3] in (1, 3, 4)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """What the input says of an image, 224 pixels where it is open."""
        if len(self.shape) != 4:
            return None
        sides = self.shape[1:]
        channels, height, width = [sides[2], *sides[:2]] if self.channels_last else sides
        return channels or 3, height or DEFAULT_SIDE, width or DEFAULT_SIDE

    def given(self, images: np.ndarray) -> np.ndarray:
        """Images in the order and type of the input."""
        if self.channels_last and images.ndim == 4:
            images = images.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images, self.dtype)

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """Every operation of the graph that depends on the input."""
        return self._trace(self.model, self.given(images), folder)

    @cached_property
    def cuts(self) -> set[str]:
        """The values that no skip leads around."""
        from . import onnx_program

        return onnx_program.cuts(self.model)

    def resumable(self, step: str) -> str | None:
        """A step itself, unless a skip leads around it."""
        return step if step in self.cuts else None

    def value(self, images: np.ndarray, name: str, folder: Path) -> np.ndarray:
        """One value inside the graph, by the name of its step.

        Raises:
            FileError: there is none of this name, or the graph cannot be run.
        """
        for step in self.trace(images, folder):
            if step.name == name:
                return np.array(step.value)
        raise FileError(self.name, f"has no value {name!r}")

    def trace_after(self, name: str, value: np.ndarray, folder: Path) -> Trace:
        """The operations that follow one value."""
        from . import onnx_program

        rest = onnx_program.part(self.model, name, self.model.graph.output[-1].name)
        return self._trace(rest, value, folder)

    def _trace(self, model: ModelProto, value: np.ndarray, folder: Path) -> Trace:
        from . import onnx_program

        found = Trace()
        try:
            for number, (name, array, inputs) in enumerate(onnx_program.steps(model, value)):
                np.save(folder / f"{number}.npy", array)
                found.keep(name, np.load(folder / f"{number}.npy", mmap_mode="r"), inputs)
        except RosettaError as error:
            raise FileError(self.name, f"{error}") from error
        if not found:
            raise FileError(self.name, "its output does not depend on its input")
        return found


class CheckpointProgram:
    """A weight file of any layout, run in the framework and dialect of its library."""

    def __init__(self, path: str | Source, dialect: str | None):
        self.match: Match = match_with(path, dialect)
        found = self.match.dialect or self.match.possible[0]
        self.network = changed(self.match.network, dialect=asdict(found))
        framework, backend = installed_backend(self.match.layouts[0].framework)
        self.backend = require(backend, Tracer, framework)
        self.dtype = "float32"
        self.ends: dict[str, str] = {}  # the last operation of each section
        self.name = path.given if isinstance(path, Source) else path
        self.kind = f"{self.network.name}, {found.name} dialect, in {framework}"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """What the network takes."""
        return (self.network.in_channels, *self.network.resolution)

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """Every operation, section by section."""
        return self._trace(self.network.computed_endpoints, images)

    def resumable(self, step: str) -> str | None:
        """The endpoint that a step is the value of, if it is."""
        return self.ends.get(step)

    def value(self, images: np.ndarray, name: str, folder: Path) -> np.ndarray:
        """The value of an endpoint for images (N, C, H, W).

        Raises:
            FileError: the network has no such endpoint.
        """
        if name not in self.network.computed_endpoints:
            known = ", ".join(self.network.computed_endpoints)
            raise FileError(self.name, f"unknown endpoint {name!r}; choose from {known}")
        model = self._model()
        return self.backend.endpoints(model, images, [name])[name]

    def trace_after(self, name: str, value: np.ndarray, folder: Path) -> Trace:
        """The operations that follow an endpoint."""
        known = self.network.computed_endpoints
        return self._trace(known[known.index(name) + 1 :], value)

    def _model(self) -> Any:
        stored = self.match.weights
        weights = {name: np.asarray(stored[name], np.float32) for name in self.network.tensors}
        return loaded(self.backend, self.network, weights, self.dtype)

    def _trace(self, endpoints: Sequence[str], value: np.ndarray) -> Trace:
        model, found = self._model(), Trace()
        for endpoint in endpoints:
            steps = self.backend.trace(model, endpoint, value)
            for step in steps:
                output = step is steps[-1] and endpoint == self.network.output
                found.keep(endpoint if output else f"{endpoint}.{step.name}", step.value)
            self.ends[found[-1].name] = endpoint
            value = steps[-1].value
        return found


def _function(what: str) -> Callable[..., Any]:
    """The function of `module:function`; what is none may be a misspelt name of the catalogue."""
    try:
        return imported(what)
    except FileError:
        if is_library(what.partition(":")[0]):
            record(what)
        raise


def imported(what: str) -> Callable[..., Any]:
    """The function that `module:function` names, looked for where the user stands as well.

    Raises:
        FileError: it cannot be imported.
    """
    module, _, function = what.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)  # as `python -m` has it
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except Exception as error:  # of somebody else's code, which runs when it is imported
        raise FileError(what, f"cannot be imported ({reason(error)})") from error
    finally:
        sys.path.remove(here)
    return found


class CallableProgram:
    """A function: an array in, an array out, or arrays by name, the output last."""

    kind = "callable"
    image_shape = None

    def __init__(self, name: str, function: Callable[..., Any]):
        self.name, self.function = name, function

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """What it returns.

        Raises:
            FileError: it fails, or returns something else than floating-point arrays.
        """
        try:
            values = self.function(images)
        except Exception as error:  # whatever somebody else's code raises
            raise FileError(self.name, f"{type(error).__name__}: {reason(error)}") from error
        if not isinstance(values, Mapping):
            values = {"output": values}
        found = Trace()
        for name, value in values.items():
            found.keep(str(name), np.asarray(value))
        if not found or any(step.value.dtype.kind != "f" for step in found):
            raise FileError(self.name, "must return a floating-point array, or some by name")
        return found


Resumable = OnnxProgram | CheckpointProgram  # what can be run from one of its values on
