"""Mistakes in networks of others: residual, convolutional, of tokens, with several inputs.

Each is made in a copy of a network, which is held against the right one in PyTorch, and against
what torch.onnx made of the right one.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from functools import lru_cache, partial
from types import MethodType
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from efficientnet_rosetta.common.guard.onnx_file import OnnxProgram
from efficientnet_rosetta.common.guard.program import Given, GuardedProgram
from parity_tests.guard.networks import Attention, Mlp, Recurrent, UNet, images, settled
from parity_tests.guard.playing import Play, program
from parity_tests.peers import operators

Change = Callable[[Any], None]


# ------------------------------------------------------------------ the right ones


def _resnet() -> nn.Module:
    operators.declare()
    from torchvision.models.resnet import BasicBlock, ResNet

    return settled(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10), images(64, 4, 0))


def _convnext() -> nn.Module:
    operators.declare()
    from timm.models.convnext import ConvNeXt

    model = ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=10)
    settled(model)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.data.uniform_(0.3, 0.7)
    return model


def _vit() -> nn.Module:
    operators.declare()
    from timm.models.vision_transformer import VisionTransformer

    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
    return settled(VisionTransformer(**options, num_classes=10))


def _more(batch: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(batch, 4, 16, 16))


PIXELS = np.clip(images(8, 32) * 64 + 128, 0, 255)
MASK = (np.arange(9) < np.array([[9], [6]])).astype(np.int64)
RIGHT: dict[str, tuple[Callable[[], nn.Module], tuple[np.ndarray, ...]]] = {
    "ResNet": (_resnet, (images(64),)),
    "ConvNeXt": (_convnext, (images(64),)),
    "ViT": (_vit, (images(32),)),
    "MLP": (lambda: settled(Mlp()), (PIXELS,)),
    "attention": (
        lambda: settled(Attention()),
        (np.random.default_rng(0).normal(size=(2, 9, 32)), MASK),
    ),
    "U-Net": (
        lambda: settled(UNet(), images(32, 4, 0), _more(4)),
        (images(32), _more(2)),
    ),
    "LSTM": (
        lambda: settled(Recurrent()),
        (np.random.default_rng(0).normal(size=(4, 6, 8)),),
    ),
}


@lru_cache(maxsize=8)
def right(network: str) -> nn.Module:
    """A network with its weights, made once; do not change it in place."""
    return RIGHT[network][0]()


@lru_cache(maxsize=8)
def exported(network: str) -> onnx.ModelProto:
    """What torch.onnx makes of the right network."""
    model, inputs = right(network), RIGHT[network][1]
    return to_onnx(model, inputs, dynamo=network != "LSTM")


def to_onnx(model: nn.Module, inputs: tuple[np.ndarray, ...], *, dynamo: bool) -> onnx.ModelProto:
    """A graph made by one of torch's two exporters."""
    tensors = tuple(
        torch.tensor(array, dtype=torch.float32 if array.dtype.kind == "f" else None)
        for array in inputs
    )
    file = io.BytesIO()
    torch.onnx.export(model, tensors, file, dynamo=dynamo, verbose=False)
    return onnx.load_from_string(file.getvalue())


# ------------------------------------------------------------------ how they are made wrong


def _set(path: str, name: str, value: Any) -> Change:
    """An attribute of one part is another."""
    return lambda model: setattr(model.get_submodule(path), name, value)


def _part(path: str, part: nn.Module) -> Change:
    """A part is another one."""
    return lambda model: model.set_submodule(path, part)


def _weights(path: str, change: Callable[[Tensor], Tensor]) -> Change:
    """A tensor is another one."""

    def made(model: nn.Module) -> None:
        parameter = model.get_parameter(path)
        parameter.data = change(parameter.data).clone()

    return made


def _method(path: str, name: str, code: Callable[..., Any]) -> Change:
    """A method of one part is another."""

    def made(model: nn.Module) -> None:
        part = model.get_submodule(path)
        setattr(part, name, MethodType(code, part))

    return made


def _all(kind: type[nn.Module], **values: Any) -> Change:
    """Attributes of all parts of a kind are others."""

    def made(model: nn.Module) -> None:
        for part in model.modules():
            if isinstance(part, kind):
                for name, value in values.items():
                    setattr(part, name, value)

    return made


def _before(path: str, code: Callable[[Tensor], Tensor]) -> Change:
    """What goes into a part is changed."""

    return _method(path, "forward", lambda self, x: type(self).forward(self, code(x)))


def _new_statistics(model: nn.Module) -> None:
    model.get_submodule("layer2.0.bn1").reset_running_stats()


def _batch_statistics(model: nn.Module) -> None:
    part = model.get_submodule("layer1.0.bn2")
    part.running_mean = part.running_var = None


