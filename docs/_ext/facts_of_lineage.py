"""The numbers that pages name of the networks beside B0 to B8, and of their rules when misread."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

from efficientnet_rosetta.common import architectures, edgetpu, lite, spec, v2
from efficientnet_rosetta.common.blocks import StagedNetwork
from efficientnet_rosetta.common.counting import count, count_layer
from efficientnet_rosetta.common.spec import DROP_PATH_RATE
from efficientnet_rosetta.common.training import v2_recipes
from scaled import BASE


def numbers_of_lineage() -> Iterator[tuple[str, str]]:
    """What the specification has."""
    for name in architectures.PRESETS:
        network = architectures.resolve(name)
        if isinstance(network, StagedNetwork):
            yield f"stem.{name}", str(network.stem.out_channels)
            yield f"head.{name}", f"{network.head.out_channels:,}"
            yield f"last block.{name}", str(network.head.in_channels)
            yield f"first channels.{name}", str(network.blocks[0].out_channels)
    for preset in edgetpu.PRESETS:
        first = architectures.resolve(preset).blocks[0]
        yield f"first width.{preset}", str(first.expanded_channels)
        yield f"declared input.{preset}", str(first.expanded_channels // first.expand_ratio)
    yield "stages of v2", str(v2_recipes.STAGES)
    yield "first size of v2", str(v2_recipes.FIRST_SIZE)


def misread_lineage() -> Iterator[tuple[str, str]]:
    """What a rule that is read wrongly would build."""
    for preset in edgetpu.PRESETS:
        first = architectures.resolve(preset).blocks[0]
        yield f"width from the real input.{preset}", str(first.in_channels * first.expand_ratio)
    base, *scaled = v2.SCALED
    table = len(architectures.resolve(base).blocks)
    for name in scaled:
        with patch.object(v2, "scale_channels", spec.scale_channels):
            guarded = architectures.resolve(name)
        yield f"first channels by the rule of V1.{name}", str(guarded.blocks[0].out_channels)
        yield f"parameters by the rule of V1.{name}", f"{count(guarded).trainable:,}"
        last = architectures.resolve(name).blocks[-1]
        yield f"last dropped.{name}", f"{last.drop_path_rate:.3g}"
        yield f"drop over the blocks of V2-B0.{name}", f"{DROP_PATH_RATE * last.index / table:.3g}"
    ungated = architectures.resolve(next(iter(lite.PRESETS))).layers  # B0's, but for the gates
    cut = sum(count_layer(layer).trainable for layer in ungated)
    yield f"parameters of the gates.{BASE.name}", f"{count(BASE).trainable - cut:,}"
