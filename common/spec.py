"""EfficientNet as the paper describes it (arXiv 1905.11946), with every number resolved.

Nothing here knows a framework: the module imports the standard library only.  `resolve()` turns a
preset, or any other scaling, into a `Network` in which every channel count, size, stride and rate
is a plain number, so that a backend connects layers and computes nothing.  What a network is made
of is in `network.py`.

Sizes are (height, width) in pixels; rates are probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from ._util.arguments import look_up, positive, rate
from ._util.resolving import (
    reduction_names,
    resolve_classifier,
    shared_fields,
    size_after,
    with_reductions,
)
from .network import (
    IMAGENET_CLASSES,
    SWISH,
    TENSORFLOW,
    Architecture,
    ConvBlock,
    Dialect,
    Gate,
    Layer,
    MapSection,
    Network,
    Operation,
    Section,
    Size,
    with_bn,
)

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


def scale_channels(channels: int, width: float) -> int:
    """`channels * width` to the nearest multiple of 8: at least 8, and 90 % of the product."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def scale_layers(layers: int, depth: float) -> int:
    """`layers * depth`, rounded up."""
    return math.ceil(layers * depth)


@dataclass(frozen=True)
class MBConvBlock(MapSection):
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


@dataclass(frozen=True, repr=False)
class EfficientNetSpec(Network):
    """A fully resolved EfficientNet."""

    blocks: tuple[MBConvBlock, ...]
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
        UsageError: unknown preset or dialect, or a value outside its range.
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
) -> tuple[MBConvBlock, ...]:
    rows = [
        (stage, repeat) for stage in TABLE_1 for repeat in range(scale_layers(stage.layers, depth))
    ]
    strides = [stage.stride if repeat == 0 else 1 for stage, repeat in rows]
    blocks: list[MBConvBlock] = []
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
            MBConvBlock(
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
    return with_reductions(tuple(blocks), reduction_names(blocks))
