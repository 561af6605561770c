"""What weights are recognised by, whatever layout, precision or wrapper they are kept in."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ..catalogue import known
from ..errors import MissingDependencyError, RosettaError
from ..weights.canonical import fingerprint
from .formats.lazy import LazyTensor

CLASSIFIER = ("classifier.weight", "classifier.bias")
EXACT, ROUNDED = "float32", ("float16", "bfloat16")  # what people keep weights in
BACKBONE = "backbone"  # all but the classifier, which people replace

log = logging.getLogger("efficientnet_rosetta")


def marks(weights: Mapping[str, LazyTensor]) -> dict[str, str]:
    """The fingerprints of weights and of their backbone, as they are and as they would be rounded.

    `weights` are a network's, by canonical name.
    """
    backbone = {name: stored for name, stored in weights.items() if name not in CLASSIFIER}
    found = {}
    for of, part in (("", weights), (f"{BACKBONE} ", backbone)):
        if of and len(part) == len(weights):
            continue  # it is the whole
        found[of + EXACT] = fingerprint(part)
        for dtype in ROUNDED:
            rounded = {name: stored.astype(dtype) for name, stored in part.items()}
            found[of + dtype] = fingerprint(rounded)
    return found


def remember(reference: str, weights: Mapping[str, LazyTensor]) -> None:
    """Know the weights of a published file again, once it was fetched.

    What cannot be kept is not: nobody asked for it.
    """
    if reference in known.all_known():
        return
    try:
        known.note(reference, marks(weights))
    except (OSError, RosettaError, MissingDependencyError) as error:
        log.debug("the fingerprints of %s could not be kept: %s", reference, error)