def _same(model: nn.Module) -> None:
    part = model.get_submodule("layer2.0.conv1")
    part.padding = 0
    _before("layer2.0.conv1", lambda x: F.pad(x, (0, 1, 0, 1)))(model)


def _stride_second(model: nn.Module) -> None:
    _set("layer4.0.conv1", "stride", (1, 1))(model)
    _set("layer4.0.conv2", "stride", (2, 2))(model)


def _without_skip(self: Any, x: Tensor) -> Tensor:
    y = self.relu(self.bn1(self.conv1(x)))
    return self.relu(self.bn2(self.conv2(y)))


def _heads_last(self: Attention, x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, self.heads)).movedim(-1, 1)


def _not_joined(self: UNet, x: Tensor, more: Tensor) -> Tensor:
    skip = self.down(x)
    x = self.inner(self.pool(skip))
    return self.head(self.up(self.joined(self.enlarged(x), skip)))


def _resized(**options: Any) -> Change:
    return _method("", "enlarged", lambda self, x: F.interpolate(x, scale_factor=2, **options))


def _dropping(model: nn.Module) -> None:
    _method("mlp.1", "forward", lambda self, x: F.dropout(F.gelu(x), 0.1))(model)


def _gates(model: nn.Module) -> None:
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        parameter = model.get_parameter(f"lstm.{name}")
        first, second, third, fourth = parameter.data.chunk(4)
        parameter.data = torch.cat([first, third, second, fourth])


def _scaled(factor: float) -> Callable[[Any, Tensor, Tensor], Tensor]:
    return lambda self, query, key: query @ key.transpose(-1, -2) * factor


def _unscaled(self: Any, x: Tensor, **_: Any) -> Tensor:
    query, key, value = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
    x = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return self.proj(x.transpose(1, 2).flatten(2))


def _exchanged(weight: Tensor) -> Tensor:
    query, key, value = weight.chunk(3)
    return torch.cat([key, query, value])


BLOCK = "layer1.0"
STAGE = "stages.2.blocks.0"
FIRST = "blocks.0"

