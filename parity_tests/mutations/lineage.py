"""Mistakes in Lite, V2 and EdgeTPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any
from unittest.mock import patch

from torch import Tensor
from torch.nn import functional as F

from efficientnet_rosetta.common import spec, v2
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.blocks import FusedMBConvBlock
from efficientnet_rosetta.common.network import Activation, Dialect, MapSection, Network
from efficientnet_rosetta.common.spec import MBConvBlock
from efficientnet_rosetta.torch_impl import blocks
from efficientnet_rosetta.torch_impl.blocks import FusedMBConv
from efficientnet_rosetta.torch_impl.layers import BatchNorm, Conv

from .machine import FREQUENCY, WEIGHTS, Apply, Mutation
from .making import around, other_code, other_network

NARROW = {"width": 0.25, "depth": 0.5}  # which play no part in most
TWO_A_STAGE = {"width": 0.25, "depth": 1.1}  # two blocks in the first stage of EdgeTPU as well


def _mistake(
    name: str,
    apply: Apply,
    size: float,
    preset: str,
    *,
    claim: str = "forward",
    by: str | None = None,
    scaling: dict[str, float] = NARROW,
) -> Mutation:
    return Mutation(name, claim, apply, size, by, preset, scaling)


def _blocks(change: Callable[[Any], dict[str, Any]], kind: type = MapSection) -> Apply:
    """Fields of the blocks of a kind are changed."""
    return other_network(
        lambda network: replace(  # type: ignore[misc]
            network,
            blocks=tuple(
                replace(block, **change(block)) if isinstance(block, kind) else block
                for block in network.blocks
            ),
        )
    )


# ------------------------------------------------------------------ activations


def _activation(function: Callable[[Tensor], Tensor]) -> Apply:
    def wrong(x: Tensor, named: Activation) -> Tensor:
        return function(x)

    return other_code(blocks, "activation", wrong)


def _none_without_expansion(
    right: Callable[[FusedMBConv, Tensor], Tensor], self: FusedMBConv, x: Tensor
) -> Tensor:
    if self.block.has_expansion:
        return right(self, x)
    y = self.project_bn(self.project_conv(x))
    return self.drop_path(y) + x if self.block.has_skip else y


# ------------------------------------------------------------------ convolutions


def _stride_last(
    right: Callable[..., None], self: FusedMBConv, block: FusedMBConvBlock, dialect: Dialect
) -> None:
    """Where padding is symmetric, this is the same function at four times the cost."""
    right(self, block, dialect)
    if block.has_expansion:
        inner, outer = block.expanded_channels, block.out_channels
        self.expand_conv = Conv(block.in_channels, inner, block.kernel, 1, dialect)
        self.project_conv = Conv(inner, outer, 1, block.stride, dialect)


def _projected(
    right: Callable[..., None], self: FusedMBConv, block: FusedMBConvBlock, dialect: Dialect
) -> None:
    right(self, block, dialect)
    if not block.has_expansion:
        channels = block.out_channels
        self.pointwise_conv = Conv(channels, channels, 1, 1, dialect)
        self.pointwise_bn = BatchNorm(channels, dialect)


# ------------------------------------------------------------------ numbers


def _guarded(network: Network) -> Network:
    """The channels of V2, rounded by the rule of the first EfficientNet."""
    with patch.object(v2, "scale_channels", spec.scale_channels):
        return changed(network)


def _with_skip(block: Any) -> dict[str, Any]:
    fits = block.stride == 1 and block.in_channels == block.out_channels
    return {"has_skip": fits}


def _no_skip_in_stage_1(block: Any) -> dict[str, Any]:
    return {"has_skip": block.has_skip and block.stage != 2}


UNSCALED_BLOCKS = 21  # of V2-B0, by which two libraries divide in B1 to B3 as well


MISTAKES = (
    _mistake("ReLU for ReLU6", _activation(F.relu), 10, "lite0"),
    _mistake("swish for ReLU6", _activation(F.silu), 10, "lite0"),
    _mistake("swish for the ReLU of EdgeTPU", _activation(F.silu), 10, "edgetpu-s"),
    _mistake(
        "no activation after a fused block without expansion",
        around(FusedMBConv, "forward", _none_without_expansion),
        10,
        "v2-b0",
    ),
    _mistake(
        "projection in a fused block without expansion",
        around(FusedMBConv, "__init__", _projected),
        inf,
        "v2-b0",
        by=WEIGHTS,
    ),
    _mistake(
        "stride on the projection of a fused block",
        around(FusedMBConv, "__init__", _stride_last),
        10,
        "edgetpu-s",
    ),
    _mistake(
        "skip in the first stage of EdgeTPU",
        _blocks(_with_skip),
        10,
        "edgetpu-m",
        scaling=TWO_A_STAGE,
    ),
    _mistake("no skip in the first stage of V2-S", _blocks(_no_skip_in_stage_1), 30, "v2-s"),
    _mistake(
        "hidden width from the real and not the declared input",
        _blocks(lambda b: {"expanded_channels": b.in_channels * b.expand_ratio}),
        inf,
        "edgetpu-s",
        by=WEIGHTS,
        scaling={"depth": 0.1},
    ),
    _mistake(
        "V2's channels rounded to 90 % and more",
        other_network(_guarded),
        inf,
        "v2-b3",
        by=WEIGHTS,
        scaling={"depth": 0.1},
    ),
    _mistake(
        "squeeze width of V2 from the expanded channels",
        _blocks(lambda b: {"squeezed_channels": b.expanded_channels // 4}, MBConvBlock),
        inf,
        "v2-b0",
        by=WEIGHTS,
    ),
    # What is kept is divided by another number where the rate is another one: no frequency.
    _mistake(
        "ramp over the blocks of V2-B0",
        _blocks(lambda b: {"drop_path_rate": 0.2 * b.index / UNSCALED_BLOCKS}),
        inf,
        "v2-b1",
        claim="stochastic_depth",
        by=FREQUENCY,
    ),
)
