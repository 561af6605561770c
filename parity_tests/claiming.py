"""What the files of the claims share: that one holds, and that its mistakes are caught."""

from __future__ import annotations

from collections.abc import Callable

from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.parity_tests.mutations import MUTATIONS, Caught, Mutation, study

HALF = resolve(width=0.5, depth=0.5)  # all that a block can be, in ten blocks


def holds(claim: Callable) -> None:
    """A claim holds, of something."""
    found = list(claim(HALF, 0))
    assert found
    for one in found:
        assert one.holds, one


def mistakes(claim: Callable) -> list[Mutation]:
    """Those that a claim guards against."""
    found = [mutation for mutation in MUTATIONS if mutation.claim == claim.__name__]
    assert found
    return found


def caught(mutation: Mutation) -> Caught:
    """Make a mistake, and see it noticed by what must notice it, in the order of its size."""
    found = study(mutation)
    assert found.as_stated, (mutation.catcher, mutation.size, found.by, found.size)
    return found
