"""Which random changes of training images there are, and how parts are cut out and turned.

The other changes are in modules of their own: colours, policies and erasing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..network import Size
from .erasing import Erasing
from .fitting import Box
from .policies import Policy
from .resize import Pixels, levels

CROP_ATTEMPTS = 10  # preprocessing.py of the released code


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image, each with random numbers of its own; None for not at all.

    `crop_area` is a share of the image, `crop_aspect` width over height; `rotation` is in degrees
    and `hue` a share of the colour circle, both either way; `saturation` is a range of factors and
    `brightness` how far its factor may be from 1; `pca_noise` is the standard deviation of the
    coefficients of ImageNet's principal colours (AlexNet, section 4.1); `policy` chooses
    operations, and `erasing` a part that shows nothing.

    `scaled_decoding` changes nothing by chance, but saves time: a JPEG is decoded at a half, a
    quarter or an eighth of its sides where the part that is cut out then still has twice as many
    pixels each way as are wanted.  The same parts are cut out, and their pixels are a little
    different.  At 224 pixels this takes parts of 896 or more: photographs of a camera are read
    more than twice as fast, and ImageNet's usual images as before.
    """

    crop_area: tuple[float, float] | None = None
    crop_aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    rotation: float | None = None
    hue: float | None = None
    saturation: tuple[float, float] | None = None
    brightness: float | None = None
    pca_noise: float | None = None
    policy: Policy | None = None
    erasing: Erasing | None = None
    scaled_decoding: bool = False


INCEPTION_CROP = Augmentation(crop_area=(0.08, 1.0), flip=True)


# ------------------------------------------------------------------ random changes


def random_box(
    image: Size,
    areas: tuple[float, float],
    aspects: tuple[float, float],
    random: np.random.Generator,
) -> Box:
    """A part of an image of a shape; the largest centre of a possible aspect if none fits.

    `areas` are the least and the largest share of the image, `aspects` those of width over height.
    """
    height, width = image
    low, high = aspects
    for _ in range(CROP_ATTEMPTS):
        area = random.uniform(*areas) * width * height
        aspect = math.exp(random.uniform(math.log(low), math.log(high)))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = random.uniform(0, width - w), random.uniform(0, height - h)
            return left, top, left + w, top + h
    aspect = min(max(width / height, low), high)
    w, h = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def rotated(image: Pixels, degrees: float) -> np.ndarray:
    """An image (H, W, 3), turned anticlockwise about its centre: uint8, black where it was not."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.ascontiguousarray(levels(image)))
    return np.asarray(image.rotate(degrees, Image.Resampling.BILINEAR))
