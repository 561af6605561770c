"""How much of the image one value inside a network depends on.

Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from efficientnet_rosetta.common.network import (
    Dialect,
    Layer,
    MapSection,
    MaxPool,
    Network,
    Operation,
)


@dataclass(frozen=True)
class Field:
    """What the cells of a map see of the image along one axis, in pixels.

    Cell number i sees `size` pixels, the first of which is `start` + i * `stride`.  Those that lie
    outside the image are padding.
    """

    size: int = 1
    stride: int = 1
    start: int = 0

    def through(self, kernel: int, stride: int, before: int) -> Field:
        """The field of a map behind windows of `kernel` cells, with `before` cells of padding.

        A window adds its other cells, which are a stride of this map apart (Araujo, Norris and Sim
        2019, doi 10.23915/distill.00021, on networks with a single path).
        """
        size = self.size + (kernel - 1) * self.stride
        return Field(size, self.stride * stride, self.start - before * self.stride)

    def pixels(self, cell: int, side: int) -> range:
        """The pixels that a cell sees of an image of `side` pixels."""
        first = self.start + cell * self.stride
        return range(max(first, 0), min(first + self.size, side))


def receptive_fields(network: Network, axis: int = 0) -> dict[str, Field]:
    """The field of each section's map, by its role, in forward order; `axis` 0 is down, 1 across.

    It is what convolutions and poolings see.  Gates are left out: squeeze-and-excitation takes a
    mean of the whole map, after which every value depends on every pixel a little.  So are
    shortcuts, which see no more than the way beside them.
    """
    found, field = {}, Field()
    for section in network.maps:
        *_, (_, field) = fields_within(section, field, network.dialect, axis)
        found[section.role] = field
    return found


def feature_maps(network: Network) -> Iterator[tuple[str, int, int, int]]:
    """Of each map that features are read from: its name, stride, channels and receptive field.

    The field is the side of a square in pixels of the image; so is the stride.
    """
    found = receptive_fields(network)
    for section in network.maps:
        if section.reduction:
            field = found[section.role]
            yield section.reduction, field.stride, section.out_channels, field.size


def fields_within(
    section: MapSection, field: Field, dialect: Dialect, axis: int = 0
) -> Iterator[tuple[Operation, Field]]:
    """Each operation of a section with the field behind it; `field` is that of the input."""
    size = section.input_size[axis]
    for operation in section.path:
        if isinstance(operation, MaxPool):
            before, _ = dialect.pad(size, operation.kernel, operation.stride, "max_pool")
            field = field.through(operation.kernel, operation.stride, before)
            size = -(-size // operation.stride)
        elif isinstance(operation, Layer) and operation.kernel:
            kernel, stride = operation.kernel, operation.stride
            before, _ = dialect.pad(size, kernel, stride, operation.kind)
            field = field.through(kernel, stride, before if operation.padded else 0)
            size = operation.output_size[axis]
        yield operation, field
