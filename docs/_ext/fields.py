"""How much of an image one value depends on, at each place where features are read."""

from __future__ import annotations

from collections.abc import Iterator

from efficientnet_rosetta.common.network import Network
from receptive import receptive_fields


def fields(network: Network) -> Iterator[tuple[str, int, int, int]]:
    """Of each feature map: its name, stride, channels, and receptive field in pixels of the image.

    The rule is in `receptive.py`.
    """
    found = receptive_fields(network)
    for section in network.maps:
        if section.reduction:
            field = found[section.role]
            yield section.reduction, field.stride, section.out_channels, field.size
