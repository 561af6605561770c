"""The numbers that pages name of the networks beside B0 to B8, and of their rules when misread."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

from efficientnet_rosetta.common import architectures, edgetpu, spec, v2
from efficientnet_rosetta.common.blocks import StagedNetwork
from efficientnet_rosetta.common.counting import count, count_layer
from efficientnet_rosetta.common.spec import DROP_PATH_RATE
from efficientnet_rosetta.common.training import v2_recipes


def numbers_of_lineage() -> Iterator[tuple[str, str]]:
    """What the specification has."""
    for name in architectures.PRESETS:
        network = architectures.resolve(name)
        if isinstance(network, StagedNetwork):
            yield f"stem.{name}", str(network.stem.out_channels)
            yield f"head.{name}", f"{network.head.out_channels:,}"
            yield f"last block.{name}", str(network.head.in_channels)
    for preset in edgetpu.PRESETS:
        first = architectures.resolve(preset).blocks[0]
        yield f"first width.{preset}", str(first.expanded_channels)
        yield f"declared input.{preset}", str(first.expanded_channels // first.expand_ratio)
    yield "first channels.v2-b3", str(architectures.resolve("v2-b3").blocks[0].out_channels)
    yield "stages of v2", str(v2_recipes.STAGES)
    yield "first size of v2", str(v2_recipes.FIRST_SIZE)
    flows = architectures.resolve("xception")
    separable = sum(len(block.separable) for block in flows.blocks) + len(flows.head)
    yield "convolutions.xception", str(len(flows.stem) + separable)
    yield "modules.xception", str(len(flows.blocks) + 2)


def misread_lineage() -> Iterator[tuple[str, str]]:
    """What a rule that is read wrongly would build."""
    for preset in edgetpu.PRESETS:
        first = architectures.resolve(preset).blocks[0]
        yield f"width from the real input.{preset}", str(first.in_channels * first.expand_ratio)
    with patch.object(v2, "scale_channels", spec.scale_channels):
        guarded = architectures.resolve("v2-b3")
    yield "first channels by the rule of V1.v2-b3", str(guarded.blocks[0].out_channels)
    yield "parameters by the rule of V1.v2-b3", f"{count(guarded).trainable:,}"
    table = len(architectures.resolve("v2-b0").blocks)
    for name in v2.SCALED[1:]:
        last = architectures.resolve(name).blocks[-1]
        yield f"last dropped.{name}", f"{last.drop_path_rate:.3g}"
        yield f"drop over the blocks of V2-B0.{name}", f"{DROP_PATH_RATE * last.index / table:.3g}"
    layers = architectures.resolve("lite0").layers
    cut = sum(count_layer(layer).trainable for layer in layers)
    gated = count(architectures.resolve("b0")).trainable
    yield "parameters of the gates.b0", f"{gated - cut:,}"
