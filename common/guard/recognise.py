"""What kind of program an object or a name is; no framework is imported but the one it is of."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, cast

from ..backends.registry import KERAS, OWN, TORCH
from ..errors import UsageError
from .function import FunctionProgram
from .onnx_file import OnnxProgram
from .program import GuardedProgram

# The class that an object's own is derived from, by the package and the name of it.
MODELS = {
    ("torch", "Module"): TORCH,
    ("torch", "ExportedProgram"): TORCH,
    ("keras", "Model"): KERAS,
}
ONNX = ("onnx", "ModelProto")


def program_of(
    what: Any, name: str | None = None, *, layout: str | None = None, dialect: str | None = None
) -> GuardedProgram:
    """A program from what a test has of it: a model, a graph, a path, or a function of arrays.

    `layout` is the order of the axes of the images that it takes, "NCHW" or "NHWC", which is found
    out otherwise.  `dialect` is for checkpoints that leave theirs open.

    Raises:
        UsageError: it is none of these.
        RosettaError: a file cannot be read.
    """
    if isinstance(what, str | Path):
        return _of_path(what, name)
    bases = [(base.__module__.partition(".")[0], base.__name__) for base in type(what).__mro__]
    for base in bases:
        if base in MODELS:
            programs = import_module(f"{OWN[MODELS[base]]}.programs")
            return cast("GuardedProgram", programs.ModelProgram(what, name))
    if ONNX in bases:
        return OnnxProgram(what, name)
    if callable(what):
        return FunctionProgram(what, name)
    raise UsageError(
        f"{type(what).__module__}.{type(what).__qualname__} is no program that is known; give a "
        "model, an ONNX file, or a function of arrays"
    )


def _of_path(what: str | Path, name: str | None) -> GuardedProgram:
    """The program in a file."""
    path = Path(what)
    if path.suffix == ".onnx":
        return OnnxProgram(path, name)
    raise UsageError(f"{what} is no program that is known")
