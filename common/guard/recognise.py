"""What kind of program an object or a name is; no framework is imported but the one it is of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from .._util.files import is_there
from .._util.quiet import silent_libraries
from ..backends.registry import INSTALL, KERAS, OWN, TORCH
from ..catalogue.search import record
from ..checkpoints.formats.detect import TFLITE_SIGNATURE
from ..checkpoints.published import is_library, is_published, sourced
from ..errors import FileError, MissingDependencyError, UsageError, missing, reason
from .checkpoint import CheckpointProgram
from .files import is_exported, is_saved_model, is_script
from .function import FunctionProgram
from .program import GuardedProgram

MODELS, EXPORTED = "programs", "exported"
# The class that an object's own is derived from, by its package and name, and what runs it.  The
# first that fits counts, from the object's own class on: Keras's layers are modules of PyTorch, or
# of TensorFlow, where Keras runs on these.
CLASSES = {
    ("keras", "Layer"): (KERAS, MODELS, "ModelProgram"),
    ("torch", "ExportedProgram"): (TORCH, EXPORTED, "GraphProgram"),
    ("torch", "ScriptModule"): (TORCH, EXPORTED, "GraphProgram"),
    ("torch", "ScriptFunction"): (TORCH, EXPORTED, "GraphProgram"),
    ("torch", "Module"): (TORCH, MODELS, "ModelProgram"),
    ("tensorflow", "AutoTrackable"): (KERAS, EXPORTED, "GraphProgram"),
    ("tensorflow", "PolymorphicFunction"): (KERAS, EXPORTED, "GraphProgram"),
    ("tensorflow", "ConcreteFunction"): (KERAS, EXPORTED, "GraphProgram"),
    ("tensorflow", "Interpreter"): (KERAS, EXPORTED, "LiteProgram"),
    ("ai_edge_litert", "Interpreter"): (KERAS, EXPORTED, "LiteProgram"),
}
ONNX = ("onnx", "ModelProto")
GRAPH = ".onnx"
LITE, ARCHIVE, HDF5 = ".tflite", ".keras", ".h5"
KNOWN = (
    "a model of PyTorch or Keras, a tf.Module, an exported program, an ONNX or TFLite model, a "
    'function of arrays, the file or folder of one of these, "module:function", or a checkpoint'
)


def program_of(
    what: Any, name: str | None = None, *, layout: str | None = None, dialect: str | None = None
) -> GuardedProgram:
    """A program from what a test has of it: a model, a graph, a path, or a function of arrays.

    A text is a file or folder, "module:function", where any of these may stand behind the name, or
    a published checkpoint by its name in the catalogue or "hf-hub:".

    `layout` is the order of the axes of the images that it takes, "NCHW" or "NHWC", which is found
    out otherwise.  `dialect` is for checkpoints that leave theirs open.

    Raises:
        UsageError: it is none of these.
        FileError: a file cannot be read, or a module not be imported.
        MissingDependencyError: what it runs in is not installed.
    """
    if isinstance(what, str | Path):
        return _of_text(str(what), name, layout, dialect)
    if isinstance(what, bytes):
        return _of_bytes(what, name, layout)
    bases = [(base.__module__.partition(".")[0], base.__name__) for base in type(what).__mro__]
    for base in bases:
        if base in CLASSES:
            framework, module, kind = CLASSES[base]
            return cast(
                "GuardedProgram", getattr(_module(framework, module), kind)(what, name, layout)
            )
    if ONNX in bases:
        return _of_onnx(what, name, layout)
    if callable(what) and not isinstance(what, type):
        return FunctionProgram(what, name, layout)
    said = f"the class {what.__qualname__}" if isinstance(what, type) else _type(what)
    raise UsageError(f"{said} is no program; give {KNOWN}")


def _type(what: Any) -> str:
    return f"{type(what).__module__}.{type(what).__qualname__}"


def _module(framework: str, module: str) -> Any:
    """The module of ours that runs a framework's programs.

    Raises:
        MissingDependencyError: the framework is not installed.
    """
    try:
        return import_module(f"{OWN[framework]}.{module}")
    except MissingDependencyError:
        raise
    except ModuleNotFoundError as error:
        raise missing(error, "running this program", INSTALL[framework]) from error


def _of_onnx(what: Any, name: str | None, layout: str | None) -> GuardedProgram:
    """A graph, or the path of one; `onnx` is imported by this alone."""
    from .onnx_file import OnnxProgram

    return OnnxProgram(what, name, layout)


def _of_bytes(what: bytes, name: str | None, layout: str | None) -> GuardedProgram:
    if what[4:8] == TFLITE_SIGNATURE:
        return cast("GuardedProgram", _module(KERAS, EXPORTED).LiteProgram(what, name, layout))
    from ..parity import onnx_program

    return _of_onnx(onnx_program.load(what), name, layout)


def _of_text(
    what: str, name: str | None, layout: str | None, dialect: str | None
) -> GuardedProgram:
    """The program behind a path, or another name."""
    if is_published(what):
        source = sourced(what)
        if source.path.suffix == GRAPH:
            return _of_onnx(source.path, name or what, layout)
        return CheckpointProgram(source, name, layout, dialect)
    if Path(what).suffix == GRAPH:
        return _of_onnx(what, name, layout)
    if not is_there(what) and ":" in what:
        found = _behind(what)
        try:
            return program_of(found, name or what, layout=layout, dialect=dialect)
        except UsageError as error:
            raise FileError(what, str(error)) from error
    framework = None if dialect else _framework_of(what)
    if framework is None:
        return CheckpointProgram(what, name, layout, dialect)
    read = _module(framework, EXPORTED).program_in
    try:
        return cast("GuardedProgram", read(what, name, layout))
    except FileError as error:
        # The layers of a model of Keras may not be here, and its weights still be those of ours.
        if Path(what).suffix != ARCHIVE:
            raise
        try:
            return CheckpointProgram(what, name, layout, dialect)
        except FileError:
            raise error from None


def _framework_of(path: str) -> str | None:
    """The framework whose program a file or folder is; None for weights alone."""
    if is_saved_model(path) or (is_there(path) and Path(path).suffix in (LITE, ARCHIVE)):
        return KERAS
    return TORCH if is_script(path) or is_exported(path) else None


def _behind(what: str) -> Any:
    """What "module:function" names; what is nothing may be a misspelt name of the catalogue."""
    try:
        return imported(what)
    except FileError:
        if is_library(what.partition(":")[0]):
            record(what)
        raise


def imported(what: str) -> Any:
    """The object that "module:name" names, looked for where the user stands as well.

    What libraries say while they are imported is held back.

    Raises:
        FileError: it cannot be imported.
    """
    module, _, function = what.partition(":")
    try:
        with importing_from_here(), silent_libraries():
            found = import_module(module)
            for part in function.split("."):
                found = getattr(found, part)
    except SystemExit as error:  # a script, without a condition on its name
        raise FileError(what, f"cannot be imported ({module} ends Python)") from error
    except Exception as error:  # of somebody else's code, which runs when it is imported
        raise FileError(what, f"cannot be imported ({reason(error)})") from error
    return found


@contextmanager
def importing_from_here() -> Iterator[None]:
    """Let modules be imported from the folder that the user stands in, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
