"""EfficientNet as the paper describes it (arXiv 1905.11946), with every number resolved.

Nothing here knows a framework: the module imports the standard library only.  `resolve()`
turns a preset, or any other scaling, into a `Network` in which every channel count, size,
stride and rate is a plain number, so that a backend connects layers and computes nothing.
What a network is made of, `Layer`, `Section` and `Network`, is what other architectures are
described with too (`common/xception.py`).

Sizes are (height, width) in pixels; rates are probabilities.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

Size = tuple[int, int]
Padding = tuple[int, int]


# ------------------------------------------------------------------ what is allowed

LARGEST = 100  # multiplier of width or depth; L2, the largest there is, has 4.3 and 5.3


def look_up(what: str, name: str, table: dict[str, Any]) -> Any:
    """The entry of a table by its name, in small letters.

    Raises:
        ValueError: there is none.
    """
    found = table.get(name.lower()) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"unknown {what} {name!r}; choose from {', '.join(table)}")
    return found


def positive(what: str, value: float) -> float:
    """A number that must be above 0, and of a size that a network can have.

    Raises:
        ValueError: it is not.
    """
    if not (isinstance(value, Real) and 0 < value <= LARGEST):
        raise ValueError(f"{what} is {value}; it must be a positive number, at most {LARGEST}")
    return float(value)


def rate(what: str, value: float) -> float:
    """A share of 1, of which something must be left.

    Raises:
        ValueError: it is none.
    """
    if not (isinstance(value, Real) and 0 <= value < 1):
        raise ValueError(f"{what} is {value}; it must be at least 0 and below 1")
    return float(value)


def _whole(value: int) -> int | None:
    """The value as a plain integer, of whatever integer type it is; None if it is not one."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def whole_count(what: str, value: int, otherwise: str = "", most: int | None = None) -> int:
    """A whole number of at least 1, and at most `most`; `otherwise` is what else may be said.

    Raises:
        ValueError: it is none.
    """
    count = _whole(value)
    if count is None or count < 1:
        raise ValueError(f"{what} is {value}; it must be a whole number of at least 1{otherwise}")
    if most is not None and count > most:
        raise ValueError(f"{what} is {value}; it must be at most {most}")
    return count


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
    """

    name: str
    padding: Literal["same", "symmetric"]
    epsilon: float
    momentum: float

    def __post_init__(self) -> None:
        if self.padding not in ("same", "symmetric"):
            raise ValueError(f"padding is {self.padding!r}; it must be 'same' or 'symmetric'")
        positive("epsilon", self.epsilon)
        rate("momentum", self.momentum)

    def pad(self, size: int, kernel: int, stride: int) -> Padding:
        """Zeros (before, after) an axis of `size` pixels for a convolution."""
        if self.padding == "same":
            return same_padding(size, kernel, stride)
        return symmetric_padding(kernel)


# The paper's own code: tensorflow/tpu, efficientnet_builder.py.
TENSORFLOW = Dialect("tensorflow", padding="same", epsilon=1e-3, momentum=0.99)
# torchvision's B0-B4 and timm's models without the prefix `tf_`.
PYTORCH = Dialect("pytorch", padding="symmetric", epsilon=1e-5, momentum=0.9)
# torchvision's B5-B7: weights trained with SAME padding, run with symmetric padding.
TORCHVISION_LARGE = Dialect("torchvision-large", padding="symmetric", epsilon=1e-3, momentum=0.99)

DIALECTS = {dialect.name: dialect for dialect in (TENSORFLOW, PYTORCH, TORCHVISION_LARGE)}


# ------------------------------------------------------------------ Table 1: EfficientNet-B0


@dataclass(frozen=True)
class Stage:
    """A row of Table 1: `layers` MBConv blocks, the first of them with `stride`."""

    number: int
    expand_ratio: int
    kernel: int
    channels: int
    layers: int
    stride: int


STEM_CHANNELS, STEM_KERNEL, STEM_STRIDE = 32, 3, 2  # stage 1: Conv3x3

# fmt: off
TABLE_1 = (
    #     stage MBConv  kernel  channels  layers  stride
    Stage(2,    1,      3,      16,       1,      1),
    Stage(3,    6,      3,      24,       2,      2),
    Stage(4,    6,      5,      40,       2,      2),
    Stage(5,    6,      3,      80,       3,      2),
    Stage(6,    6,      5,      112,      3,      1),
    Stage(7,    6,      5,      192,      4,      2),
    Stage(8,    6,      3,      320,      1,      1),
)
# fmt: on

HEAD_CHANNELS = 1280  # stage 9: Conv1x1 & pooling & FC
TOTAL_STRIDE = STEM_STRIDE * math.prod(stage.stride for stage in TABLE_1)
SQUEEZE_RATIO = 0.25  # of a block's input channels, before expansion


# ------------------------------------------------------------------ section 3.3: compound scaling

ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15  # depth, width, resolution, found by grid search on B0


@dataclass(frozen=True)
class Scaling:
    """How far a network is from B0: multipliers of width and depth, and a resolution in pixels."""

    width: float
    depth: float
    resolution: int


def compound_scaling(phi: float) -> Scaling:
    """Equation 3: depth 1.2^phi, width 1.1^phi and resolution 224 * 1.15^phi, for any real phi.

    As 1.2 * 1.1^2 * 1.15^2 is close to 2, the cost grows by about 2^phi.  The released B1-B8 and L2
    are *not* on this curve: their coefficients were rounded and tuned by hand (B7 has width 2.0 and
    depth 3.1; phi = 6 and phi = 7 give widths 1.77 and 1.95, depths 2.99 and 3.58), so the presets
    are a table and never computed.
    """
    return Scaling(
        width=BETA**phi, depth=ALPHA**phi, resolution=round(PRESETS["b0"].resolution * GAMMA**phi)
    )


@dataclass(frozen=True)
class Preset:
    """A released model: efficientnet_builder.py of the paper's code."""

    name: str
    width: float
    depth: float
    resolution: int
    dropout: float


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("b0", 1.0, 1.0, 224, 0.2),  #   5,288,548 parameters
        Preset("b1", 1.0, 1.1, 240, 0.2),  #   7,794,184
        Preset("b2", 1.1, 1.2, 260, 0.3),  #   9,109,994
        Preset("b3", 1.2, 1.4, 300, 0.3),  #  12,233,232
        Preset("b4", 1.4, 1.8, 380, 0.4),  #  19,341,616
        Preset("b5", 1.6, 2.2, 456, 0.4),  #  30,389,784
        Preset("b6", 1.8, 2.6, 528, 0.5),  #  43,040,704
        Preset("b7", 2.0, 3.1, 600, 0.5),  #  66,347,960
        Preset("b8", 2.2, 3.6, 672, 0.5),  #  87,413,142
        Preset("l2", 4.3, 5.3, 800, 0.5),  # 480,309,308
    )
}
DROP_PATH_RATE = 0.2  # 1 - survival probability, the same for every preset
IMAGENET_CLASSES = 1000


