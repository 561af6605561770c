"""Claim 2: the loss, and its gradient at every parameter and at the image, are the same."""

import pytest

from efficientnet_rosetta.common.parity import claims
from parity_tests.claiming import caught, holds, mistakes


def test_the_claim_holds():
    holds(claims.gradients)


@pytest.mark.parametrize("mistake", mistakes(claims.gradients), ids=lambda m: m.name)
def test_a_mistake_is_caught(mistake):
    caught(mistake)
