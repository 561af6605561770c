"""TensorFlow programs that stand without their source: SavedModels, `tf.Module`, TFLite, and files.

The same program as `torch_impl/exported.py`, name for name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from efficientnet_rosetta.common._util.quiet import quiet_stderr
from efficientnet_rosetta.common.errors import (
    FileError,
    RosettaError,
    UsageError,
    needs,
    reading,
    reason,
)
from efficientnet_rosetta.common.guard.arranging import Arranger, bound
from efficientnet_rosetta.common.guard.files import is_saved_model
from efficientnet_rosetta.common.guard.outputs import named
from efficientnet_rosetta.common.guard.program import (
    FLOAT32,
    FLOAT64,
    NHWC,
    Given,
    Input,
    OpaqueProgram,
    Outputs,
    told_as_errors_of,
)

from .programs import ModelProgram

with needs("running programs of TensorFlow"), quiet_stderr():
    import tensorflow as tf

SERVING = "serving_default"


class GraphProgram(OpaqueProgram):
    """A `tf.Module`, a `tf.function`, or what was loaded from a SavedModel, run as it is."""

    def __init__(self, graph: Any, name: str | None = None, layout: str | None = None):
        self.name = name or str(getattr(graph, "name", None) or type(graph).__name__)
        self.kind = "tf.Module" if isinstance(graph, tf.Module) else _kind(graph)
        self.graph = graph  # or its variables would be let go
        self.function = _function(graph, self.name)
        self.arranger = Arranger(self.name, layout, NHWC)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Float64 where it says that it takes it, or says nothing and does."""
        said = self.inputs
        if said is None or any(one.dtype == FLOAT64 for one in said):
            return (FLOAT32, FLOAT64)
        return (FLOAT32,)

    @cached_property
    def inputs(self) -> tuple[Input, ...] | None:
        """Its signature, where it has one."""
        args, kwargs = _signature(self.function)
        specs: list[tuple[str | int, Any]] = [*enumerate(args), *kwargs.items()]
        if not specs or not all(_has_rank(spec) for _, spec in specs):
            return None
        return tuple(_declared(name, spec) for name, spec in specs)

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs.

        Raises:
            RosettaError: it fails, or computes in float32 where it was to in float64.
        """

        def run(arranged: Given) -> Outputs:
            args, kwargs = self._arguments(arranged)
            with told_as_errors_of(self.name):
                output = self.function(*args, **kwargs)
            if isinstance(output, Mapping):  # of a signature, they come in another order every time
                output = {name: output[name] for name in sorted(output)}
            return named(output, _array)

        outputs = self.arranger.call(given.in_precision(precision), self.inputs, run)
        if precision == FLOAT64 and any(one.dtype == np.float32 for one in outputs.values()):
            raise RosettaError(f"{self.name} is given float64, and computes in float32")
        return outputs

    def _arguments(self, given: Given) -> tuple[list[Any], dict[str, Any]]:
        if self.inputs is None:
            args = [tf.constant(array) for array in given.args]
            return args, {name: tf.constant(array) for name, array in given.kwargs.items()}
        positions = len(_signature(self.function)[0])
        arrays = bound(self.name, given, self.inputs)
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        args = list(tensors.values())[:positions]
        return args, dict(list(tensors.items())[positions:])


class LiteProgram(OpaqueProgram):
    """A TFLite file, its bytes, or an interpreter of one.

    Whole numbers that stand for others by a scale are turned from and into these.
    """

    kind = "TFLite"
    precisions = (FLOAT32,)

    def __init__(self, model: Any, name: str | None = None, layout: str | None = None):
        self.name = name or (str(model) if isinstance(model, str | Path) else "the TFLite model")
        self.interpreter = _interpreter(model, self.name)
        self.arranger = Arranger(self.name, layout, NHWC)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it declares; numbers that stand for others are said to be those."""
        found = []
        for one in self.interpreter.get_input_details():
            sides = one.get("shape_signature", one["shape"])
            shape = tuple(None if side < 0 else int(side) for side in sides)
            dtype = FLOAT32 if _scale(one) else np.dtype(one["dtype"]).name
            found.append(Input(_plain(one["name"]), shape, dtype))
        return tuple(found)

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs.

        Raises:
            RosettaError: the interpreter cannot run it on these inputs.
        """

        def run(arranged: Given) -> Outputs:
            arrays = bound(self.name, arranged, self.inputs)
            try:
                with _kept_shapes(self.interpreter), quiet_stderr():
                    return self._invoked(list(arrays.values()))
            except (RuntimeError, ValueError) as error:
                raise RosettaError(
                    f"{self.name}: TFLite cannot run it ({reason(error)})"
                ) from error

        return self.arranger.call(given.in_precision(FLOAT32), self.inputs, run)

    def _invoked(self, arrays: list[np.ndarray]) -> Outputs:
        details = self.interpreter.get_input_details()
        for one, array in zip(details, arrays, strict=True):
            self.interpreter.resize_tensor_input(one["index"], array.shape)
        self.interpreter.allocate_tensors()
        for one, array in zip(details, arrays, strict=True):
            self.interpreter.set_tensor(one["index"], _quantized(array, one))
        self.interpreter.invoke()
        names = _output_names(self.interpreter)
        outputs = {
            names.get(one["name"], _plain(one["name"])): _dequantized(
                self.interpreter.get_tensor(one["index"]), one
            )
            for one in self.interpreter.get_output_details()
        }
        return named(outputs, np.array)


def program_in(path: str | Path, name: str | None = None, layout: str | None = None) -> Any:
    """The program in a SavedModel folder, or in a file of Keras or TFLite.

    Raises:
        FileError: it cannot be read.
    """
    name = name or str(path)
    if is_saved_model(path):
        with reading(path, "a SavedModel"), quiet_stderr():
            return GraphProgram(tf.saved_model.load(str(path)), name, layout)
    if Path(path).suffix == ".tflite":
        return LiteProgram(path, name, layout)
    try:
        with quiet_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = keras.saving.load_model(path, compile=False)
    except Exception as error:  # of layers that are not here, as of damage
        raise FileError(path, f"cannot be loaded as a model of Keras ({reason(error)})") from error
    return ModelProgram(model, name, layout)


# ------------------------------------------------------------------ signatures of TensorFlow


def _kind(graph: Any) -> str:
    functions = (tf.types.experimental.PolymorphicFunction, tf.types.experimental.ConcreteFunction)
    return "tf.function" if isinstance(graph, functions) else "SavedModel"


def _function(graph: Any, name: str) -> Any:
    """What is to be called: a signature, where there are some, or the object itself.

    Raises:
        UsageError: nothing of it can be called, or nothing says which of several.
    """
    signatures = getattr(graph, "signatures", None) or {}
    if SERVING in signatures:
        return signatures[SERVING]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    if callable(graph):
        return graph
    if signatures:
        raise UsageError(
            f"{name} has the signatures {', '.join(sorted(signatures))}, none of which is "
            f"{SERVING}; give one of them, as loaded.signatures[...]"
        )
    raise UsageError(f"{name} has no signature and cannot be called; give one of its functions")


def _signature(function: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a function declares by position and by name; nothing where it takes anything."""
    if isinstance(function, tf.types.experimental.ConcreteFunction):
        args, kwargs = function.structured_input_signature
        return tuple(args), dict(kwargs)
    if not hasattr(function, "input_signature"):
        function = function.__call__  # of an object, which may be a `tf.function`
    return tuple(getattr(function, "input_signature", None) or ()), {}


