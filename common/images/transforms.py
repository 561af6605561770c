"""From pixels to what a network takes, for evaluation and for training."""

from __future__ import annotations

import numpy as np

from ..errors import RosettaError
from ..network import Size
from .augment import Augmentation, coloured, random_box, rotated
from .erasing import erased
from .family import Family
from .fitting import whole_image
from .normalization import normalised
from .policies import changed
from .resize import resized
from .usual import OFFICIAL


def evaluation_image(pixels: np.ndarray, size: Size, family: Family = OFFICIAL) -> np.ndarray:
    """An image (H, W, 3) of uint8 as a family evaluates it: (3, h, w) of float32, normalised.

    Raises:
        RosettaError: these are no such pixels.
    """
    _check_pixels(pixels)
    fitting = family.fit.fit(pixels.shape[:2], size)
    image = resized(pixels, fitting.box, fitting.size, family.interpolation)
    (top, left), (height, width) = fitting.corner, size
    kept = image[top : top + height, left : left + width]
    return normalised(kept, family.normalization)


def training_image(
    pixels: np.ndarray,
    size: Size,
    augmentation: Augmentation,
    random: np.random.Generator,
    family: Family = OFFICIAL,
) -> np.ndarray:
    """A random variant of an image (H, W, 3) of uint8: (3, h, w) of float32, normalised.

    A family trains on its own interpolation and normalization; what is cut out is random.

    Raises:
        RosettaError: these are no such pixels.
    """
    _check_pixels(pixels)
    height, width = pixels.shape[:2]
    box = whole_image((height, width))
    if augmentation.crop_area is not None:
        shape = height, width
        box = random_box(shape, augmentation.crop_area, augmentation.crop_aspect, random)
    image = resized(pixels, box, size, family.interpolation)
    if augmentation.flip and random.random() < 0.5:
        image = image[:, ::-1]
    if augmentation.policy is not None:
        image = changed(image, augmentation.policy.chosen(random))
    if augmentation.rotation is not None:
        image = rotated(image, random.uniform(-augmentation.rotation, augmentation.rotation))
    image = normalised(coloured(image, augmentation, random), family.normalization)
    if augmentation.erasing is not None:
        image = erased(image, augmentation.erasing, random)
    return image


def _check_pixels(pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise RosettaError(
            f"an image of shape {pixels.shape} and {pixels.dtype}; "
            "it must be (height, width, 3) of uint8"
        )