MISTAKES: tuple[tuple[str, str, tuple[str, ...], Change], ...] = (
    ("ResNet", "SAME for symmetric padding", ("padding",), _same),
    ("ResNet", "reflected edges", ("padding",), _set(f"{BLOCK}.conv1", "padding_mode", "reflect")),
    ("ResNet", "no padding in the pooling", ("padding",), _set("maxpool", "padding", 0)),
    ("ResNet", "epsilon 1e-3", ("epsilon",), _all(nn.BatchNorm2d, eps=1e-3)),
    ("ResNet", "one epsilon 1e-2", ("epsilon",), _set("layer3.0.bn2", "eps", 1e-2)),
    ("ResNet", "statistics not loaded", ("statistics",), _new_statistics),
    ("ResNet", "statistics of the batch", ("statistics",), _batch_statistics),
    ("ResNet", "leaky ReLU", ("activation",), _part(f"{BLOCK}.relu", nn.LeakyReLU(0.1))),
    ("ResNet", "no ReLU after the stem", ("activation",), _part("relu", nn.Identity())),
    ("ResNet", "blue, green, red", ("order of channels",), _before("conv1", lambda x: x.flip(1))),
    (
        "ResNet",
        "kernel transposed",
        ("layout",),
        _weights("layer2.0.conv2.weight", lambda w: w.transpose(2, 3)),
    ),
    (
        "ResNet",
        "one kernel of another checkpoint",
        ("weights",),
        _weights("layer3.0.conv1.weight", lambda w: w + 0.02 * torch.randn_like(w)),
    ),
    ("ResNet", "no skip", ("missing operation",), _method("layer1.0", "forward", _without_skip)),
    (
        "ResNet",
        "no normalization beside",
        ("missing operation",),
        _part("layer3.0.downsample.1", nn.Identity()),
    ),
    ("ResNet", "largest for the mean", ("pooling",), _part("avgpool", nn.AdaptiveMaxPool2d(1))),
    ("ResNet", "pixels not divided", ("scale",), _before("", lambda x: 2 * x + 0.5)),
    ("ResNet", "no bias", ("missing operation",), _set("fc", "bias", None)),
    ("ResNet", "stride elsewhere", ("stride",), _stride_second),
    ("ConvNeXt", "GELU by tanh", ("activation",), _part(f"{STAGE}.mlp.act", nn.GELU("tanh"))),
    ("ConvNeXt", "epsilon 1e-3", ("epsilon",), _all(nn.LayerNorm, eps=1e-3)),
    # A product that one of the two goes without, which scales.
    ("ConvNeXt", "no layer scale", ("missing operation", "scale"), _set(STAGE, "gamma", None)),
    (
        "ConvNeXt",
        "kernel turned around",
        ("layout",),
        _weights(f"{STAGE}.conv_dw.weight", lambda w: w.flip(2, 3)),
    ),
    (
        "ConvNeXt",
        "edges joined",
        ("padding",),
        _set("stages.0.blocks.0.conv_dw", "padding_mode", "circular"),
    ),
    (
        "ConvNeXt",
        "depthwise kernels reversed",
        ("order of channels",),
        _weights(f"{STAGE}.conv_dw.weight", lambda w: w.flip(0)),
    ),
    ("ConvNeXt", "no activation", ("activation",), _part(f"{STAGE}.mlp.act", nn.Identity())),
    ("ViT", "no 1/sqrt(d)", ("scale",), _method(f"{FIRST}.attn", "forward", _unscaled)),
    (
        "ViT",
        "query and key exchanged",
        ("order of channels",),
        _weights(f"{FIRST}.attn.qkv.weight", _exchanged),
    ),
    ("ViT", "no positions", ("missing operation",), _set("", "pos_embed", None)),
    (
        "ViT",
        "quick GELU",
        ("activation",),
        _method(f"{FIRST}.mlp.act", "forward", lambda self, x: x * torch.sigmoid(1.702 * x)),
    ),
    ("ViT", "epsilon 1e-3", ("epsilon",), _all(nn.LayerNorm, eps=1e-3)),
    (
        "ViT",
        "patches down, not across",
        ("layout",),
        _method("patch_embed", "forward", lambda self, x: self.proj(x).mT.flatten(2).mT),
    ),
    (
        "ViT",
        "no skip",
        ("missing operation",),
        _method(
            "blocks.1",
            "forward",
            lambda self, x: x + self.mlp(self.norm2(self.attn(self.norm1(x)))),
        ),
    ),
    (
        "attention",
        "mask ignored",
        ("missing operation",),
        _method("", "hidden", lambda self, scores, mask: scores),
    ),
    (
        "attention",
        "softmax over the other axis",
        ("activation",),
        _method("", "shares", lambda self, scores: scores.softmax(-2)),
    ),
    ("attention", "no 1/sqrt(d)", ("scale",), _method("", "scores", _scaled(1.0))),
    ("attention", "1/d", ("scale",), _method("", "scores", _scaled(1 / 8))),
    ("attention", "square matrix transposed", ("weights",), _weights("out.weight", lambda w: w.T)),
    ("attention", "heads last", ("layout",), _method("", "split", _heads_last)),
    ("attention", "dropout left on", ("randomness",), _dropping),
    ("attention", "no normalization", ("missing operation",), _part("norm", nn.Identity())),
    ("U-Net", "padding counted", ("padding",), _set("pool", "count_include_pad", True)),
    (
        "U-Net",
        "corners aligned",
        ("interpolation",),
        _resized(mode="bilinear", align_corners=True),
    ),
    ("U-Net", "nearest pixel", ("interpolation",), _resized(mode="nearest")),
    (
        "U-Net",
        "joined the other way round",
        ("order of channels",),
        _method("", "joined", lambda self, x, skip: torch.cat([skip, x], 1)),
    ),
    ("U-Net", "second input ignored", ("missing operation",), _method("", "forward", _not_joined)),
    ("U-Net", "one epsilon", ("epsilon",), _set("up.1", "eps", 1e-3)),
    (
        "MLP",
        "flattened with channels last",
        ("layout",),
        _method("", "flat", lambda self, x: x.permute(0, 2, 3, 1).flatten(1)),
    ),
    ("MLP", "pixels not scaled", ("scale",), _method("", "scale", lambda self, x: x)),
    ("MLP", "pixels from 0 to 1", ("scale",), _method("", "scale", lambda self, x: x / 255)),
    (
        "MLP",
        "ReLU for ReLU6",
        ("activation",),
        _method(
            "",
            "forward",
            lambda self, x: self.last(
                self.norm(F.relu(12 * self.second(F.gelu(self.first(self.flat(self.scale(x)))))))
            ),
        ),
    ),
    ("MLP", "no bias", ("missing operation",), _set("second", "bias", None)),
    ("MLP", "epsilon 1e-3", ("epsilon",), _set("norm", "eps", 1e-3)),
    ("LSTM", "gates in another order", ("order of channels",), _gates),
)


def plays(against: str = "torch") -> list[Play]:
    """All mistakes, against the right network in PyTorch or in ONNX."""
    return [
        Play(
            f"{network} against {against}",
            name,
            kinds,
            partial(_right, network, against),
            partial(_wrong, network, change),
            lambda network=network: Given.of(RIGHT[network][1]),
        )
        for network, name, kinds, change in MISTAKES
    ]


def _right(network: str, against: str) -> GuardedProgram:
    return program(right(network)) if against == "torch" else OnnxProgram(exported(network))


def _wrong(network: str, change: Change) -> GuardedProgram:
    model = copy.deepcopy(right(network))
    change(model)
    return program(model)
