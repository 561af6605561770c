"""Anybody's Keras models, functional or subclassed, on the backend that they live on.

The same program as `torch_impl/programs.py`, name for name.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from efficientnet_rosetta.common.backends.align import relative_error
from efficientnet_rosetta.common.backends.trace import Trace
from efficientnet_rosetta.common.errors import RosettaError, UsageError, reason
from efficientnet_rosetta.common.guard.arranging import Arranger, bound
from efficientnet_rosetta.common.guard.outputs import named, wide
from efficientnet_rosetta.common.guard.program import (
    FLOAT32,
    FLOAT64,
    NCHW,
    NHWC,
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

from ._compat import all_layers, exact_constants, unnoticed
from .devices import arithmetic

# Layers that hand on their input in another shape, order or type, or amid zeros.
MOVES = {
    *("InputLayer", "Identity", "Dropout", "Flatten", "Reshape", "Permute", "Transpose", "Cast"),
    *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Pad", "Squeeze", "ExpandDims"),
    *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("ConvertToTensor", "StopGradient", "BroadcastTo", "Moveaxis", "Swapaxes", "Ravel"),
}
# Functions of `keras.ops` that say something of a tensor, and make none.
ASKED = {"is_tensor", "convert_to_numpy", "shape", "dtype", "ndim", "size"}
ADDED = ("name", "trainable", "dtype")  # to the configuration of every layer
# How far a copy in float64 may be from the model itself, in standard deviations: what float32 does
# to any network of use, and, where half precision is reckoned in, that.
SAME, SAME_IN_HALF = 1e-3, 0.1
EQUAL = 1e-6  # how far the same operations in the same precision may be, in other threads


class ModelProgram:
    """A `keras.Model`, or a layer, run in inference.

    In float64 it is a copy, built again from its configuration, which is held to compute what the
    model itself does.
    """

    sees_inside = True

    def __init__(self, model: keras.Layer, name: str | None = None, layout: str | None = None):
        self.model, self.name = model, name or model.name
        what = "keras.Model" if isinstance(model, keras.Model) else "Keras layer"
        self.kind = f"{what} on {keras.config.backend()}"
        self.arranger = Arranger(self.name, layout, _usual())
        self.made: dict[str, keras.Layer] = {}
        # What holding a copy to the model has computed, by precision, until it is asked for.
        self.held: dict[str, tuple[Given, Outputs]] = {}

    @property
    def precisions(self) -> tuple[str, ...]:
        """Float64 too, where the model can be built again from its configuration."""
        return (FLOAT32, FLOAT64)

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """The inputs of a functional model; a subclassed one says nothing of them."""
        symbolic = getattr(self.model, "inputs", None)
        if not symbolic:
            return None
        return tuple(
            Input(
                name,
                tuple(one.shape),
                keras.backend.standardize_dtype(one.dtype),
                _usual() if len(one.shape) == 4 else None,
            )
            for name, one in zip(_input_names(self.model), symbolic, strict=True)
        )

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of what `call` takes."""
        return tuple(
            name for name in inspect.signature(self.model.call).parameters if name != "training"
        )

    def goes_on_from(self, step: str) -> bool:
        """From every layer and operation."""
        return True

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs."""
        self._in(precision, given)  # which runs it on these where the copy is new
        known, outputs = self.held.pop(precision, (None, {}))
        # Once only: whoever asks again wants to know whether they are the same.
        return outputs if known is given else self._called(given, precision, None)[1]

    def trace(
        self,
        given: Given,
        precision: str = FLOAT32,
        instead: Mapping[str, np.ndarray] = NOTHING,
    ) -> Trace:
        """Every layer and every operation of a functional graph that depends on the inputs."""
        recorder = Recorder(self.name, instead)
        output, outputs = self._called(given, precision, recorder)
        recorder.close(output, outputs)
        return rest_of(recorder.found, instead, self.name)

    def _in(self, precision: str, given: Given) -> keras.Layer:
        """The model itself, or one built again in another precision with the same weights.

        Raises:
            RosettaError: it cannot be built again, or is then another one.
        """
        if precision == self.model.variable_dtype:
            return self.model
        if precision not in self.made:
            try:
                self.made[precision] = _again(self.model, precision)
            except Exception as error:  # of somebody else's layers
                raise RosettaError(
                    f"{self.name} cannot be built again in {precision} ({reason(error)})"
                ) from error
            try:
                self._hold(precision, given)
            except RosettaError:
                del self.made[precision]
                raise
        return self.made[precision]

    def _hold(self, precision: str, given: Given) -> None:
        """Hold a copy to compute what the model itself does.

        Raises:
            RosettaError: it does not, as where a layer has been changed since it was made.
        """
        own = str(self.model.variable_dtype)
        if {own, precision} != {FLOAT32, FLOAT64}:
            return
        layers = [self.model, *all_layers(self.model)]
        whole = {str(layer.compute_dtype) for layer in layers} <= {FLOAT32, FLOAT64}
        copied, itself = (self._called(given, one, None)[1] for one in (precision, own))
        same = _same(itself, copied, SAME if whole else SAME_IN_HALF)
        if same and whole and not all(_is_of_keras(layer) for layer in layers):
            # Keras forgets what the constructor of a subclassed model was given, which may change
            # less than float32 does; in the model's own precision it changes more than nothing.
            made = _again(self.model, own)
            same = _same(itself, self._called(given, own, None, made)[1], EQUAL)
        if not same:
            raise RosettaError(
                f"{self.name}, built again from its configuration in {precision}, is another "
                "model; let get_config have all that it is made of"
            )
        self.held = {precision: (given, copied), own: (given, itself)}

    def _called(
        self,
        given: Given,
        precision: str,
        recorder: Recorder | None,
        made: keras.Layer | None = None,
    ) -> tuple[Any, Outputs]:
        """What the model, or one that was made of it, returns, and the arrays in it."""
        model = self._in(precision, given) if made is None else made

        def run(arranged: Given) -> tuple[Any, Outputs]:
            args, kwargs, tensors = self._arguments(model, arranged, precision)
            before = [np.array(_array(tensor)) for tensor in tensors]
            weights = len(model.weights)
            if recorder is not None:
                recorder.begin()
            with ExitStack() as stack:
                stack.enter_context(told_as_errors_of(self.name))
                if recorder is not None:
                    stack.enter_context(recorder.watching(tensors))
                output = model(*args, **kwargs, training=False)
            if len(model.weights) > weights:
                raise UsageError(
                    f"{self.name} had no weights before it was called, and those that it makes are "
                    "random; build it, and load its weights, first"
                )
            check_unchanged(self.name, before, [np.asarray(_array(one)) for one in tensors])
            return output, named(output, _array)

        with _in_precision(precision):
            return self.arranger.call(given.in_precision(precision), self.inputs, run)

    def _arguments(
        self, model: Any, given: Given, precision: str
    ) -> tuple[list[Any], dict[str, Any], list[Any]]:
        """The inputs in the structure that the model takes, by position and by name, and flat."""
        if self.inputs is not None:
            arrays = bound(self.name, given, self.inputs, precision)
            tensors = [ops.convert_to_tensor(array) for array in arrays.values()]
            if isinstance(model, keras.Sequential):
                return tensors, {}, tensors
            return [tree.pack_sequence_as(model.input, tensors)], {}, tensors
        tensors = [ops.convert_to_tensor(np.ascontiguousarray(array)) for array in given.arrays]
        args, kwargs = tensors[: len(given.args)], {}
        taken = inspect.signature(model.call).parameters
        if given.kwargs:
            by_name = dict(zip(given.kwargs, tensors[len(args) :], strict=True))
            if by_name.keys() <= taken.keys():
                kwargs = by_name
            elif args:
                raise UsageError(
                    f"{self.name} takes {', '.join(taken)}; it was given {', '.join(by_name)}"
                )
            else:
                args = [by_name]
        elif len(args) > 1 and _positions(taken) < len(args):
            args = [args]
        return args, kwargs, tensors


def _usual() -> str:
    """The order of the axes of images that Keras is set to."""
    return NHWC if keras.config.image_data_format() == "channels_last" else NCHW


def _input_names(model: Any) -> list[str]:
    """What the inputs of a functional model are called: by their keys, if they have such."""
    if isinstance(model, keras.Sequential) or not isinstance(model.input, Mapping):
        return [one.name for one in model.inputs]
    return [str(path[-1]) for path, _ in tree.flatten_with_path(model.input)]


def _positions(parameters: Mapping[str, inspect.Parameter]) -> float:
    """How many inputs a call takes by position."""
    kinds = [one.kind for name, one in parameters.items() if name != "training"]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return float("inf")
    return kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _array(leaf: Any) -> np.ndarray | None:
    """The array of a tensor; nothing else that a model returns can be compared."""
    return wide(np.asarray(ops.convert_to_numpy(leaf))) if ops.is_tensor(leaf) else None


@contextmanager
def _in_precision(precision: str) -> Iterator[None]:
    """With numbers that are made on the way, and layers too, in float64 where that is asked for."""
    if precision != FLOAT64:
        yield
        return
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_floatx(precision)
        keras.config.set_dtype_policy(precision)
        with arithmetic(precision), exact_constants():
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def _again(model: Any, precision: str) -> Any:
    """A model built again in a precision, with the same weights."""
    weights = [wide(weight) for weight in model.get_weights()]
    own = {type(layer).__name__: type(layer) for layer in all_layers(model)}
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(_in_precision(precision))
        stack.enter_context(unnoticed())
        stack.enter_context(keras.saving.custom_object_scope(own))
        made = type(model).from_config(_in_dtype(_taken(model), precision))
        if not made.built:
            made.build_from_config(model.get_build_config())
        made.set_weights(
            [weight.astype(precision) if weight.dtype.kind == "f" else weight for weight in weights]
        )
    return made


def _same(one: Outputs, other: Outputs, limit: float) -> bool:
    return all(relative_error(value, other[name]) <= limit for name, value in one.items())


def _is_of_keras(layer: keras.Layer) -> bool:
    """Whether a layer is one of Keras's own, whose configuration has all that it is made of."""
    return type(layer).__module__.partition(".")[0] == "keras"


