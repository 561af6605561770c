"""Which part of an image is seen, and by which kernel it is resized."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..network import Size

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels
CROP_FRACTION = 0.875  # of evaluation, there
# Pixels of evaluation, in that code when the paper came out, where the smallest network takes 224
# pixels and sees CROP_FRACTION.
CROP_PADDING = 32


# ------------------------------------------------------------------ what part of an image is seen


@dataclass(frozen=True)
class Fitting:
    """A box of an image is resized to a size, of which the wanted part is kept."""

    box: Box
    size: Size
    corner: tuple[int, int] = (0, 0)  # top and left of what is kept


@dataclass(frozen=True)
class Centre:
    """The largest centre of the wanted aspect, times `share`: not rounded to whole pixels."""

    share: float

    def fit(self, image: Size, size: Size) -> Fitting:
        """Where an image of a shape is cut, for a size."""
        height, width = image
        scale = min(side / (wanted / self.share) for side, wanted in zip(image, size, strict=True))
        rows, columns = (wanted * scale for wanted in size)
        top, left = (height - rows) / 2, (width - columns) / 2
        return Fitting((left, top, left + columns, top + rows), size)


@dataclass(frozen=True)
class CropFirst:
    """Whole pixels are cut out, then resized: size / (size + padding) of the largest centre.

    The padding is a number of pixels, or what a fraction of the padded size leaves, rounded; the
    number is a smaller one for sizes below those of the published networks (`padding_of`).
    """

    padding: int = 0
    fraction: float | None = None
    odd_before: bool = False  # which side loses more where the two cannot lose the same

    def fit(self, image: Size, size: Size) -> Fitting:
        """Where an image of a shape is cut, for a size."""
        side, wanted = min(zip(image, size, strict=True), key=lambda pair: pair[0] / pair[1])
        rows, columns = (
            max(1, side * length * length // (wanted * (length + self._padding(length))))
            for length in size
        )
        top, left = (
            (whole - part + self.odd_before) // 2
            for whole, part in zip(image, (rows, columns), strict=True)
        )
        return Fitting((left, top, left + columns, top + rows), size)

    def _padding(self, length: int) -> int:
        if self.fraction is None:
            return padding_of(length, self.padding)
        return _left_by(self.fraction, length)


def padding_of(length: int, pixels: int) -> int:
    """So many pixels, or what `CROP_FRACTION` leaves of a length (in pixels) where that is less.

    Both are the same at 224, for which the padding was chosen, and the first is what the libraries
    have at any size.  At 64, of which they have no weights, it would leave 44% of an image.
    """
    return min(pixels, _left_by(CROP_FRACTION, length))


def _left_by(fraction: float, length: int) -> int:
    """The pixels around a length that is a fraction of the whole."""
    return round(length * (1 / fraction - 1))


@dataclass(frozen=True)
class ResizeFirst:
    """The shorter side is resized to an edge, then the centre of whole pixels is cut out.

    The edge of a size is what `edges` has for it, or size / fraction + padding, of which small
    sizes have less (`padding_of`).
    """

    fraction: float = 1.0
    padding: int = 0
    edges: Mapping[int, int] = field(default_factory=dict, hash=False)

    def fit(self, image: Size, size: Size) -> Fitting:
        """What an image of a shape is resized to, and where that is cut, for a size."""
        edges = [self._edge(length) for length in size]
        edge, side = max(zip(edges, image, strict=True), key=lambda pair: pair[0] / pair[1])
        height, width = (edge * length // side for length in image)
        top, left = (
            round((whole - part) / 2) for whole, part in zip((height, width), size, strict=True)
        )
        return Fitting(whole_image(image), (height, width), (top, left))

    def _edge(self, length: int) -> int:
        padding = padding_of(length, self.padding)
        return self.edges.get(length, math.floor(length / self.fraction) + padding)


@dataclass(frozen=True)
class Squash:
    """The whole image, whatever its aspect."""

    def fit(self, image: Size, size: Size) -> Fitting:
        """Nothing is cut off an image of any shape."""
        return Fitting(whole_image(image), size)


@dataclass(frozen=True)
class CropSmall:
    """For a size below the limit a part is cut out first; for any other there is no need."""

    below: int
    part: CropFirst

    def fit(self, image: Size, size: Size) -> Fitting:
        """Where an image of a shape is cut, if it is, for a size."""
        return (self.part if min(size) < self.below else Squash()).fit(image, size)


def whole_image(image: Size) -> Box:
    """The box of all pixels of an image of a shape (height, width)."""
    height, width = image
    return 0.0, 0.0, float(width), float(height)


@dataclass(frozen=True)
class Interpolation:
    """A kernel, and whose rules it is applied by: the same name is not the same thing.

    - pillow: antialiased, but for "nearest"; rounded to whole levels from 0 to 255.
    - tensorflow1: `resize_bicubic` of a = -0.75, pixels being points on the integers of a grid; not
      antialiased, nor kept between 0 and 255.
    - tensorflow: `tf.image.resize`, bicubic of a = -0.5 and pixels that are squares; not kept there
      either.
    - keras-layer: the same, rounded as the `Resizing` layer does with integers.
    - scikit-image: a blur, and the cubic spline through all pixels; kept within the image's range.
    """

    rules: Literal["pillow", "tensorflow1", "tensorflow", "keras-layer", "scikit-image"] = "pillow"
    # "bilinear" for pillow, tensorflow and keras only, "nearest" for pillow only.
    kernel: Literal["bicubic", "bilinear", "nearest"] = "bicubic"
    antialias: bool = True  # asked of tensorflow and keras only

    @property
    def rounds(self) -> bool:
        """Whether the result is whole levels from 0 to 255."""
        return self.rules in ("pillow", "keras-layer")


PILLOW_BICUBIC = Interpolation()