def _declared(name: str | int, spec: Any) -> Input:
    called = (spec.name or f"input {name}") if isinstance(name, int) else name
    return Input(called, tuple(spec.shape.as_list()), spec.dtype.name)


def _has_rank(spec: Any) -> bool:
    """Whether what is declared is a tensor, of which it is known how many sides it has."""
    return isinstance(spec, tf.TensorSpec) and spec.shape.rank is not None


def _array(leaf: Any) -> np.ndarray | None:
    return np.array(leaf) if tf.is_tensor(leaf) or isinstance(leaf, np.ndarray) else None


# ------------------------------------------------------------------ TFLite


def _interpreter(model: Any, name: str) -> Any:
    if hasattr(model, "get_input_details"):
        return model
    with reading(name, "a TFLite model"), warnings.catch_warnings(), quiet_stderr():
        warnings.simplefilter("ignore")  # of where the interpreter is to move to
        if isinstance(model, bytes):
            return tf.lite.Interpreter(model_content=model)
        return tf.lite.Interpreter(model_path=str(model))


@contextmanager
def _kept_shapes(interpreter: Any) -> Iterator[None]:
    """With the shapes of inputs as they were afterwards: the interpreter may be the user's."""
    before = [(one["index"], one["shape"]) for one in interpreter.get_input_details()]
    try:
        yield
    finally:
        for index, shape in before:
            interpreter.resize_tensor_input(index, shape)
        interpreter.allocate_tensors()


def _plain(name: str) -> str:
    """A name without what converters put around it."""
    return name.removeprefix(f"{SERVING}_").partition(":")[0]


def _output_names(interpreter: Any) -> dict[str, str]:
    """What the one signature calls the tensors that are outputs, where there is one."""
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        return {}
    runner = interpreter.get_signature_runner(next(iter(signatures)))
    return {one["name"]: name for name, one in runner.get_output_details().items()}


def _scale(detail: Mapping[str, Any]) -> float:
    """What one step of a quantized tensor is; 0 where it is not quantized."""
    return float(detail.get("quantization", (0.0, 0))[0])


def _quantized(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    scale, zero = _scale(detail), detail.get("quantization", (0.0, 0))[1]
    if not scale or np.dtype(detail["dtype"]).kind == "f":
        return array.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(array / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _dequantized(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    scale, zero = _scale(detail), detail.get("quantization", (0.0, 0))[1]
    if not scale or array.dtype.kind == "f":
        return array
    return (array.astype(np.float32) - zero) * np.float32(scale)
