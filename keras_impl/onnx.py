"""ONNX from Keras: walk the functional graph, one emitter per layer or operation.

Keras keeps channels last and ONNX first.  A map is carried in either order, whichever the last
operation left it in, and turned around only where an operation needs the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import onnx
from keras import layers

from common.backend import OPSET
from common.onnx_builder import BATCH, OnnxBuilder, UnsupportedOperationError
from keras_impl.weights import layer_variables

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


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
    """Export a functional model in inference, for images (H, W, C) and any batch.

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

    def run(
        self, image_shape: Sequence[int | None], names: Sequence[str], metadata: dict[str, str]
    ) -> onnx.ModelProto:
        image = Value(self.builder.input([BATCH, *image_shape]), rank=4)
        # Keras's own interpreter, handed the emitters in place of the operations.
        results = keras.tree.flatten(self.model._run_through_graph([image], call_fn=self.emit))
        for name, value, tensor in zip(names, results, self.model.outputs, strict=True):
            self.builder.output(name, self.last(value).name, [BATCH, *tensor.shape[1:]])
        return self.builder.model(metadata)

    def emit(self, operation: keras.Operation, *args, **kwargs) -> Value:
        kind = type(operation)
        emitter = EMITTERS.get(kind.__name__) if kind.__module__.startswith("keras.") else None
        if emitter is None:
            raise UnsupportedOperationError(
                f"the Keras exporter has no emitter for {kind.__name__} (layer {operation.name})"
            )
        if getattr(operation, "data_format", None) == "channels_first":
            raise UnsupportedOperationError(
                f"the Keras exporter reads channels-last models only (layer {operation.name})"
            )
        inputs = [value for value in keras.tree.flatten(args) if isinstance(value, Value)]
        return emitter(self, operation, *inputs)

    def add(
        self, op_type: str, *inputs: Value | str, like: Value, name: str, **attributes
    ) -> Value:
        """Append a node whose output has the rank and order of `like`."""
        names = [value.name if isinstance(value, Value) else value for value in inputs]
        output = self.builder.add(op_type, *names, name=name, **attributes)
        return Value(output, like.rank, like.channels_first)

    def arrays(self, layer: layers.Layer) -> dict[str, np.ndarray]:
        """A layer's weights, oriented as ONNX wants them (which is canonical)."""
        return {
            name: keras.ops.convert_to_numpy(variable).transpose(axes)
            for name, variable, axes in layer_variables(layer)
        }

    def constants(self, layer: layers.Layer, arrays: dict[str, np.ndarray]) -> list[str]:
        return [self.builder.constant(f"{layer.name}.{name}", a) for name, a in arrays.items()]

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

    def layer(
        self, op_type: str, layer: layers.Layer, x: Value, *inputs: str, **attributes
    ) -> Value:
        """Append a layer's own node, and its activation if it has one."""
        plain = keras.activations.serialize(layer.activation) == "linear"
        name = layer.name if plain else f"{layer.name}.linear"
        y = self.add(op_type, x, *inputs, like=x, name=name, **attributes)
        return y if plain else self.activate(y, layer.activation, layer.name)

    def activate(self, x: Value, function: Callable, name: str) -> Value:
        """Append an activation."""
        kind = keras.activations.serialize(function)
        if kind == "silu":
            return Value(self.builder.swish(x.name, name), x.rank, x.channels_first)
        if kind == "softmax":
            x = self.last(x)
            return self.add("Softmax", x, like=x, name=name, axis=-1)
        if kind == "sigmoid":
            return self.add("Sigmoid", x, like=x, name=name)
        raise UnsupportedOperationError(
            f"the Keras exporter has no emitter for activation {kind} ({name})"
        )

    def mean(self, x: Value, axes: int | Sequence[int], keepdims: bool, name: str) -> Value:
        """Mean over height, width or both, given as Keras counts them."""
        axes = {axis % x.rank for axis in ([axes] if isinstance(axes, int) else axes)}
        if x.rank != 4 or not (axes == {1, 2} or (keepdims and axes < {1, 2})):
            raise UnsupportedOperationError(
                f"the Keras exporter takes means over height and width only ({name})"
            )
        sides = [axis + 1 for axis in sorted(axes)]  # channels are in front of them now
        output = self.builder.mean(self.first(x).name, sides, keepdims, name)
        return Value(output, 4, True) if keepdims else Value(output, 2)

    def elementwise(self, op_type: str, name: str, *inputs: Value) -> Value:
        """A broadcasting operation on tensors of one rank, in the order of the first."""
        if len({value.rank for value in inputs}) != 1 or len(inputs) != 2:
            raise UnsupportedOperationError(
                f"the Keras exporter takes two tensors of one rank in {op_type} ({name})"
            )
        turn = self.first if inputs[0].channels_first else self.last
        x, y = map(turn, inputs)
        return self.add(op_type, x, y, like=x, name=name)


def _emits(*kinds: str) -> Callable[[Emitter], Emitter]:
    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(kinds, emitter))
        return emitter

    return register


# Every emitter takes the walk, the layer or operation, and its tensors.


