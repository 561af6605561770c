"""From pixels to what a network takes, for evaluation and for training."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..errors import RosettaError
from ..network import Size
from .augment import Augmentation, random_box, rotated
from .colours import changes_colours, colour_change, coloured
from .decode import Encoded
from .erasing import erase
from .family import Family
from .fitting import Box, whole_image
from .normalization import normalised
from .policies import applied, as_picture
from .resize import Pixels, resampled, resized, shape_of
from .usual import OFFICIAL


def evaluation_image(
    pixels: Pixels, size: Size, family: Family = OFFICIAL, out: np.ndarray | None = None
) -> np.ndarray:
    """An image as a family evaluates it: (3, h, w) of float32, normalised, in `out` if given.

    Raises:
        RosettaError: these are no pixels of red, green and blue in uint8.
    """
    return normalised(evaluation_pixels(pixels, size, family), family.normalization, out)


def evaluation_pixels(pixels: Pixels, size: Size, family: Family = OFFICIAL) -> np.ndarray:
    """The same before it is normalised: (h, w, 3), 0 to 255, of uint8 where the family rounds.

    Raises:
        RosettaError: as `evaluation_image`.
    """
    fitting = family.fit.fit(shape_of(_checked(pixels)), size)
    image = resized(pixels, fitting.box, fitting.size, family.interpolation)
    (top, left), (height, width) = fitting.corner, size
    return image[top : top + height, left : left + width]


def training_image(
    pixels: Pixels | Encoded,
    size: Size,
    augmentation: Augmentation,
    random: np.random.Generator,
    family: Family = OFFICIAL,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A random variant of an image: (3, h, w) of float32, normalised, in `out` if given.

    A family trains on its own interpolation and normalization; what is cut out is random.

    Raises:
        RosettaError: these are no pixels of red, green and blue in uint8.
        UnreadableImageError: the image is damaged.
    """
    if out is None:
        out = np.empty((3, *size), np.float32)
    image = training_pixels(pixels, size, augmentation, random, family)
    if changes_colours(augmentation):
        coloured(image, colour_change(augmentation, random), family.normalization, out)
    else:  # what overshoots the range in resizing is left as it is
        normalised(image, family.normalization, out)
    if augmentation.erasing is not None:
        erase(out, augmentation.erasing, random)
    return out


def training_pixels(
    pixels: Pixels | Encoded,
    size: Size,
    augmentation: Augmentation,
    random: np.random.Generator,
    family: Family = OFFICIAL,
) -> np.ndarray:
    """The same before its colours are changed: (h, w, 3), 0 to 255, of uint8 where it is rounded.

    Raises:
        RosettaError: as `training_image`.
    """
    image, box = _part(pixels, size, augmentation, random)
    image = resampled(image, box, size, family.interpolation)
    if augmentation.policy is None and augmentation.rotation is None:
        image = np.asarray(image)  # which is mirrored without a copy
    if augmentation.flip and random.random() < 0.5:
        image = _mirrored(image)
    if augmentation.policy is not None:
        image = applied(as_picture(image), augmentation.policy.chosen(random))
    if augmentation.rotation is not None:
        image = rotated(image, random.uniform(-augmentation.rotation, augmentation.rotation))
    return np.asarray(image)


def _mirrored(image: Pixels) -> Pixels:
    if isinstance(image, Image.Image):
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image[:, ::-1]


def _part(
    pixels: Pixels | Encoded, size: Size, augmentation: Augmentation, random: np.random.Generator
) -> tuple[Pixels, Box]:
    """Decoded pixels, and the part of them that is to be resized to a size."""
    if isinstance(pixels, Encoded) and not (augmentation.scaled_decoding and pixels.is_scalable):
        pixels = pixels.decoded()
    shape = pixels.shape if isinstance(pixels, Encoded) else shape_of(_checked(pixels))
    box = whole_image(shape)
    if augmentation.crop_area is not None:
        box = random_box(shape, augmentation.crop_area, augmentation.crop_aspect, random)
    return pixels.part(box, size) if isinstance(pixels, Encoded) else (pixels, box)


def _checked(pixels: Pixels) -> Pixels:
    if isinstance(pixels, Image.Image):
        is_rgb, shape, kind = pixels.mode == "RGB", shape_of(pixels), f"mode {pixels.mode}"
    else:
        shape, kind = pixels.shape, str(pixels.dtype)
        is_rgb = pixels.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3
    if not is_rgb or 0 in shape:
        raise RosettaError(
            f"an image of shape {shape} and {kind}; it must be (height, width, 3) of uint8"
        )
    return pixels
