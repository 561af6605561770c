"""What any network is made of, and the conventions it computes by.

A `Network` is a sequence of `Section`s, and a section a sequence of operations: a `Layer`, an
`Activation`, a `MaxPool` or a `Gate`.  The architectures are described with these words (`spec.py`,
`xception.py`), and everything that is not of one architecture asks for nothing else.  A `Dialect`
is what a paper leaves open and libraries decide differently: padding, epsilon and momentum.

This module imports the standard library only.  Sizes are (height, width) in pixels; rates are
probabilities.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from ._util.arguments import positive, rate
from .errors import UsageError

Size = tuple[int, int]
Padding = tuple[int, int]
Rule = Literal["same", "symmetric"]  # by which a layer pads


# ------------------------------------------------------------------ numerics dialects


def same_padding(size: int, kernel: int, stride: int) -> Padding:
    """Zeros (before, after) one axis under TensorFlow's SAME rule; an odd zero goes after."""
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


def symmetric_padding(kernel: int) -> Padding:
    """Zeros (before, after) one axis in the PyTorch convention, whatever the size and stride."""
    return (kernel - 1) // 2, (kernel - 1) // 2


@dataclass(frozen=True)
class Dialect:
    """The conventions a set of weights was trained with; they belong to it like its values.

    `epsilon` is added to the batch-norm variance; `momentum` is the share of the running
    statistics that is *kept* at a training step (PyTorch states the share that is replaced).
    `padding` is one rule for all layers, or "mixed": SAME in depthwise convolutions only.
    """

    name: str
    padding: Rule | Literal["mixed"]
    epsilon: float
    momentum: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise UsageError(f"the name of a dialect is {self.name!r}; it must be text")
        if self.padding not in ("same", "symmetric", "mixed"):
            raise UsageError(
                f"padding is {self.padding!r}; it must be 'same', 'symmetric' or 'mixed'"
            )
        positive("epsilon", self.epsilon)
        rate("momentum", self.momentum)

    def rule(self, kind: str) -> Rule:
        """How layers of a kind are padded: a "depthwise_conv", or any other."""
        if self.padding != "mixed":
            return self.padding
        return "same" if kind == "depthwise_conv" else "symmetric"

    def pad(self, size: int, kernel: int, stride: int, kind: str) -> Padding:
        """Zeros (before, after) an axis of `size` pixels for a layer of a kind."""
        if self.rule(kind) == "same":
            return same_padding(size, kernel, stride)
        return symmetric_padding(kernel)


# The paper's own code: tensorflow/tpu, efficientnet_builder.py.
TENSORFLOW = Dialect("tensorflow", padding="same", epsilon=1e-3, momentum=0.99)
# torchvision's B0-B4 and timm's models without the prefix `tf_`.
PYTORCH = Dialect("pytorch", padding="symmetric", epsilon=1e-5, momentum=0.9)
# torchvision's B5-B7: weights trained with SAME padding, run with symmetric padding.
TORCHVISION_LARGE = Dialect("torchvision-large", padding="symmetric", epsilon=1e-3, momentum=0.99)

# EfficientNetV2's own code: google/automl, efficientnetv2/hparams.py.
AUTOML = Dialect("automl", padding="same", epsilon=1e-3, momentum=0.9)
# torchvision's EfficientNetV2, trained there.
TORCHVISION_V2 = Dialect("torchvision-v2", padding="symmetric", epsilon=1e-3, momentum=0.9)
# KerasHub's EdgeTPU and V2: timm's weights were trained with symmetric padding everywhere.
KERAS_HUB_MIXED = Dialect("keras-hub-mixed", padding="mixed", epsilon=1e-5, momentum=0.9)

DIALECTS = {
    dialect.name: dialect
    for dialect in (TENSORFLOW, PYTORCH, TORCHVISION_LARGE, AUTOML, TORCHVISION_V2, KERAS_HUB_MIXED)
}
IMAGENET_CLASSES = 1000


def conv_std(kernel: int, filters: int) -> float:
    """Standard deviation of a convolution's initial kernel: N(0, 2 / fan-out), untruncated.

    Pass `filters` = 1 for a depthwise convolution, whose fan-out TensorFlow takes from the
    channel multiplier (efficientnet_model.py, conv_kernel_initializer).
    """
    return math.sqrt(2 / (kernel * kernel * filters))


