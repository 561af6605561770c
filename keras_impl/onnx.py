"""ONNX from Keras: walk the functional graph, one emitter per layer or operation.

Keras keeps channels last and ONNX first.  A map is carried in either order, whichever the last
operation left it in, and turned around only where an operation needs the other one.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from keras import layers

from efficientnet_rosetta.common.backends.onnx_builder import BATCH, OnnxBuilder
from efficientnet_rosetta.common.backends.protocol import OPSET
from efficientnet_rosetta.common.errors import UnsupportedOperationError

from ._compat import follow_graph
from .weights import layer_variables, role_of

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
SIMPLE = {"sigmoid": "Sigmoid", "relu": "Relu"}  # activations that are one node
RELU_OPTIONS = ("negative_slope", "threshold")  # of Keras's layer
AUTO_PAD = {"same": "SAME_UPPER", "valid": "VALID"}


@dataclass(frozen=True)
class Value:
    """An ONNX value that stands for a Keras tensor; `channels_first` if it was turned around."""

    name: str
    rank: int
    channels_first: bool = False


Emitter = Callable[..., Value]
EMITTERS: dict[str, Emitter] = {}


def export(
    model: keras.Model,
    image_shape: Sequence[int | None],
    names: Sequence[str],
    metadata: dict[str, str],
    opset: int = OPSET,
) -> onnx.ModelProto:
    """Export any functional model, not only ours, for inference on images (H, W, C) of any batch.

    `names` are given to its outputs, in their order.

    Raises:
        UnsupportedOperationError: the model does something that no emitter knows.
    """
    return _Walk(model, opset).run(image_shape, names, metadata)


class _Walk:
    def __init__(self, model: keras.Model, opset: int):
        self.model = model
        self.builder = OnnxBuilder(model.inputs[0].dtype, opset)
        self.turned: dict[Value, Value] = {}
        self.operations: Counter[str] = Counter()

    def run(
        self, image_shape: Sequence[int | None], names: Sequence[str], metadata: dict[str, str]
    ) -> onnx.ModelProto:
        image = Value(self.builder.input([BATCH, *image_shape]), rank=4)
        # Keras's own interpreter, handed the emitters in place of the operations.
        results = keras.tree.flatten(follow_graph(self.model, [image], self.emit))
        for name, value, tensor in zip(names, results, self.model.outputs, strict=True):
            self.builder.output(name, self.last(value).name, [BATCH, *tensor.shape[1:]])
        return self.builder.model(metadata)

    def emit(self, operation: keras.Operation, *args: Any, **kwargs: Any) -> Value:
        kind, name = type(operation), self.name(operation)
        emitter = EMITTERS.get(kind.__name__) if kind.__module__.startswith("keras.") else None
        if emitter is None:
            raise _unsupported(name, f"has no emitter for {kind.__name__}")
        if getattr(operation, "data_format", None) == "channels_first":
            raise _unsupported(name, "reads channels-last models only")
        if kwargs.get("training"):
            raise _unsupported(name, "exports inference only, not training=True")
        inputs = [value for value in keras.tree.flatten(args) if isinstance(value, Value)]
        said = {n: v for n, v in kwargs.items() if v is not None and n not in ("training", "mask")}
        try:
            inspect.signature(emitter).bind(self, operation, name, *inputs, **said)
        except TypeError as error:
            raise _unsupported(name, f"does not know these arguments ({error})") from error
        return emitter(self, operation, name, *inputs, **said)

    def name(self, operation: keras.Operation) -> str:
        """A layer's own name; Keras numbers operations through a session, here it is the model."""
        if isinstance(operation, layers.Layer):
            return role_of(operation)
        kind = type(operation).__name__.lower()
        self.operations[kind] += 1
        return f"{kind}_{self.operations[kind]}"

    def add(
        self, op_type: str, *inputs: Value | str, like: Value, name: str, **attributes: Any
    ) -> Value:
        """Append a node whose output has the rank and order of `like`."""
        names = [value.name if isinstance(value, Value) else value for value in inputs]
        output = self.builder.add(op_type, *names, name=name, **attributes)
        return Value(output, like.rank, like.channels_first)

    def constants(self, name: str, arrays: dict[str, np.ndarray]) -> list[str]:
        """Store a layer's arrays under its name."""
        return [self.builder.constant(f"{name}.{part}", array) for part, array in arrays.items()]

    def first(self, value: Value) -> Value:
        """A map as (N, C, H, W)."""
        return self.turn(value, True, TO_CHANNELS_FIRST)

    def last(self, value: Value) -> Value:
        """A map as Keras has it, (N, H, W, C)."""
        return self.turn(value, False, TO_CHANNELS_LAST)

    def turn(self, value: Value, channels_first: bool, axes: list[int]) -> Value:
        if value.rank != 4 or value.channels_first == channels_first:
            return value
        if value not in self.turned:
            suffix = "channels_first" if channels_first else "channels_last"
            name = self.builder.add(
                "Transpose", value.name, name=f"{value.name}.{suffix}", perm=axes
            )
            self.turned[value] = Value(name, 4, channels_first)
        return self.turned[value]

    def weighted(
        self,
        op_type: str,
        layer: layers.Layer,
        name: str,
        x: Value,
        *inputs: str,
        **attributes: Any,
    ) -> Value:
        """Append the node of a layer with weights, and its activation if it has one."""
        plain = keras.activations.serialize(layer.activation) == "linear"
        inner = name if plain else f"{name}.linear"
        y = self.add(op_type, x, *inputs, like=x, name=inner, **attributes)
        return y if plain else self.activate(y, layer.activation, name)

    def activate(self, x: Value, function: Callable[..., Any], name: str) -> Value:
        """Append an activation."""
        kind = keras.activations.serialize(function)
        if kind == "silu":
            return Value(self.builder.swish(x.name, name), x.rank, x.channels_first)
        if kind == "relu6":
            return self.clip(x, 6.0, name)
        if kind == "softmax":
            x = self.last(x)
            return self.add("Softmax", x, like=x, name=name, axis=-1)
        if kind in SIMPLE:
            return self.add(SIMPLE[kind], x, like=x, name=name)
        raise _unsupported(name, f"has no emitter for the activation {kind}")

    def clip(self, x: Value, most: float, name: str) -> Value:
        """ReLU with a largest value."""
        return Value(self.builder.clip(x.name, 0.0, most, name), x.rank, x.channels_first)

    def mean(self, x: Value, axes: int | Sequence[int] | None, keepdims: bool, name: str) -> Value:
        """Mean over height, width or both, given as Keras counts them."""
        given = [axes] if isinstance(axes, int) else axes or ()
        counted = {axis % x.rank for axis in given}
        sides = counted == {1, 2} or (keepdims and len(counted) == 1 and counted < {1, 2})
        if x.rank != 4 or not sides:
            raise _unsupported(name, "takes means over height and width only")
        # Channels are in front of them once they are turned around.
        output = self.builder.mean(
            self.first(x).name, [axis + 1 for axis in sorted(counted)], keepdims, name
        )
        return Value(output, 4, True) if keepdims else Value(output, 2)

    def pad(self, x: Value, width: Sequence[tuple[int, int]], value: float, name: str) -> Value:
        """A constant around a map, so much before and after each axis as Keras has them."""
        x = self.first(x)
        before, after = ([width[axis][end] for axis in TO_CHANNELS_FIRST] for end in (0, 1))
        padded = self.builder.pad(x.name, [*before, *after], value, name)
        return Value(padded, x.rank, True)

    def elementwise(self, op_type: str, name: str, *inputs: Value) -> Value:
        """A broadcasting operation on two tensors of one rank, in the order of the first."""
        if len(inputs) != 2 or inputs[0].rank != inputs[1].rank:
            raise _unsupported(name, f"takes two tensors of one rank in {op_type}")
        turn = self.first if inputs[0].channels_first else self.last
        x, y = map(turn, inputs)
        return self.add(op_type, x, y, like=x, name=name)


