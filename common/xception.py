"""Xception as figure 5 of the paper draws it (arXiv 1610.02357), with every number resolved.

Three flows of separable convolutions: entry, middle and exit.  Batch norm follows every
convolution, separable or not, which the figure leaves out and its caption says.  Like
`common/spec.py` this knows no framework, and a backend that builds from it computes nothing.

Sizes are (height, width) in pixels; rates are probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ._util.arguments import LARGEST, look_up, positive, whole_count
from ._util.resolving import (
    reduction_names,
    resolve_classifier,
    shared_fields,
    size_after,
    with_reductions,
)
from .network import (
    IMAGENET_CLASSES,
    RELU,
    TENSORFLOW,
    Architecture,
    ConvBlock,
    Dialect,
    Layer,
    MapSection,
    MaxPool,
    Network,
    Operation,
    Section,
    Size,
    with_bn,
)
from .spec import scale_channels

# ------------------------------------------------------------------ figure 5


@dataclass(frozen=True)
class Row:
    """Separable convolutions with a shortcut around them, and what pools them at the end."""

    flow: str
    channels: tuple[int, ...]  # of each separable convolution
    stride: int  # of the max pooling after them; 1 if there is none
    relu_first: bool = True  # before the first of them, where there is one before every other


KERNEL = 3  # of every convolution that is not 1x1, and of the poolings
STEM = ((32, 2), (64, 1))  # channels and stride of two plain convolutions, without padding

# fmt: off
FIGURE_5 = (
    #   flow      separable convolutions  stride
    Row("entry",  (128, 128),             2, relu_first=False),  # after a ReLU of the stem
    Row("entry",  (256, 256),             2),
    Row("entry",  (728, 728),             2),
    Row("middle", (728, 728, 728),        1),  # repeated
    Row("exit",   (728, 1024),            2),
)
# fmt: on

MIDDLE_BLOCKS = 8  # repetitions of the middle flow
HEAD = (1536, 2048)  # channels of two separable convolutions without shortcut
RESOLUTION = 299  # pixels
DROPOUT = 0.5  # section 4.3, on ImageNet
TOTAL_STRIDE = math.prod(stride for _, stride in STEM) * math.prod(r.stride for r in FIGURE_5)


# ------------------------------------------------------------------ the resolved network


@dataclass(frozen=True)
class SeparableConv:
    """Depthwise, then pointwise convolution, then one batch norm (section 1.2).

    `relu_first` says whether its input passes through a ReLU.  There is none between the two
    halves, which figure 10 finds to be better.
    """

    role: str
    in_channels: int
    out_channels: int
    kernel: int
    size: Size
    relu_first: bool

    @property
    def path(self) -> tuple[Operation, ...]:
        """Its operations, in forward order."""
        role, inner, outer = self.role, self.in_channels, self.out_channels
        depthwise = Layer(
            f"{role}.depthwise_conv", "depthwise_conv", inner, inner, self.size, self.kernel
        )
        pointwise = Layer(f"{role}.pointwise_conv", "pointwise_conv", inner, outer, self.size, 1)
        first = (RELU,) if self.relu_first else ()
        return (*first, depthwise, *with_bn(pointwise, f"{role}.bn"))


@dataclass(frozen=True)
class ResidualBlock(MapSection):
    """Separable convolutions and a pooling, beside which the block's own input is added.

    `index` counts blocks through the whole network, from 0.
    """

    role: str
    flow: str
    stage: int
    index: int
    separable: tuple[SeparableConv, ...]
    kernel: int  # of the pooling
    stride: int
    in_channels: int
    out_channels: int
    input_size: Size
    output_size: Size
    has_projection: bool  # the shortcut is a convolution, where sizes or channels differ

    @property
    def has_pool(self) -> bool:
        """False in the middle flow, which keeps its resolution."""
        return self.stride > 1

    @property
    def operator(self) -> str:
        pool = ", pooling" if self.has_pool else ""
        return f"{self.flow}: {len(self.separable)} separable{pool}"

    @property
    def path(self) -> tuple[Operation, ...]:
        pool = (MaxPool(self.kernel, self.stride),) if self.has_pool else ()
        return (*(operation for conv in self.separable for operation in conv.path), *pool)

    @property
    def shortcut(self) -> tuple[Operation, ...]:
        if not self.has_projection:
            return ()
        role = f"{self.role}.shortcut_conv"
        channels = self.in_channels, self.out_channels
        return with_bn(Layer(role, "conv", *channels, self.output_size, 1, self.stride))


@dataclass(frozen=True)
class SeparableBlock(MapSection):
    """Separable convolution, batch norm, ReLU: the end of the exit flow."""

    role: str
    stage: int
    separable: SeparableConv
    in_channels: int
    out_channels: int
    input_size: Size
    output_size: Size
    stride: int

    @property
    def operator(self) -> str:
        return "exit: separable"

    @property
    def path(self) -> tuple[Operation, ...]:
        return (*self.separable.path, RELU)


@dataclass(frozen=True, repr=False)
class XceptionSpec(Network):
    """A fully resolved Xception."""

    blocks: tuple[ResidualBlock, ...]
    width: float
    middle_blocks: int
    stem: tuple[ConvBlock, ...]
    head: tuple[SeparableBlock, ...]

    architecture: ClassVar[str] = "xception"

    @property
    def title(self) -> str:
        return "Xception" if self.name == "xception" else "Xception-CUSTOM"

    @property
    def sections(self) -> tuple[Section, ...]:
        classifier = () if self.classifier is None else (self.classifier,)
        return (*self.stem, *self.blocks, *self.head, *classifier)

    @property
    def scaling(self) -> dict[str, float]:
        return {"width": self.width, "middle_blocks": self.middle_blocks}


def resolve(
    preset: str = "xception",
    *,
    width: float = 1.0,
    middle_blocks: int = MIDDLE_BLOCKS,
    resolution: int | Size | None = None,
    dropout: float | None = None,
    num_classes: int | None = IMAGENET_CLASSES,
    in_channels: int = 3,
    dialect: str | Dialect = TENSORFLOW,
) -> XceptionSpec:
    """Resolve figure 5, or another width or length of it, to a network of stated numbers.

    `width` multiplies every channel count, rounded as EfficientNet rounds; `middle_blocks` is how
    often the middle flow is repeated.  `resolution` is a side in pixels or (height, width);
    `num_classes=None` leaves out the classifier, so that the network ends in pooled features.

    Raises:
        UsageError: unknown preset or dialect, or a value outside its range.
    """
    look_up("preset", preset, dict.fromkeys(XCEPTION.presets, True))
    shared = shared_fields(
        resolution=RESOLUTION if resolution is None else resolution,
        smallest=TOTAL_STRIDE,
        dropout=DROPOUT if dropout is None else dropout,
        num_classes=num_classes,
        in_channels=in_channels,
        dialect=dialect,
    )
    width = positive("width", width)
    middle_blocks = whole_count("middle_blocks", middle_blocks, most=LARGEST * MIDDLE_BLOCKS)
    stem = _resolve_stem(shared["in_channels"], shared["resolution"], width)
    blocks = _resolve_blocks(stem[-1], width, middle_blocks)
    head = _resolve_head(blocks[-1], width)
    names = reduction_names((*stem, *blocks, *head))
    is_preset = (width, middle_blocks) == (1.0, MIDDLE_BLOCKS)
    return XceptionSpec(
        name="xception" if is_preset else "custom",
        width=width,
        middle_blocks=middle_blocks,
        stem=with_reductions(stem, names),
        blocks=with_reductions(blocks, names),
        head=with_reductions(head, names),
        classifier=resolve_classifier(head[-1].stage, head[-1].out_channels, shared),
        **shared,
    )


XCEPTION = Architecture("xception", "Xception", ("xception",), resolve)


def _resolve_stem(channels: int, size: Size, width: float) -> tuple[ConvBlock, ...]:
    stem: list[ConvBlock] = []
    for number, (filters, stride) in enumerate(STEM):
        rows, columns = ((side - KERNEL) // stride + 1 for side in size)
        output_size = rows, columns
        stem.append(
            ConvBlock(
                role=f"entry.stem.{number}",
                stage=1 + number,
                in_channels=channels,
                out_channels=scale_channels(filters, width),
                kernel=KERNEL,
                stride=stride,
                input_size=size,
                output_size=output_size,
                activation=RELU,
                padded=False,
            )
        )
        channels, size = stem[-1].out_channels, output_size
    return tuple(stem)


def _resolve_blocks(stem: ConvBlock, width: float, middle_blocks: int) -> tuple[ResidualBlock, ...]:
    blocks: list[ResidualBlock] = []
    channels, size = stem.out_channels, stem.output_size
    rows = [
        (stage, row)
        for stage, row in enumerate(FIGURE_5, stem.stage + 1)
        for _ in range(middle_blocks if row.flow == "middle" else 1)
    ]
    for index, (stage, row) in enumerate(rows):
        place = sum(block.flow == row.flow for block in blocks)
        role = f"{row.flow}.blocks.{place}"
        widths = [scale_channels(filters, width) for filters in row.channels]
        blocks.append(
            ResidualBlock(
                role=role,
                flow=row.flow,
                stage=stage,
                index=index,
                separable=tuple(
                    SeparableConv(
                        role=f"{role}.separable.{number}",
                        in_channels=before,
                        out_channels=after,
                        kernel=KERNEL,
                        size=size,
                        relu_first=number > 0 or row.relu_first,
                    )
                    for number, (before, after) in enumerate(
                        zip([channels, *widths], widths, strict=False)
                    )
                ),
                kernel=KERNEL,
                stride=row.stride,
                in_channels=channels,
                out_channels=widths[-1],
                input_size=size,
                output_size=size_after(size, row.stride),
                has_projection=row.stride > 1 or channels != widths[-1],
            )
        )
        channels, size = widths[-1], blocks[-1].output_size
    return tuple(blocks)


def _resolve_head(last: ResidualBlock, width: float) -> tuple[SeparableBlock, ...]:
    head: list[SeparableBlock] = []
    channels, size = last.out_channels, last.output_size
    for number, filters in enumerate(HEAD):
        outer = scale_channels(filters, width)
        role = f"exit.head.{number}"
        conv = SeparableConv(role, channels, outer, KERNEL, size, relu_first=False)
        head.append(
            SeparableBlock(
                role=role,
                stage=last.stage + 1 + number,
                separable=conv,
                in_channels=channels,
                out_channels=outer,
                input_size=size,
                output_size=size,
                stride=1,
            )
        )
        channels = outer
    return tuple(head)
