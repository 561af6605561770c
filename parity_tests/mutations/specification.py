"""Mistakes in the numbers of a network: its dialect, its blocks, its scaling."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import zip_longest
from math import inf
from typing import Any
from unittest.mock import patch

from efficientnet_rosetta.common import spec
from efficientnet_rosetta.common.network import Network

from .machine import FREQUENCY, WEIGHTS, Apply, Mutation
from .making import blocks_of, other_blocks, other_network


def _dialect(**changes: Any) -> Apply:
    return other_network(
        lambda network: replace(network, dialect=replace(network.dialect, **changes))
    )


def _stride_last(network: Network) -> Network:
    """The last block of a stage has the stride that is the first one's, and so no shortcut."""
    found = blocks_of(network)
    strides = {block.stage: block.stride for block in found if block.repeat == 0}
    blocks = []
    for block, after in zip_longest(found, found[1:]):
        is_last = after is None or after.stage != block.stage
        stride = strides[block.stage] if is_last else 1
        blocks.append(replace(block, stride=stride, has_skip=block.has_skip and stride == 1))
    return replace(network, blocks=tuple(blocks))


def _full_at_the_end(network: Network) -> Network:
    found = blocks_of(network)
    stretched = len(found) / (len(found) - 1)
    blocks = (replace(b, drop_path_rate=b.drop_path_rate * stretched) for b in found)
    return replace(network, blocks=tuple(blocks))


def _no_dropout(network: Network) -> Network:
    last = network.classifier
    return network if last is None else replace(network, classifier=replace(last, dropout=0.0))


def _scaled(**changes: Callable[[int, float], int]) -> Apply:
    """The preset is scaled by other rules."""

    def change(network: Network) -> Network:
        with ExitStack() as stack:
            for name, code in changes.items():
                stack.enter_context(patch.object(spec, name, code))
            return spec.resolve(network.name, resolution=network.resolution)

    return other_network(change)


MISTAKES = (
    Mutation("epsilon 1e-5 for 1e-3", "forward", _dialect(epsilon=1e-5), size=2),
    Mutation("symmetric for SAME padding", "forward", _dialect(padding="symmetric"), size=10),
    Mutation(
        "momentum read the wrong way round",
        "batch_norm",
        _dialect(momentum=0.01),
        size=2,
        by="batch norm, 1 batch",
    ),
    Mutation(
        "squeeze width from the expanded channels",
        "forward",
        other_blocks(lambda b: {"squeezed_channels": b.expanded_channels // 4}),
        size=inf,
        by=WEIGHTS,
    ),
    Mutation(
        "the seventh stage of blocks with kernel 5",
        "forward",
        other_blocks(lambda b: {"kernel": 5} if b.stage == 8 else {}),
        size=inf,
        by=WEIGHTS,
    ),
    # Maps are of another size inside, and of the right one at the end.
    Mutation(
        "stride in the last block of a stage", "forward", other_network(_stride_last), size=inf
    ),
    Mutation(
        "no skip in one block",
        "forward",
        other_blocks(lambda b: {"has_skip": b.has_skip and b.role != "stages.5.blocks.1"}),
        size=10,
    ),
    # What is kept is divided by another number where the rate is another one: no frequency.
    Mutation(
        "ramp that ends at the full rate",
        "stochastic_depth",
        other_network(_full_at_the_end),
        size=inf,
        by=FREQUENCY,
    ),
    Mutation(
        "ramp over the blocks of B0",
        "stochastic_depth",
        other_blocks(lambda b: {"drop_path_rate": 0.2 * b.index / 16}),
        size=inf,
        by=FREQUENCY,
        preset="b3",
    ),
    Mutation(
        "the same rate for every block",
        "stochastic_depth",
        other_blocks(lambda b: {"drop_path_rate": 0.2}),
        size=inf,
        by=FREQUENCY,
    ),
    Mutation(
        "survival probability taken for the rate",
        "stochastic_depth",
        other_blocks(lambda b: {"drop_path_rate": 1 - b.drop_path_rate if b.index else 0.0}),
        size=inf,
        by=FREQUENCY,
    ),
    Mutation(
        "no dropout before the classifier",
        "stochastic_depth",
        other_network(_no_dropout),
        size=inf,
        by=FREQUENCY,
    ),
    Mutation(
        "channels not rounded to multiples of 8",
        "forward",
        _scaled(scale_channels=lambda channels, width: int(channels * width)),
        size=inf,
        by=WEIGHTS,
        preset="b2",
    ),
    Mutation(
        "depth rounded down",
        "forward",
        _scaled(scale_layers=lambda layers, depth: int(layers * depth)),
        size=inf,
        by=WEIGHTS,
        preset="b1",
    ),
)