def _taken(model: Any) -> dict[str, Any]:
    """The configuration of a model, as far as its constructor takes it.

    Keras adds the settings of every layer by itself, which a constructor may do without.
    """
    configuration = dict(model.get_config())
    taken = inspect.signature(type(model).__init__).parameters
    if inspect.Parameter.VAR_KEYWORD in {one.kind for one in taken.values()}:
        return configuration
    return {key: value for key, value in configuration.items() if key in taken or key not in ADDED}


def _in_dtype(configuration: Any, precision: str) -> Any:
    """A configuration with every type of floating-point numbers in it replaced."""
    if isinstance(configuration, Mapping):
        return {
            key: precision if key == "dtype" and _is_float(value) else _in_dtype(value, precision)
            for key, value in configuration.items()
        }
    if isinstance(configuration, list | tuple):
        return type(configuration)(_in_dtype(value, precision) for value in configuration)
    return configuration


def _is_float(dtype: Any) -> bool:
    """Whether what a layer says of its type is one of floating point, or a policy of one."""
    if isinstance(dtype, Mapping):
        dtype = dtype.get("config", {}).get("name")
    return isinstance(dtype, str) and dtype.startswith(("float", "bfloat", "mixed"))


class Recorder(Recording):
    """Keeps what layers return, the operations of functional graphs, and calls of `keras.ops`."""

    def begin(self) -> None:
        """Forget what an earlier attempt to run the program has left."""
        super().begin()
        self.within: list[str] = []  # the layers that are being called, the innermost last

    @contextmanager
    def watching(self, inputs: list[Any]) -> Iterator[None]:
        """Record what is made of inputs."""
        for tensor in inputs:
            self.own(tensor, None)
        kept = {kind: kind.__call__ for kind in (keras.Operation, keras.Layer)}
        functions = _functions()
        try:
            for kind, call in kept.items():
                kind.__call__ = self._recording(call)
            for name, function in functions.items():
                setattr(ops, name, self._recording_function(name, function))
            yield
        finally:
            for kind, call in kept.items():
                kind.__call__ = call
            for name, function in functions.items():
                setattr(ops, name, function)

    def _recording(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            before, name = len(self.found), getattr(operation, "path", None) or operation.name
            self.within.append(name)
            try:
                output = call(operation, *args, **kwargs)
            finally:
                self.within.pop()
            inner = len(self.found) > before
            weights = () if inner else getattr(operation, "weights", ())
            kind = type(operation).__name__
            return self._note(name, kind, output, self._read(args, kwargs), weights, inner)

        return recorded

    def _recording_function(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of `keras.ops` as a layer's own code calls it; Keras's layers do not."""
        kind = "".join(part.capitalize() for part in name.split("_"))

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            output = function(*args, **kwargs)
            read = self._read(args, kwargs)
            if not read:  # of constants
                return output
            flat = tree.flatten((args, kwargs))
            weights = [leaf for leaf in flat if isinstance(leaf, keras.Variable)]
            place = "/".join([*self.within[-1:], name])
            return self._note(place, kind, output, read, weights, inner=False)

        return recorded

    def _read(self, args: Any, kwargs: Any) -> list[str | None]:
        """The steps whose values are among what a call is given; None is an input."""
        flat = tree.flatten((args, kwargs))
        return [self.origins[id(leaf)] for leaf in flat if id(leaf) in self.origins]

    def _note(
        self,
        name: str,
        kind: str,
        output: Any,
        read: list[str | None],
        weights: Sequence[Any],
        inner: bool,
    ) -> Any:
        """Keep the first result of an operation, unless a part of it has been kept as the same.

        What goes on is the result, or what stands in for it.
        """
        results = [leaf for leaf in tree.flatten(output) if ops.is_tensor(leaf)]
        if not results or id(results[0]) in self.origins:
            return output
        if kind in MOVES:
            origin = read[0] if read else self.found[-1].name if self.found else None
            self.own(results[0], origin)
            return output
        array = np.array(_array(results[0]))
        if array.dtype.kind != "f" or not array.size:
            self.own(results[0], read[0] if read else None)
            return output
        # What is made between layers is not seen: the step before is then what it was made from.
        inputs = None if inner or not read else tuple(dict.fromkeys(n for n in read if n))
        kernels = tuple(ops.convert_to_numpy(weight) for weight in weights)
        self.found.keep(name, array, inputs, kind, kernels)
        step = self.found[-1]
        given = standing_in(self.program, step.name, array.shape, self.instead)
        if given is not None:
            output = _with_first(output, given)
            results = [leaf for leaf in tree.flatten(output) if ops.is_tensor(leaf)]
            self.found[-1] = replace(step, value=np.array(_array(results[0])))
        for result in results:
            self.own(result, step.name)
        return output


def _functions() -> dict[str, Callable[..., Any]]:
    """The functions of `keras.ops` that make tensors of tensors."""
    return {
        name: function
        for name, function in vars(ops).items()
        if inspect.isfunction(function) and name not in ASKED
    }


def _with_first(output: Any, value: np.ndarray) -> Any:
    """What an operation returns, its first tensor being another one."""
    flat = tree.flatten(output)
    place = next(place for place, leaf in enumerate(flat) if ops.is_tensor(leaf))
    dtype = keras.backend.standardize_dtype(flat[place].dtype)
    flat[place] = ops.convert_to_tensor(value, dtype=dtype)
    return tree.pack_sequence_as(output, flat)
