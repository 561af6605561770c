"""Claim 2: the loss, and its gradient at every parameter and at the image, are the same."""

import pytest

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.spec import resolve
from parity_tests.claiming import caught, holds, mistakes

TINY = resolve(width=0.1, depth=0.1, resolution=claims.SIDE)


def test_the_claim_holds():
    holds(claims.gradients)


FIRST, *OTHERS = mistakes(claims.gradients)


@pytest.mark.parametrize(
    "mistake",
    [FIRST, *(pytest.param(mistake, marks=pytest.mark.slow) for mistake in OTHERS)],
    ids=lambda m: m.name,
)
def test_a_mistake_is_caught(mistake):
    caught(mistake)


@pytest.mark.parametrize(("off", "holds"), [(0.0, True), (1e-6, False)])
def test_rounding_is_measured_where_it_is_more_than_most(off, holds):
    """A limit that no network keeps becomes what rounding explains, which is far from a mistake."""

    def measure(backend, model):
        gradients, scale = claims._gradients(backend, model, TINY, 0, {})
        if backend is get_backend("keras"):
            gradients["loss"] = gradients["loss"] + off * scale
        return gradients, scale

    (claim,) = claims._against_reference("gradients", TINY, 0, measure, 1e-18)
    assert claim.holds == holds
    assert 1e-17 < claim.limit < 1e-11


def test_rounding_that_would_explain_any_mistake_explains_none(monkeypatch):
    monkeypatch.setattr(claims, "ROUNDING_SHARE", 1e12)
    measure = lambda backend, model: claims._gradients(backend, model, TINY, 0, {})  # noqa: E731
    (claim,) = claims._against_reference("gradients", TINY, 0, measure, 1e-18)
    assert (claim.limit, claim.holds) == (1e-18, False)