def _unsupported(name: str, what: str) -> UnsupportedOperationError:
    return UnsupportedOperationError(f"the Keras exporter {what} (layer {name})")


def _arrays(layer: layers.Layer) -> dict[str, np.ndarray]:
    """A layer's weights, oriented as ONNX wants them (which is canonical)."""
    return {
        name: keras.ops.convert_to_numpy(variable).transpose(axes)
        for name, variable, axes in layer_variables(layer)
    }


def _emits(*kinds: str) -> Callable[[Emitter], Emitter]:
    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(kinds, emitter))
        return emitter

    return register


# Every emitter takes the walk, the layer or operation, a name for its node, and its tensors.


@_emits("Conv2D", "DepthwiseConv2D")
def _conv(walk: _Walk, layer: layers.Layer, name: str, x: Value) -> Value:
    if layer.padding == "same" and set(layer.dilation_rate) != {1}:
        raise _unsupported(name, "has no SAME padding for dilated convolutions")
    arrays = _arrays(layer)
    kernel, groups = arrays["weight"], getattr(layer, "groups", 1)
    if isinstance(layer, layers.DepthwiseConv2D):
        groups = len(kernel)
        # (channels, multiplier, height, width): a multiplier's filters lie beside each other.
        arrays["weight"] = kernel.reshape(-1, 1, *kernel.shape[2:])
    return walk.weighted(
        "Conv",
        layer,
        name,
        walk.first(x),
        *walk.constants(name, arrays),
        kernel_shape=kernel.shape[2:],
        strides=layer.strides,
        dilations=layer.dilation_rate,
        group=groups,
        auto_pad=AUTO_PAD[layer.padding],
    )


@_emits("BatchNormalization")
def _batch_norm(walk: _Walk, layer: layers.BatchNormalization, name: str, x: Value) -> Value:
    if layer.axis not in (-1, x.rank - 1):
        raise _unsupported(name, "normalises over channels only")
    arrays = _arrays(layer)
    channels = len(arrays["mean"])
    stored = {
        "scale": arrays.get("scale", np.ones(channels)),
        "bias": arrays.get("bias", np.zeros(channels)),
        "mean": arrays["mean"],
        "variance": arrays["variance"],
    }
    x = walk.first(x)
    inputs = walk.constants(name, stored)
    return walk.add("BatchNormalization", x, *inputs, like=x, name=name, epsilon=layer.epsilon)


