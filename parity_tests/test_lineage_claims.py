"""Every claim about Lite, V2 and EdgeTPU, and the mistakes that people make of them."""

import pytest

from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.parity_tests import mutations
from parity_tests.claiming import caught
from parity_tests.mutations.machine import WEIGHTS

SLOW = pytest.mark.slow
# Each has skips, and so blocks that are dropped.
SMALL = {
    "lite0": {"width": 0.25, "depth": 0.5},
    "v2-s": {"width": 0.25, "depth": 0.1},
    "edgetpu-s": {"width": 0.25, "depth": 0.3},
    "v2-b0": {"width": 0.25, "depth": 0.5},
    "v2-rw-s": {"width": 0.25, "depth": 0.1},
}
# At once: what a block computes, and of one network how it is trained.
COMPUTED = (claims.forward, claims.gradients, claims.initialisation)
AT_ONCE = {
    *(("lite0", claim) for claim in (*COMPUTED, claims.batch_norm, claims.stochastic_depth)),
    *((preset, claim) for preset in ("v2-s", "edgetpu-s") for claim in COMPUTED),
}


@pytest.mark.parametrize(
    ("preset", "claim"),
    [
        pytest.param(preset, claim, marks=[] if (preset, claim) in AT_ONCE else [SLOW])
        for preset in SMALL
        for claim in claims.CLAIMS
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_claim_holds(preset, claim):
    network = resolve(preset, resolution=64, **SMALL[preset])
    assert sum(block.has_skip for block in network.blocks) > 1
    found = list(claim(network, 0))
    assert found
    for one in found:
        assert one.holds, one


# The others are made in the slow tests of their claims.
MADE_AT_ONCE = ("ReLU for ReLU6",)
MISTAKES = [
    mutation
    for mutation in mutations.lineage.MISTAKES
    if mutation.by == WEIGHTS or mutation.name in MADE_AT_ONCE
]


@pytest.mark.parametrize("mutation", MISTAKES, ids=lambda mutation: mutation.name)
def test_a_mistake_is_caught(mutation):
    caught(mutation)


def test_the_mistakes_are_those_that_are_made():
    assert set(mutations.lineage.MISTAKES) <= set(mutations.MUTATIONS)
    names = " ".join(mutation.name for mutation in mutations.lineage.MISTAKES)
    for mistake in ("ReLU for ReLU6", "swish", "no activation", "skip in", "no skip in", "hidden"):
        assert mistake in names
    for mistake in ("90 %", "stride on the projection", "ramp", "squeeze", "projection in"):
        assert mistake in names
