"""The blocks that the later EfficientNets are made of, and what their networks share.

`spec.py` is the paper's own network, and reads beside it without this file.  Those that came after
it leave something out of its block or melt two of its convolutions into one: Lite (`lite.py`), V2
(`v2.py`, and timm's own in `v2_rw.py`) and EdgeTPU (`edgetpu.py`).  Like the specifications this
knows no framework.

Sizes are (height, width) in pixels; rates are probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ._util.resolving import (
    SharedFields,
    reduction_names,
    resolve_classifier,
    size_after,
    with_reductions,
)
from .network import (
    Activation,
    ConvBlock,
    Layer,
    MapSection,
    Network,
    Operation,
    Section,
    Size,
    with_bn,
)

STEM_KERNEL, STEM_STRIDE = 3, 2


@dataclass(frozen=True)
class StageBlock(MapSection):
    """A block of a stage that is repeated; what is on its way is the subclass's to say.

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
    out_channels: int
    input_size: Size
    output_size: Size
    has_skip: bool
    drop_path_rate: float
    activation: Activation

    @property
    def has_expansion(self) -> bool:
        """Whether an expansion is its first convolution."""
        return self.expand_ratio != 1

    @property
    def shortcut(self) -> tuple[Operation, ...] | None:
        return () if self.has_skip else None


@dataclass(frozen=True)
class PlainMBConvBlock(StageBlock):
    """MBConv without squeeze-and-excitation."""

    @property
    def operator(self) -> str:
        return f"MBConv{self.expand_ratio}, k{self.kernel}x{self.kernel}, no SE"

    @property
    def path(self) -> tuple[Operation, ...]:
        role, inner, size = self.role, self.expanded_channels, self.output_size
        expand = Layer(f"{role}.expand_conv", "conv", self.in_channels, inner, self.input_size, 1)
        depthwise = Layer(
            f"{role}.depthwise_conv", "depthwise_conv", inner, inner, size, self.kernel, self.stride
        )
        project = Layer(f"{role}.project_conv", "conv", inner, self.out_channels, size, 1)
        return (
            *((*with_bn(expand), self.activation) if self.has_expansion else ()),
            *with_bn(depthwise),
            self.activation,
            *with_bn(project),
        )


@dataclass(frozen=True)
class FusedMBConvBlock(StageBlock):
    """MBConv whose expansion and depthwise convolution are one ordinary convolution.

    Without expansion that convolution is all there is, and an activation follows it; with it, none
    follows the projection.
    """

    @property
    def operator(self) -> str:
        return f"Fused-MBConv{self.expand_ratio}, k{self.kernel}x{self.kernel}"

    @property
    def path(self) -> tuple[Operation, ...]:
        role, inner, outer = self.role, self.expanded_channels, self.out_channels
        size, spatial = self.output_size, (self.kernel, self.stride)
        if not self.has_expansion:
            only = Layer(f"{role}.project_conv", "conv", self.in_channels, outer, size, *spatial)
            return (*with_bn(only), self.activation)
        expand = Layer(f"{role}.expand_conv", "conv", self.in_channels, inner, size, *spatial)
        project = Layer(f"{role}.project_conv", "conv", inner, outer, size, 1)
        return (*with_bn(expand), self.activation, *with_bn(project))


@dataclass(frozen=True)
class ProjectedMBConvBlock(FusedMBConvBlock):
    """Fused-MBConv that ends in a projection even where its first convolution expands nothing."""

    @property
    def has_expansion(self) -> bool:
        """Always, if only by name: there are both convolutions."""
        return True


@dataclass(frozen=True, repr=False)
class StagedNetwork(Network):
    """Stem, stages of blocks, head, classifier, as in Table 1 of the EfficientNet paper."""

    blocks: tuple[Any, ...]
    width: float
    depth: float
    drop_path_rate: float
    stem: ConvBlock
    head: ConvBlock

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


@dataclass(frozen=True)
class Place:
    """Where a block stands: what is the same of it, of whatever kind it is."""

    role: str
    stage: int
    repeat: int
    index: int
    stride: int
    in_channels: int
    out_channels: int
    input_size: Size
    output_size: Size
    has_skip: bool
    drop_path_rate: float


@dataclass(frozen=True)
class Stage:
    """How often a block is repeated, to how many channels; the first of them has the stride.

    `has_skips` is False where no input is added, although a block keeps size and channels.
    """

    channels: int
    layers: int
    stride: int
    has_skips: bool = True


def places(stem: ConvBlock, stages: Sequence[Stage], drop_path_rate: float) -> Iterator[Place]:
    """Where every block of the stages behind a stem stands.

    Stochastic depth grows from 0 in the first block to one step below the full rate in the last.
    """
    count = sum(stage.layers for stage in stages)
    index, channels, size = 0, stem.out_channels, stem.output_size
    for number, stage in enumerate(stages, stem.stage + 1):
        for repeat in range(stage.layers):
            stride = stage.stride if repeat == 0 else 1
            place = Place(
                role=f"stages.{number}.blocks.{repeat}",
                stage=number,
                repeat=repeat,
                index=index,
                stride=stride,
                in_channels=channels,
                out_channels=stage.channels,
                input_size=size,
                output_size=size_after(size, stride),
                has_skip=stage.has_skips and stride == 1 and channels == stage.channels,
                drop_path_rate=drop_path_rate * index / count,
            )
            yield place
            index, channels, size = index + 1, place.out_channels, place.output_size


def around(
    blocks: Sequence[MapSection], stem: ConvBlock, head_channels: int, shared: SharedFields
) -> dict[str, Any]:
    """The fields of a network that follow from its stem and its blocks, and the shared ones."""
    last = blocks[-1]
    head = ConvBlock(
        role="head",
        stage=last.stage + 1,
        in_channels=last.out_channels,
        out_channels=head_channels,
        kernel=1,
        stride=1,
        input_size=last.output_size,
        output_size=last.output_size,
        activation=stem.activation,
    )
    return {
        "stem": stem,
        "blocks": with_reductions(tuple(blocks), reduction_names(blocks)),
        "head": head,
        "classifier": resolve_classifier(head.stage, head_channels, shared),
        **shared,
    }


def resolve_stem(shared: SharedFields, channels: int, activation: Activation) -> ConvBlock:
    """Stage 1, a 3x3 convolution of stride 2."""
    size = shared["resolution"]
    return ConvBlock(
        role="stem",
        stage=1,
        in_channels=shared["in_channels"],
        out_channels=channels,
        kernel=STEM_KERNEL,
        stride=STEM_STRIDE,
        input_size=size,
        output_size=size_after(size, STEM_STRIDE),
        activation=activation,
    )