def dense_bound(classes: int) -> float:
    """Half-width of the classifier's initial uniform distribution (dense_kernel_initializer)."""
    return 1 / math.sqrt(classes)


# ------------------------------------------------------------------ the resolved network


@dataclass(frozen=True)
class Layer:
    """A layer with weights: `role` names it in every file and backend.

    Batch norms have `kernel` 0.  `output_size` is the map its outputs cover, (1, 1) once pooled.
    A "pointwise_conv" is the second half of a separable convolution, after its depthwise half.
    """

    role: str
    kind: Literal["conv", "depthwise_conv", "pointwise_conv", "batch_norm", "dense"]
    in_channels: int
    out_channels: int
    output_size: Size
    kernel: int = 0
    stride: int = 1
    bias: bool = False
    padded: bool = True  # as the dialect pads; or not at all, whatever the dialect

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Canonical tensor names and shapes: kernels (out, in, height, width), dense (out, in)."""
        if self.kind == "batch_norm":
            vector = (self.out_channels,)
            return {f"{self.role}.{name}": vector for name in ("scale", "bias", "mean", "variance")}
        fan_in = 1 if self.kind == "depthwise_conv" else self.in_channels
        area = () if self.kind == "dense" else (self.kernel, self.kernel)
        tensors = {f"{self.role}.weight": (self.out_channels, fan_in, *area)}
        if self.bias:
            tensors[f"{self.role}.bias"] = (self.out_channels,)
        return tensors


@dataclass(frozen=True)
class Activation:
    """An elementwise function."""

    function: Literal["swish", "relu", "relu6"]


@dataclass(frozen=True)
class MaxPool:
    """The largest value under each window; a padded border is never the largest."""

    kernel: int
    stride: int


@dataclass(frozen=True)
class Gate:
    """Squeeze-and-excitation (arXiv 1709.01507): channels weighed by what their means say."""

    reduce: Layer
    expand: Layer


Operation = Layer | Activation | MaxPool | Gate
SWISH, RELU, RELU6 = Activation("swish"), Activation("relu"), Activation("relu6")


@dataclass(frozen=True)
class Section(ABC):
    """A part of a network with a value of its own: what its operations are, in forward order.

    `role` is the prefix of its layers' roles and the name of its output; `stage` is the row of
    the paper's table that it belongs to, from 1.
    """

    role: str
    stage: int
    in_channels: int

    @property
    @abstractmethod
    def operator(self) -> str:
        """What the paper's table calls it."""

    @property
    @abstractmethod
    def path(self) -> tuple[Operation, ...]:
        """The operations on the way through it."""

    @property
    def shortcut(self) -> tuple[Operation, ...] | None:
        """The operations beside it, whose value is added to that of `path`; None adds nothing."""
        return None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers with weights, those of the shortcut last."""
        found: list[Layer] = []
        for operation in (*self.path, *(self.shortcut or ())):
            if isinstance(operation, Layer):
                found.append(operation)
            elif isinstance(operation, Gate):
                found += (operation.reduce, operation.expand)
        return tuple(found)


@dataclass(frozen=True)
class MapSection(Section):
    """A section whose value is a map, which all are but the classifier.

    `reduction` is a second name of its output where it is the last section of a resolution.
    """

    out_channels: int
    stride: int
    input_size: Size
    output_size: Size
    reduction: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ConvBlock(MapSection):
    """Convolution, batch norm, activation: stem and head."""

    role: str
    stage: int
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    input_size: Size
    output_size: Size
    activation: Activation = SWISH
    padded: bool = True

    @property
    def operator(self) -> str:
        return f"Conv{self.kernel}x{self.kernel}"

    @property
    def path(self) -> tuple[Operation, ...]:
        conv = Layer(
            f"{self.role}.conv",
            "conv",
            self.in_channels,
            self.out_channels,
            self.output_size,
            self.kernel,
            self.stride,
            padded=self.padded,
        )
        return (*with_bn(conv), self.activation)


def with_bn(conv: Layer, bn: str | None = None) -> tuple[Layer, Layer]:
    """A convolution and its batch norm, which is called as it is: `conv`, `bn`."""
    role = conv.role.removesuffix("conv") + "bn" if bn is None else bn
    return conv, Layer(role, "batch_norm", conv.out_channels, conv.out_channels, conv.output_size)


@dataclass(frozen=True)
class Classifier(Section):
    """Dropout and one dense layer on the pooled features; `num_classes` logits, no softmax."""

    role: str
    stage: int
    in_channels: int
    num_classes: int
    dropout: float

    @property
    def operator(self) -> str:
        return "pooling, FC"

    @property
    def path(self) -> tuple[Operation, ...]:
        return (Layer(self.role, "dense", self.in_channels, self.num_classes, (1, 1), bias=True),)


@dataclass(frozen=True, repr=False)
class Network(ABC):
    """A fully resolved network; `name` is a preset's, or "custom".

    What every architecture has, and what the code that is not of one architecture asks for.
    """

    name: str
    resolution: Size
    in_channels: int
    num_classes: int | None
    dropout: float
    dialect: Dialect
    blocks: tuple[MapSection, ...]
    classifier: Classifier | None

    architecture: ClassVar[str]  # the name of an `Architecture`

    def __repr__(self) -> str:
        """By its arguments: hundreds of sections follow from them."""
        said = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"<{self.title}: {said}, dialect={self.dialect!r}>"

    @property
    @abstractmethod
    def title(self) -> str:
        """Its name in full."""

    @property
    @abstractmethod
    def sections(self) -> tuple[Section, ...]:
        """All of it in forward order, the classifier last."""

    @property
    @abstractmethod
    def scaling(self) -> dict[str, float]:
        """The arguments of `resolve` by which a network is a preset or "custom"."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `resolve` that make this network again, its dialect apart."""
        names = ("resolution", "dropout", "num_classes", "in_channels")
        return {**self.scaling, **{name: getattr(self, name) for name in names}}

    @property
    def drop_path_rates(self) -> dict[str, float]:
        """How often stochastic depth drops the branch of a section, by its role."""
        return {}

    @cached_property
    def stages(self) -> dict[int, tuple[Section, ...]]:
        """The sections of each row of the paper's table."""
        found: dict[int, tuple[Section, ...]] = {}
        for section in self.sections:
            found[section.stage] = (*found.get(section.stage, ()), section)
        return found

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer with weights, in forward order."""
        return tuple(layer for section in self.sections for layer in section.layers)

    @cached_property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every canonical tensor name with its shape, in forward order."""
        return {name: shape for layer in self.layers for name, shape in layer.tensors.items()}

    @cached_property
    def maps(self) -> tuple[MapSection, ...]:
        """All sections but the classifier: those whose value is a map."""
        return tuple(section for section in self.sections if isinstance(section, MapSection))

    @cached_property
    def endpoints(self) -> tuple[str, ...]:
        """Every place whose value can be asked for, in forward order."""
        names = []
        for section in self.maps:
            names += [section.role] + ([section.reduction] if section.reduction else [])
        return (*names, "features", *(() if self.classifier is None else ("logits",)))

    @property
    def computed_endpoints(self) -> tuple[str, ...]:
        """The endpoints that operations lead to; a reduction is the value of the section before."""
        reductions = {section.reduction for section in self.maps}
        return tuple(name for name in self.endpoints if name not in reductions)

    @property
    def feature_maps(self) -> tuple[str, ...]:
        """The endpoints that are the last map of each resolution, the largest map first."""
        return tuple(section.reduction for section in self.maps if section.reduction)

    @property
    def after_features(self) -> tuple[str, ...]:
        """The roles of the sections that none of the feature maps depends on."""
        roles = [section.role for section in self.sections]
        last = max(number for number, section in enumerate(self.maps) if section.reduction)
        return tuple(roles[last + 1 :])

    @property
    def output(self) -> str:
        """The last endpoint: "logits", or "features" without a classifier."""
        return self.endpoints[-1]


@dataclass(frozen=True)
class Architecture:
    """A family of networks: `name` is that of its modules in `torch_impl` and `keras_impl` too.

    `model` is what makes a network in these modules, and `resolve` what describes one; the first
    of the presets is the one that a network of another scaling is made from.
    """

    name: str
    model: str
    presets: tuple[str, ...]
    resolve: Callable[..., Network]
