"""Random changes of training images: parts, mirrors, turns and colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..network import Size
from .erasing import Erasing
from .fitting import Box
from .policies import Policy
from .resize import levels

CROP_ATTEMPTS = 10  # preprocessing.py of the released code

# Eigenvectors (columns) and eigenvalues of ImageNet's RGB values on a scale of 0 to 1, for the
# noise of AlexNet, section 4.1; the numbers are those that fb.resnet.torch published.
PRINCIPAL_COLOURS = np.array(
    [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ]
)
PRINCIPAL_VALUES = np.array([0.2175, 0.0188, 0.0045])
COLOURS = ("hue", "saturation", "brightness", "pca_noise")  # fields of Augmentation
# Luminance of linear combinations of red, green and blue (ITU-R BT.601), as Pillow has it.
LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training image, each with random numbers of its own; None for not at all.

    `crop_area` is a share of the image, `crop_aspect` width over height; `rotation` is in degrees
    and `hue` a share of the colour circle, both either way; `saturation` is a range of factors and
    `brightness` how far its factor may be from 1; `pca_noise` is the standard deviation of the
    coefficients of ImageNet's principal colours (AlexNet, section 4.1); `policy` chooses
    operations, and `erasing` a part that shows nothing.
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


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    """An image (H, W, 3), turned anticlockwise about its centre: uint8, black where it was not."""
    picture = Image.fromarray(np.ascontiguousarray(levels(image)))
    turned = picture.rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned)


def coloured(
    image: np.ndarray, augmentation: Augmentation, random: np.random.Generator
) -> np.ndarray:
    """Hue, saturation, brightness and colour noise, in this order: (H, W, 3), 0 to 255.

    What overshoots that range in resizing is left as it is where no colour is changed.
    """
    if all(getattr(augmentation, part) is None for part in COLOURS):
        return image
    image = image.astype(np.float64)
    if augmentation.hue is not None:
        image = _turned_hue(image, random.uniform(-augmentation.hue, augmentation.hue))
    if augmentation.saturation is not None:
        grey = (image @ LUMINANCE)[..., None]
        image = grey + random.uniform(*augmentation.saturation) * (image - grey)
    if augmentation.brightness is not None:
        image = image * random.uniform(1 - augmentation.brightness, 1 + augmentation.brightness)
    if augmentation.pca_noise is not None:
        coefficients = random.normal(0, augmentation.pca_noise, 3) * PRINCIPAL_VALUES
        image = image + 255 * (PRINCIPAL_COLOURS @ coefficients)
    return np.clip(image, 0, 255)


def _turned_hue(image: np.ndarray, share: float) -> np.ndarray:
    """Colours turned around the grey axis by a share of the circle, at the same luminance."""
    angle = 2 * math.pi * share
    axis = np.ones(3) / math.sqrt(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross
    turn += (1 - np.cos(angle)) * np.outer(axis, axis)
    turned = image @ turn.T
    return turned + ((image - turned) @ LUMINANCE)[..., None]
