"""How images are prepared for a published checkpoint."""

from __future__ import annotations

from dataclasses import replace

from ..images.families import FAMILIES, Family
from ..images.normalization import Normalization
from .records import Record

SAME = 1e-6  # how far the digits of a record may be from those of a family


def preparation(record: Record) -> Family | None:
    """The family of a record, with the mean and deviation that its own weights were trained with.

    None where the record belongs to no family.
    """
    if record.family is None:
        return None
    family = FAMILIES[record.family]
    if record.mean is None or record.std is None:
        return family
    own, usual = Normalization(record.mean, record.std), family.normalization
    pairs = zip((*own.mean, *own.std), (*usual.mean, *usual.std), strict=True)
    if all(abs(one - other) <= SAME for one, other in pairs):
        return family
    return replace(family, normalization=own)
