"""What is transparent in the images of a data set, of which a network sees red, green and blue."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import UnreadableImageError
from .datasets import Sample
from .decode import Encoded
from .tfrecord import Record

LOOKED_AT = 64  # images: each is decoded, and a data set may have millions
OPAQUE = {".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"}  # names of files that have nothing transparent


def transparency(samples: Sequence[Sample | Record]) -> str:
    """A line to say where images have transparent parts; none where they have not.

    Of all that can have such parts, some are looked at, from the first to the last evenly.
    """
    able = [sample for sample in samples if not _is_opaque_by_name(sample)]
    looked_at = able[:: math.ceil(len(able) / LOOKED_AT) or 1]
    found = sum(map(_is_transparent, looked_at))
    if not found:
        return ""
    return (
        f"{found} of {len(looked_at)} images that were looked at have transparent parts, which are "
        "read on black; if their outlines are dark, put them on another colour first"
    )


def _is_opaque_by_name(sample: Sample | Record) -> bool:
    return isinstance(sample, Sample) and sample.path.suffix.lower() in OPAQUE


def _is_transparent(sample: Sample | Record) -> bool:
    """Whether an image has a pixel that is not quite opaque; one that cannot be read has none."""
    try:
        content, _ = sample.read()
        return Encoded(content, str(sample)).is_transparent
    except UnreadableImageError:
        return False