def scale_channels(channels: int, width: float) -> int:
    """`channels * width` to the nearest multiple of 8: at least 8, and 90 % of the product."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def scale_layers(layers: int, depth: float) -> int:
    """`layers * depth`, rounded up."""
    return math.ceil(layers * depth)


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

    function: Literal["swish", "relu"]


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
SWISH, RELU = Activation("swish"), Activation("relu")


class Section(ABC):
    """A part of a network with a value of its own: what its operations are, in forward order.

    `role` is the prefix of its layers' roles and the name of its output; `stage` is the row of
    the paper's table that it belongs to, from 1; `reduction` is a second name of that output
    where the section is the last of its resolution.
    """

    role: str
    stage: int
    in_channels: int
    reduction: str | None = None

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
class ConvBlock(Section):
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
    reduction: str | None = None

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


@dataclass(frozen=True)
class Block(Section):
    """One MBConv: inverted bottleneck with squeeze-and-excitation.

    `index` counts blocks through the whole network and `repeat` within the stage, both from 0.
    """

    role: str
    stage: int
    repeat: int
    index: int
    kernel: int
    stride: int
    expand_ratio: int
    in_channels: int
    expanded_channels: int
    squeezed_channels: int
    out_channels: int
    input_size: Size
    output_size: Size
    has_skip: bool
    drop_path_rate: float
    reduction: str | None = None

    @property
    def has_expansion(self) -> bool:
        """False in stage 2, whose blocks have neither expansion convolution nor its batch norm."""
        return self.expand_ratio != 1

    @property
    def operator(self) -> str:
        return f"MBConv{self.expand_ratio}, k{self.kernel}x{self.kernel}"

    @property
    def path(self) -> tuple[Operation, ...]:
        role, size = self.role, self.output_size
        inner, squeezed, outer = self.expanded_channels, self.squeezed_channels, self.out_channels
        expand = Layer(f"{role}.expand_conv", "conv", self.in_channels, inner, self.input_size, 1)
        depthwise = Layer(
            f"{role}.depthwise_conv", "depthwise_conv", inner, inner, size, self.kernel, self.stride
        )
        project = Layer(f"{role}.project_conv", "conv", inner, outer, size, 1)
        return (
            *((*with_bn(expand), SWISH) if self.has_expansion else ()),
            *with_bn(depthwise),
            SWISH,
            Gate(
                Layer(f"{role}.se_reduce", "conv", inner, squeezed, (1, 1), 1, bias=True),
                Layer(f"{role}.se_expand", "conv", squeezed, inner, (1, 1), 1, bias=True),
            ),
            *with_bn(project),
        )

    @property
    def shortcut(self) -> tuple[Operation, ...] | None:
        return () if self.has_skip else None


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


@dataclass(frozen=True)
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
    blocks: tuple[Section, ...]
    classifier: Classifier | None

    architecture: ClassVar[str]  # the name of an `Architecture`

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

    @property
    def maps(self) -> tuple[Section, ...]:
        """All sections but the classifier: those whose value is a map."""
        return self.sections if self.classifier is None else self.sections[:-1]

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


@dataclass(frozen=True)
class EfficientNetSpec(Network):
    """A fully resolved EfficientNet."""

    width: float
    depth: float
    drop_path_rate: float
    stem: ConvBlock
    head: ConvBlock

    architecture: ClassVar[str] = "efficientnet"

    @property
    def title(self) -> str:
        return f"EfficientNet-{self.name.upper()}"

    @property
    def sections(self) -> tuple[Section, ...]:
        classifier = () if self.classifier is None else (self.classifier,)
        return (self.stem, *self.blocks, self.head, *classifier)

    @property
    def scaling(self) -> dict[str, float]:
        return {"width": self.width, "depth": self.depth}

    @property
    def arguments(self) -> dict[str, Any]:
        return {**super().arguments, "drop_path_rate": self.drop_path_rate}

    @property
    def drop_path_rates(self) -> dict[str, float]:
        return {block.role: block.drop_path_rate for block in self.blocks}


def resolve(
    preset: str = "b0",
    *,
    width: float | None = None,
    depth: float | None = None,
    resolution: int | Size | None = None,
    dropout: float | None = None,
    num_classes: int | None = IMAGENET_CLASSES,
    in_channels: int = 3,
    drop_path_rate: float = DROP_PATH_RATE,
    dialect: str | Dialect = TENSORFLOW,
) -> EfficientNetSpec:
    """Resolve a preset, or any scaling of B0, to a network in which every number is stated.

    What is not given comes from `preset`.  `resolution` is a side in pixels or (height, width);
    `num_classes=None` leaves out the classifier, so that the network ends in pooled features.

    Raises:
        ValueError: unknown preset or dialect, or a value outside its range.
    """
    base = look_up("preset", preset, PRESETS)
    shared = shared_fields(
        resolution=base.resolution if resolution is None else resolution,
        smallest=TOTAL_STRIDE,
        dropout=base.dropout if dropout is None else dropout,
        num_classes=num_classes,
        in_channels=in_channels,
        dialect=dialect,
    )
    width = positive("width", base.width if width is None else width)
    depth = positive("depth", base.depth if depth is None else depth)
    drop_path_rate = rate("drop_path_rate", drop_path_rate)

    size = shared["resolution"]
    stem_size = size_after(size, STEM_STRIDE)
    stem = ConvBlock(
        role="stem",
        stage=1,
        in_channels=shared["in_channels"],
        out_channels=scale_channels(STEM_CHANNELS, width),
        kernel=STEM_KERNEL,
        stride=STEM_STRIDE,
        input_size=size,
        output_size=stem_size,
    )
    blocks = _resolve_blocks(stem, width, depth, drop_path_rate)
    last = blocks[-1]
    head = ConvBlock(
        role="head",
        stage=TABLE_1[-1].number + 1,
        in_channels=last.out_channels,
        out_channels=scale_channels(HEAD_CHANNELS, width),
        kernel=1,
        stride=1,
        input_size=last.output_size,
        output_size=last.output_size,
    )
    is_preset = (width, depth) == (base.width, base.depth)
    return EfficientNetSpec(
        name=base.name if is_preset else "custom",
        width=width,
        depth=depth,
        drop_path_rate=drop_path_rate,
        stem=stem,
        blocks=blocks,
        head=head,
        classifier=resolve_classifier(head.stage, head.out_channels, shared),
        **shared,
    )


EFFICIENTNET = Architecture("efficientnet", "EfficientNet", tuple(PRESETS), resolve)


def _resolve_blocks(
    stem: ConvBlock, width: float, depth: float, drop_path_rate: float
) -> tuple[Block, ...]:
    rows = [
        (stage, repeat) for stage in TABLE_1 for repeat in range(scale_layers(stage.layers, depth))
    ]
    strides = [stage.stride if repeat == 0 else 1 for stage, repeat in rows]
    blocks: list[Block] = []
    channels, size = stem.out_channels, stem.output_size
    for index, (stage, repeat) in enumerate(rows):
        out_channels = scale_channels(stage.channels, width)
        output_size = size_after(size, strides[index])
        # step: squeeze
        squeezed_channels = max(1, int(channels * SQUEEZE_RATIO))
        # step: ramp
        # From 0 in the first block to one step below the full rate in the last.
        block_rate = drop_path_rate * index / len(rows)
        # step: skip
        has_skip = strides[index] == 1 and channels == out_channels
        # step: block
        blocks.append(
            Block(
                role=f"stages.{stage.number}.blocks.{repeat}",
                stage=stage.number,
                repeat=repeat,
                index=index,
                kernel=stage.kernel,
                stride=strides[index],
                expand_ratio=stage.expand_ratio,
                in_channels=channels,
                expanded_channels=channels * stage.expand_ratio,
                squeezed_channels=squeezed_channels,
                out_channels=out_channels,
                input_size=size,
                output_size=output_size,
                has_skip=has_skip,
                drop_path_rate=block_rate,
            )
        )
        channels, size = out_channels, output_size
    return with_reductions(tuple(blocks))


# ------------------------------------------------------------------ what architectures share


def shared_fields(
    *,
    resolution: int | Size,
    smallest: int,
    dropout: float,
    num_classes: int | None,
    in_channels: int,
    dialect: str | Dialect,
) -> dict[str, Any]:
    """The arguments of any `resolve` that are fields of a `Network` once they are checked.

    `smallest` is the side in pixels below which the architecture takes no image.

    Raises:
        ValueError: unknown dialect, or a value outside its range.
    """
    if num_classes is not None:
        num_classes = whole_count("num_classes", num_classes, ", or None for no classifier")
    return {
        "resolution": image_size(resolution, smallest),
        "dropout": rate("dropout", dropout),
        "num_classes": num_classes,
        "in_channels": whole_count("in_channels", in_channels),
        "dialect": look_up("dialect", dialect, DIALECTS) if isinstance(dialect, str) else dialect,
    }


def resolve_classifier(stage: int, in_channels: int, shared: dict[str, Any]) -> Classifier | None:
    """The classifier on so many features, if the network is to have one."""
    if shared["num_classes"] is None:
        return None
    return Classifier("classifier", stage, in_channels, shared["num_classes"], shared["dropout"])


def with_reductions(sections: tuple[Any, ...]) -> tuple[Any, ...]:
    """A second name for the map that the next section halves, and for the last."""
    strides = [section.stride for section in sections[1:]]
    named, reductions = [], 0
    for section, next_stride in zip_longest(sections, strides):
        if next_stride is None or next_stride > 1:
            reductions += 1
            section = replace(section, reduction=f"reductions.{reductions}")
        named.append(section)
    return tuple(named)


def size_after(size: Size, stride: int) -> Size:
    """The map after a padded convolution: both padding rules give ceil(size / stride)."""
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def image_size(resolution: int | Size, smallest: int) -> Size:
    """A side in pixels, or (height, width), as the latter.

    Raises:
        ValueError: a side is below the smallest.
    """
    sides = resolution if isinstance(resolution, tuple | list) else (resolution, resolution)
    size = tuple(_whole(side) for side in sides)
    if len(size) != 2 or any(side is None or side < smallest for side in size):
        raise ValueError(
            f"resolution is {resolution}; each side must be a whole number of at least "
            f"{smallest} pixels, the stride of the whole network"
        )
    return size
