"""Claim 4: what is dropped is dropped alike, and as often as it should be."""

import pytest

from efficientnet_rosetta.common.parity import claims
from parity_tests.claiming import caught, holds, mistakes


def test_the_claim_holds():
    holds(claims.stochastic_depth)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", mistakes(claims.stochastic_depth), ids=lambda m: m.name)
def test_a_mistake_is_caught(mistake):
    caught(mistake)
