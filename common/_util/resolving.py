"""What the architectures share on the way from arguments to a network of stated numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypedDict, TypeVar

from ..errors import UsageError
from ..network import DIALECTS, Classifier, Dialect, MapSection, Size
from .arguments import look_up, rate, whole, whole_count


class SharedFields(TypedDict):
    """The fields of a `Network` that every `resolve` is asked for."""

    resolution: Size
    dropout: float
    num_classes: int | None
    in_channels: int
    dialect: Dialect


LARGEST_SIDE = 2**16  # pixels


def shared_fields(
    *,
    resolution: int | Size,
    smallest: int,
    dropout: float,
    num_classes: int | None,
    in_channels: int,
    dialect: str | Dialect,
) -> SharedFields:
    """The arguments of any `resolve` that are fields of a `Network` once they are checked.

    `smallest` is the side in pixels below which the architecture takes no image.

    Raises:
        UsageError: unknown dialect, or a value outside its range.
    """
    if num_classes is not None:
        num_classes = whole_count("num_classes", num_classes, ", or None for no classifier")
    return {
        "resolution": image_size(resolution, smallest),
        "dropout": rate("dropout", dropout),
        "num_classes": num_classes,
        "in_channels": whole_count("in_channels", in_channels),
        "dialect": look_up("dialect", dialect, DIALECTS) if isinstance(dialect, str) else dialect,
    }


def resolve_classifier(stage: int, in_channels: int, shared: SharedFields) -> Classifier | None:
    """The classifier on so many features, if the network is to have one."""
    if shared["num_classes"] is None:
        return None
    return Classifier("classifier", stage, in_channels, shared["num_classes"], shared["dropout"])


def reduction_names(sections: Sequence[MapSection]) -> dict[str, str]:
    """By role, a second name for the map that the next section halves, and for the last map."""
    last_of_a_size = [
        section.role
        for section, following in zip_longest(sections, sections[1:])
        if following is None or following.stride > 1
    ]
    return {role: f"reductions.{number}" for number, role in enumerate(last_of_a_size, 1)}


Maps = TypeVar("Maps", bound=MapSection)


def with_reductions(sections: tuple[Maps, ...], names: Mapping[str, str]) -> tuple[Maps, ...]:
    """The sections with the second names that `reduction_names` gave to some of them."""
    return tuple(replace(section, reduction=names.get(section.role)) for section in sections)


def size_after(size: Size, stride: int) -> Size:
    """The map after a padded convolution: both padding rules give ceil(size / stride)."""
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def image_size(resolution: int | Size, smallest: int) -> Size:
    """A side in pixels, or (height, width), as the latter.

    Raises:
        UsageError: a side is below the smallest, or longer than any image.
    """
    sides = resolution if isinstance(resolution, tuple | list) else (resolution, resolution)
    size = [whole(side) for side in sides]
    kept = [side for side in size if side is not None and smallest <= side <= LARGEST_SIDE]
    if len(size) != 2 or kept != size:
        raise UsageError(
            f"resolution is {resolution}; each side must be a whole number of at least "
            f"{smallest} pixels, the stride of the whole network, and at most {LARGEST_SIDE:,}"
        )
    height, width = kept
    return height, width