@_emits("Conv2D", "DepthwiseConv2D")
def _conv(walk: _Walk, layer: layers.Layer, x: Value) -> Value:
    arrays = walk.arrays(layer)
    kernel, groups = arrays["weight"], getattr(layer, "groups", 1)
    if isinstance(layer, layers.DepthwiseConv2D):
        groups = len(kernel)
        # (channels, multiplier, height, width): a multiplier's filters lie beside each other.
        arrays["weight"] = kernel.reshape(-1, 1, *kernel.shape[2:])
    x = walk.first(x)
    return walk.layer(
        "Conv",
        layer,
        x,
        *walk.constants(layer, arrays),
        kernel_shape=kernel.shape[2:],
        strides=layer.strides,
        dilations=layer.dilation_rate,
        group=groups,
        auto_pad={"same": "SAME_UPPER", "valid": "VALID"}[layer.padding],
    )


@_emits("BatchNormalization")
def _batch_norm(walk: _Walk, layer: layers.BatchNormalization, x: Value) -> Value:
    arrays = walk.arrays(layer)
    channels = len(arrays["mean"])
    scale = arrays.get("scale", np.ones(channels))
    bias = arrays.get("bias", np.zeros(channels))
    stored = {"scale": scale, "bias": bias, "mean": arrays["mean"], "variance": arrays["variance"]}
    x = walk.first(x)
    inputs = walk.constants(layer, stored)
    return walk.add(
        "BatchNormalization", x, *inputs, like=x, name=layer.name, epsilon=layer.epsilon
    )


@_emits("Dense")
def _dense(walk: _Walk, layer: layers.Dense, x: Value) -> Value:
    if x.rank != 2:
        raise UnsupportedOperationError(
            f"the Keras exporter takes dense layers on vectors only (layer {layer.name})"
        )
    inputs = walk.constants(layer, walk.arrays(layer))
    return walk.layer("Gemm", layer, x, *inputs, transB=1)


@_emits("ZeroPadding2D")
def _zero_padding(walk: _Walk, layer: layers.ZeroPadding2D, x: Value) -> Value:
    (top, bottom), (left, right) = layer.padding
    pads = walk.builder.constant(f"{layer.name}.pads", [0, 0, top, left, 0, 0, bottom, right])
    x = walk.first(x)
    return walk.add("Pad", x, pads, like=x, name=layer.name)


@_emits("Rescaling")
def _rescaling(walk: _Walk, layer: layers.Rescaling, x: Value) -> Value:
    x = walk.last(x)
    scale, offset = walk.constants(
        layer, {"scale": np.asarray(layer.scale, float), "offset": np.asarray(layer.offset, float)}
    )
    product = walk.add("Mul", x, scale, like=x, name=f"{layer.name}.product")
    return walk.add("Add", product, offset, like=x, name=layer.name)


@_emits("Normalization")
def _normalization(walk: _Walk, layer: layers.Normalization, x: Value) -> Value:
    if layer.invert:
        raise UnsupportedOperationError(
            f"the Keras exporter has no inverted normalization (layer {layer.name})"
        )
    mean, variance = (keras.ops.convert_to_numpy(v) for v in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    x = walk.last(x)
    mean, deviation = walk.constants(layer, {"mean": mean, "deviation": deviation})
    centred = walk.add("Sub", x, mean, like=x, name=f"{layer.name}.centred")
    return walk.add("Div", centred, deviation, like=x, name=layer.name)


@_emits("GlobalAveragePooling2D")
def _pooling(walk: _Walk, layer: layers.GlobalAveragePooling2D, x: Value) -> Value:
    return walk.mean(x, (1, 2), layer.keepdims, layer.name)


@_emits("Mean")
def _mean(walk: _Walk, operation: keras.Operation, x: Value) -> Value:
    return walk.mean(x, operation.axis, operation.keepdims, operation.name)


@_emits("Reshape")
def _reshape(walk: _Walk, layer: layers.Reshape, x: Value) -> Value:
    shape = walk.builder.constant(f"{layer.name}.shape", [0, *layer.target_shape])  # 0: as it is
    like = Value("", 1 + len(layer.target_shape))
    return walk.add("Reshape", walk.last(x), shape, like=like, name=layer.name)


@_emits("Dropout", "Identity")
def _nothing(walk: _Walk, layer: layers.Layer, x: Value) -> Value:
    return x  # in inference


@_emits("Activation")
def _activation(walk: _Walk, layer: layers.Activation, x: Value) -> Value:
    return walk.activate(x, layer.activation, layer.name)


@_emits("Silu")
def _silu(walk: _Walk, operation: keras.Operation, x: Value) -> Value:
    return walk.activate(x, keras.activations.silu, operation.name)


@_emits("Sigmoid")
def _sigmoid(walk: _Walk, operation: keras.Operation, x: Value) -> Value:
    return walk.activate(x, keras.activations.sigmoid, operation.name)


@_emits("Add")
def _add(walk: _Walk, operation: keras.Operation, *inputs: Value) -> Value:
    return walk.elementwise("Add", operation.name, *inputs)


@_emits("Multiply")
def _multiply(walk: _Walk, operation: keras.Operation, *inputs: Value) -> Value:
    return walk.elementwise("Mul", operation.name, *inputs)