@_emits("Dense")
def _dense(walk: _Walk, layer: layers.Dense, name: str, x: Value) -> Value:
    if x.rank != 2:
        raise _unsupported(name, "takes dense layers on vectors only")
    return walk.weighted("Gemm", layer, name, x, *walk.constants(name, _arrays(layer)), transB=1)


@_emits("ZeroPadding2D")
def _zero_padding(walk: _Walk, layer: layers.ZeroPadding2D, name: str, x: Value) -> Value:
    return walk.pad(x, ((0, 0), *layer.padding, (0, 0)), 0.0, name)


@_emits("Pad")
def _pad(
    walk: _Walk, operation: keras.Operation, name: str, x: Value, constant_values: float = 0.0
) -> Value:
    if operation.mode != "constant" or x.rank != 4:
        raise _unsupported(name, "pads maps with a constant only")
    return walk.pad(x, operation.pad_width, constant_values, name)


@_emits("MaxPooling2D")
def _max_pooling(walk: _Walk, layer: layers.MaxPooling2D, name: str, x: Value) -> Value:
    x = walk.first(x)
    return walk.add(
        "MaxPool",
        x,
        like=x,
        name=name,
        kernel_shape=layer.pool_size,
        strides=layer.strides,
        auto_pad=AUTO_PAD[layer.padding],
    )


@_emits("Rescaling")
def _rescaling(walk: _Walk, layer: layers.Rescaling, name: str, x: Value) -> Value:
    x = walk.last(x)
    scale, offset = walk.constants(
        name, {"scale": np.asarray(layer.scale, float), "offset": np.asarray(layer.offset, float)}
    )
    product = walk.add("Mul", x, scale, like=x, name=f"{name}.product")
    return walk.add("Add", product, offset, like=x, name=name)


@_emits("Normalization")
def _normalization(walk: _Walk, layer: layers.Normalization, name: str, x: Value) -> Value:
    if layer.invert:
        raise _unsupported(name, "has no inverted normalization")
    mean, variance = (keras.ops.convert_to_numpy(v) for v in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    x = walk.last(x)
    mean, deviation = walk.constants(name, {"mean": mean, "deviation": deviation})
    centred = walk.add("Sub", x, mean, like=x, name=f"{name}.centred")
    return walk.add("Div", centred, deviation, like=x, name=name)


@_emits("GlobalAveragePooling2D")
def _pooling(walk: _Walk, layer: layers.GlobalAveragePooling2D, name: str, x: Value) -> Value:
    return walk.mean(x, (1, 2), layer.keepdims, name)


@_emits("Mean")
def _mean(walk: _Walk, operation: keras.Operation, name: str, x: Value) -> Value:
    return walk.mean(x, operation.axis, operation.keepdims, name)


@_emits("Reshape")
def _reshape(walk: _Walk, layer: layers.Reshape, name: str, x: Value) -> Value:
    shape = walk.builder.constant(f"{name}.shape", [0, *layer.target_shape])  # 0: as it is
    like = Value("", 1 + len(layer.target_shape))
    return walk.add("Reshape", walk.last(x), shape, like=like, name=name)


@_emits("Dropout", "Identity")
def _nothing(walk: _Walk, layer: layers.Layer, name: str, x: Value) -> Value:
    return x  # in inference


@_emits("Activation")
def _activation(walk: _Walk, layer: layers.Activation, name: str, x: Value) -> Value:
    return walk.activate(x, layer.activation, name)


@_emits("Silu")
def _silu(walk: _Walk, operation: keras.Operation, name: str, x: Value) -> Value:
    return walk.activate(x, keras.activations.silu, name)


@_emits("Sigmoid")
def _sigmoid(walk: _Walk, operation: keras.Operation, name: str, x: Value) -> Value:
    return walk.activate(x, keras.activations.sigmoid, name)


@_emits("Relu", "ReLU")
def _relu(walk: _Walk, operation: keras.Operation, name: str, x: Value) -> Value:
    if any(getattr(operation, option, None) for option in RELU_OPTIONS):
        raise _unsupported(name, "has ReLU without a slope or a threshold only")
    most = getattr(operation, "max_value", None)
    if most is not None:
        return walk.clip(x, most, name)
    return walk.activate(x, keras.activations.relu, name)


@_emits("Relu6")
def _relu6(walk: _Walk, operation: keras.Operation, name: str, x: Value) -> Value:
    return walk.activate(x, keras.activations.relu6, name)


@_emits("Add")
def _add(walk: _Walk, operation: keras.Operation, name: str, *inputs: Value) -> Value:
    return walk.elementwise("Add", name, *inputs)


@_emits("Multiply")
def _multiply(walk: _Walk, operation: keras.Operation, name: str, *inputs: Value) -> Value:
    return walk.elementwise("Mul", name, *inputs)
