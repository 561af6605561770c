"""ONNX from PyTorch: walk the graph of `torch.export`, one emitter per ATen operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx
import torch
from torch import Tensor, fx, nn
from torch.fx.node import Argument

from efficientnet_rosetta.common.backends.onnx_builder import BATCH, OnnxBuilder
from efficientnet_rosetta.common.backends.protocol import OPSET
from efficientnet_rosetta.common.errors import UnsupportedOperationError

from ._compat import module_path

Emitter = Callable[..., str]
EMITTERS: dict[str, Emitter] = {}


class _Endpoints(nn.Module):
    """The model, returning the endpoints that are to become outputs."""

    def __init__(self, model: nn.Module, names: Sequence[str]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        endpoints: dict[str, Tensor] = {}
        self.model(image, endpoints)
        return tuple(endpoints[name] for name in self.names)


def export(
    model: nn.Module,
    image_shape: Sequence[int],
    names: Sequence[str],
    metadata: dict[str, str],
    opset: int = OPSET,
) -> onnx.ModelProto:
    """Export the named endpoints of a model that is in inference, for images (C, H, W).

    Raises:
        UnsupportedOperationError: the model does something that no emitter knows.
    """
    dtype = next(model.parameters()).dtype
    # A batch of 1 would be taken for a constant.
    image = torch.zeros(2, *image_shape, dtype=dtype)
    program = torch.export.export(
        _Endpoints(model, names).eval(),
        (image,),
        dynamic_shapes=({0: torch.export.Dim(BATCH)},),
    )
    return _Walk(program, opset, str(dtype).removeprefix("torch.")).run(names, metadata)


class _ArgumentError(Exception):
    """An emitter was given an argument that it does not implement."""


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise _ArgumentError(what)


class _Walk:
    def __init__(self, program: torch.export.ExportedProgram, opset: int, dtype: str):
        self.program = program
        self.builder = OnnxBuilder(dtype, opset)
        self.values: dict[fx.Node, str] = {}

    def run(self, names: Sequence[str], metadata: dict[str, str]) -> onnx.ModelProto:
        signature = self.program.graph_signature
        stored = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        for node in self.program.graph.nodes:
            if node.op == "placeholder" and node.name in stored:
                self.values[node] = self.constant(stored[node.name])
            elif node.op == "placeholder":
                self.values[node] = self.builder.input(_shape(node))
            elif node.op == "call_function":
                self.values[node] = self.emit(node)
                if _overwrites(node):
                    self.values[node.args[0]] = self.values[node]
            else:
                for name, value in zip(names, node.args[0], strict=True):
                    self.builder.output(name, self.values[value], _shape(value))
        return self.builder.model(metadata)

    def constant(self, key: str) -> str:
        array = self.program.state_dict[key].numpy(force=True)
        return self.builder.constant(key.removeprefix("model."), array)

    def emit(self, node: fx.Node) -> str:
        emitter = EMITTERS.get(str(node.target))
        if emitter is None:
            raise UnsupportedOperationError(
                f"the PyTorch exporter has no emitter for {node.target} (node {node.name})"
            )
        args = fx.node.map_arg(node.args, self.values.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, self.values.__getitem__)
        try:
            return emitter(self.builder, _place(node), node, *args, **kwargs)
        except (TypeError, _ArgumentError) as error:
            raise UnsupportedOperationError(
                f"the PyTorch exporter does not know {node.target} with these arguments "
                f"(node {node.name}: {error})"
            ) from error


def _overwrites(node: fx.Node) -> bool:
    """Whether an operation leaves its result in its first argument, as `aten.silu_.default`."""
    return str(node.target).split(".")[1].endswith("_")


def _shape(value: Argument) -> list[int | str]:
    if not isinstance(value, fx.Node):
        raise _ArgumentError("a number for a tensor")
    return [side if isinstance(side, int) else BATCH for side in value.meta["val"].shape]


def _place(node: fx.Node) -> str:
    """A name that says where in the model the node is: `stages.3.blocks.0.expand_conv/conv2d_4`."""
    path = module_path(node).removeprefix("model").removeprefix(".")
    return f"{path}/{node.name}" if path else node.name


def _emits(*targets: str) -> Callable[[Emitter], Emitter]:
    def register(emitter: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(targets, emitter))
        return emitter

    return register


# Every emitter takes the builder, a name and the node, and then the operation's own arguments,
# in which a tensor is the name of its ONNX value.


@_emits("aten.conv2d.default")
def _conv2d(
    b: OnnxBuilder,
    name: str,
    node: fx.Node,
    x: str,
    weight: str,
    bias: str | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> str:
    inputs = (x, weight) if bias is None else (x, weight, bias)
    kernel = _shape(node.args[1])[2:]
    return b.add(
        "Conv",
        *inputs,
        name=name,
        kernel_shape=kernel,
        strides=_pair(stride),
        pads=_pair(padding) * 2,
        dilations=_pair(dilation),
        group=groups,
    )


def _pair(value: Sequence[int] | int) -> list[int]:
    """PyTorch lets one number stand for height and width."""
    values = [value] if isinstance(value, int) else list(value)
    return values * (2 // len(values))


@_emits("aten.batch_norm.default")
def _batch_norm(
    b: OnnxBuilder,
    name: str,
    node: fx.Node,
    x: str,
    scale: str,
    bias: str,
    mean: str,
    variance: str,
    training: bool,
    momentum: float,
    eps: float,
    cudnn: bool = True,
) -> str:
    _demand(not training, "training")
    _demand(None not in (scale, bias, mean, variance), "no scale, bias or statistics")
    return b.add("BatchNormalization", x, scale, bias, mean, variance, name=name, epsilon=eps)


@_emits("aten.pad.default")
def _pad(
    b: OnnxBuilder,
    name: str,
    node: fx.Node,
    x: str,
    pad: Sequence[int],
    mode: str = "constant",
    value: float | None = None,
) -> str:
    _demand(mode == "constant" and len(pad) == 4, "other than a constant around a map")
    left, right, top, bottom = pad
    return b.pad(x, [0, 0, top, left, 0, 0, bottom, right], value or 0.0, name)


@_emits("aten.max_pool2d.default")
def _max_pool(
    b: OnnxBuilder,
    name: str,
    node: fx.Node,
    x: str,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> str:
    _demand(not ceil_mode, "a size that is rounded up")
    return b.add(
        "MaxPool",
        x,
        name=name,
        kernel_shape=_pair(kernel_size),
        strides=_pair(stride or kernel_size),
        pads=_pair(padding) * 2,
        dilations=_pair(dilation),
    )


@_emits("aten.relu.default", "aten.relu_.default")
def _relu(b: OnnxBuilder, name: str, node: fx.Node, x: str) -> str:
    return b.add("Relu", x, name=name)


@_emits("aten.relu6.default", "aten.relu6_.default")
def _relu6(b: OnnxBuilder, name: str, node: fx.Node, x: str) -> str:
    return b.clip(x, 0.0, 6.0, name)


@_emits("aten.hardtanh.default", "aten.hardtanh_.default")
def _hardtanh(
    b: OnnxBuilder, name: str, node: fx.Node, x: str, min_val: float = -1.0, max_val: float = 1.0
) -> str:
    return b.clip(x, min_val, max_val, name)


@_emits("aten.silu.default", "aten.silu_.default")
def _silu(b: OnnxBuilder, name: str, node: fx.Node, x: str) -> str:
    return b.swish(x, name)


@_emits("aten.sigmoid.default")
def _sigmoid(b: OnnxBuilder, name: str, node: fx.Node, x: str) -> str:
    return b.add("Sigmoid", x, name=name)


@_emits("aten.mul.Tensor", "aten.mul_.Tensor")
def _mul(b: OnnxBuilder, name: str, node: fx.Node, x: str, y: str) -> str:
    _demand(isinstance(y, str), "a number")
    return b.add("Mul", x, y, name=name)


@_emits("aten.add.Tensor")
def _add(b: OnnxBuilder, name: str, node: fx.Node, x: str, y: str) -> str:
    _demand(isinstance(y, str), "a number")
    return b.add("Add", x, y, name=name)


@_emits("aten.mean.dim")
def _mean(
    b: OnnxBuilder, name: str, node: fx.Node, x: str, dim: Sequence[int], keepdim: bool = False
) -> str:
    return b.mean(x, dim, keepdim, name)


@_emits("aten.dropout.default")
def _dropout(b: OnnxBuilder, name: str, node: fx.Node, x: str, p: float, train: bool) -> str:
    _demand(not train, "training")
    return x


@_emits("aten.linear.default")
def _linear(b: OnnxBuilder, name: str, node: fx.Node, x: str, weight: str, bias: str) -> str:
    _demand(len(_shape(node.args[0])) == 2, "more than one axis of features")
    return b.add("Gemm", x, weight, bias, name=name, transB=1)
