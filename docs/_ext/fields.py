"""How much of an image one value depends on, at each place where features are read."""

from __future__ import annotations

from collections.abc import Iterator

from efficientnet_rosetta.common.network import Layer, MaxPool, Network


def fields(network: Network) -> Iterator[tuple[str, int, int, int]]:
    """Of each feature map: its name, stride, channels, and receptive field in pixels of the image.

    A window of k cells that are a stride j apart adds (k - 1) j pixels (Araujo et al. 2019,
    doi 10.23915/distill.00021).  Gates are left out: squeeze-and-excitation takes a mean of the
    whole map, after which everything depends on everything a little.
    """
    stride, field = 1, 1
    for section in network.maps:
        channels = 0
        for operation in section.path:
            if isinstance(operation, Layer):
                kernel, step = max(operation.kernel, 1), operation.stride
                channels = operation.out_channels
            elif isinstance(operation, MaxPool):
                kernel, step = operation.kernel, operation.stride
            else:
                continue
            field += (kernel - 1) * stride
            stride *= step
        if section.reduction:
            yield section.reduction, stride, channels, field
