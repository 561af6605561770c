"""What pages say of a rule that is misread is what the mistake of that name builds."""

from __future__ import annotations

import pytest
import torch

import facts
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.parity_tests.mutations import MUTATIONS, made


def _dropped(network):
    """The rates of the blocks that can be dropped."""
    return [block.drop_path_rate for block in network.blocks if block.has_skip]


def _other_channels(network):
    """How many layers have another number of channels than they should."""
    right = resolve(network.name)
    return sum(
        one.out_channels != other.out_channels
        for one, other in zip(network.layers, right.layers, strict=True)
    )


@pytest.mark.parametrize(
    ("mistake", "preset", "fact", "value"),
    [
        ("depth rounded down", "b1", "blocks rounded down.b1", lambda n: len(n.blocks)),
        ("depth rounded down", "b7", "blocks rounded down.b7", lambda n: len(n.blocks)),
        ("channels not rounded to multiples of 8", "b2", "layers not rounded.b2", _other_channels),
        (
            "squeeze width from the expanded channels",
            "b0",
            "parameters of a quarter of what is gated.b0",
            lambda n: count(n).trainable,
        ),
        ("ramp that ends at the full rate", "b0", "full ramp.b0", lambda n: _dropped(n)[-1]),
        (
            "ramp over the blocks of B0",
            "b7",
            "drop over the blocks of B0.b7",
            lambda n: _dropped(n)[-1],
        ),
        (
            "survival probability taken for the rate",
            "b0",
            "survival taken for the rate.b0",
            lambda n: _dropped(n)[0],
        ),
        (
            "V2's channels rounded to 90 % and more",
            "v2-b3",
            "parameters by the rule of V1.v2-b3",
            lambda n: count(n).trainable,
        ),
        (
            "hidden width from the real and not the declared input",
            "edgetpu-l",
            "width from the real input.edgetpu-l",
            lambda n: n.blocks[0].expanded_channels,
        ),
        (
            "ramp over the blocks of V2-B0",
            "v2-b3",
            "drop over the blocks of V2-B0.v2-b3",
            lambda n: _dropped(n)[-1],
        ),
    ],
)
def test_what_pages_say_of_a_misread_rule_is_what_its_mistake_builds(mistake, preset, fact, value):
    (mutation,) = [one for one in MUTATIONS if one.name == mistake]
    with made(mutation), torch.device("meta"):  # it has shapes, and no weights are drawn
        built = value(get_backend("torch").build(resolve(preset)).network)
    assert facts.fact(fact) == (f"{built:,}" if isinstance(built, int) else f"{built:.3g}")
