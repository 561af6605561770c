"""Anybody's Keras programs, functional or subclassed, on the backend that they live on.

The same program as `torch_impl/programs.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from efficientnet_rosetta.common.backends.trace import Trace
from efficientnet_rosetta.common.errors import RosettaError, reason
from efficientnet_rosetta.common.guard.program import FLOAT32, FLOAT64, Given, Input, Outputs

# Layers that hand on their input in another shape, order or type, or amid zeros.
MOVES = {
    *("InputLayer", "Identity", "Dropout", "Flatten", "Reshape", "Permute", "Transpose", "Cast"),
    *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Pad", "Squeeze", "ExpandDims"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
}


class ModelProgram:
    """A `keras.Model`, run in inference."""

    def __init__(self, model: keras.Model, name: str | None = None):
        self.model, self.name = model, name or model.name
        self.kind = f"keras.Model on {keras.config.backend()}"
        self.made: dict[str, keras.Model] = {}

    @property
    def precisions(self) -> tuple[str, ...]:
        """Float64 where the model can be built again from its configuration."""
        try:
            self._in(FLOAT64)
        except Exception:  # of somebody else's layers, which may have no configuration
            return (FLOAT32,)
        return (FLOAT32, FLOAT64)

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """The inputs of a model that was built; None before it was."""
        symbolic = getattr(self.model, "inputs", None)
        if not symbolic:
            return None
        return tuple(
            Input(one.name, tuple(one.shape), keras.backend.standardize_dtype(one.dtype))
            for one in symbolic
        )

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs."""
        return _named(self._called(given, precision))

    def trace(self, given: Given, precision: str = FLOAT32) -> Trace:
        """Every layer and every operation of a functional graph that depends on the inputs."""
        recorder = _Recorder()
        outputs = self._called(given, precision, recorder)
        for name, value in _named(outputs).items():
            recorder.found.keep(name, value)
        return recorder.found

    def _in(self, precision: str) -> keras.Model:
        """The model itself, or one built again in another precision with the same weights."""
        if precision == _precision_of(self.model):
            return self.model
        if precision not in self.made:
            configuration = _in_dtype(self.model.get_config(), precision)
            made = type(self.model).from_config(configuration)
            made.set_weights([weight.astype(precision) for weight in self.model.get_weights()])
            self.made[precision] = made
        return self.made[precision]

    def _called(self, given: Given, precision: str, recorder: _Recorder | None = None) -> Any:
        model = self._in(precision)
        arrays = given.in_precision(precision).arrays
        tensors = [ops.convert_to_tensor(np.ascontiguousarray(array)) for array in arrays]
        inputs: Any = tensors[0] if len(tensors) == 1 else tensors
        if given.kwargs and not given.args:
            inputs = dict(zip(given.kwargs, tensors, strict=True))
        try:
            if recorder is None:
                return model(inputs, training=False)
            with recorder.watching(tensors):
                return model(inputs, training=False)
        except Exception as error:  # whatever somebody else's code raises
            raise RosettaError(f"{self.name}: {type(error).__name__}: {reason(error)}") from error


def _precision_of(model: keras.Model) -> str:
    return str(model.variable_dtype)


def _in_dtype(configuration: Any, precision: str) -> Any:
    """A configuration with every type of numbers in it replaced."""
    if isinstance(configuration, Mapping):
        return {
            key: precision if key == "dtype" and value else _in_dtype(value, precision)
            for key, value in configuration.items()
        }
    if isinstance(configuration, list | tuple):
        return type(configuration)(_in_dtype(value, precision) for value in configuration)
    return configuration


def _named(output: Any) -> Outputs:
    """The arrays of whatever a model returns, by their place in it."""
    if not isinstance(output, Mapping | Sequence):
        return {"output": ops.convert_to_numpy(output)}
    paths = tree.flatten_with_path(output)
    return {".".join(map(str, path)): ops.convert_to_numpy(leaf) for path, leaf in paths}


class _Recorder:
    """Keeps what layers return, and the operations of functional graphs.

    A tensor is known by its identity, and none is let go, so that no other takes its place.
    """

    def __init__(self) -> None:
        self.found = Trace()
        self.origins: dict[int, str | None] = {}  # of a tensor: its step; None is an input
        self.held: list[Any] = []

    @contextmanager
    def watching(self, inputs: list[Any]) -> Iterator[None]:
        """Record what is made of inputs."""
        for tensor in inputs:
            self._own(tensor, None)
        kept = {kind: kind.__call__ for kind in (keras.Operation, keras.Layer)}
        try:
            for kind, call in kept.items():
                kind.__call__ = self._recording(call)
            yield
        finally:
            for kind, call in kept.items():
                kind.__call__ = call

    def _recording(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            before = len(self.found)
            output = call(operation, *args, **kwargs)
            read = [
                self.origins[id(x)] for x in tree.flatten((args, kwargs)) if id(x) in self.origins
            ]
            self._note(operation, output, read, inner=len(self.found) > before)
            return output

        return recorded

    def _own(self, tensor: Any, origin: str | None) -> None:
        self.held.append(tensor)
        self.origins[id(tensor)] = origin

    def _note(
        self, operation: keras.Operation, output: Any, read: list[str | None], inner: bool
    ) -> None:
        """Keep the first result of an operation, unless a part of it has been kept as the same."""
        results = [leaf for leaf in tree.flatten(output) if ops.is_tensor(leaf)]
        if not results or id(results[0]) in self.origins:
            return
        if type(operation).__name__ in MOVES:
            origin = read[0] if read else self.found[-1].name if self.found else None
            self._own(results[0], origin)
            return
        array = np.array(ops.convert_to_numpy(results[0]))
        if array.dtype.kind != "f" or not array.size:
            self._own(results[0], read[0] if read else None)
            return
        # What is made between layers is not seen: the step before is then what it was made from.
        inputs = None if inner or not read else tuple(dict.fromkeys(n for n in read if n))
        weights = () if inner else getattr(operation, "weights", ())
        self.found.keep(
            getattr(operation, "path", None) or operation.name,
            array,
            inputs,
            type(operation).__name__,
            tuple(ops.convert_to_numpy(weight) for weight in weights),
        )
        for result in results:
            self._own(result, self.found[-1].name)
