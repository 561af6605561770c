"""Random changes of colour: each is linear in red, green and blue, and so are all together."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .augment import Augmentation
from .normalization import IMAGENET, Normalization

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


class ColourChange(NamedTuple):
    """A matrix (3, 3) and an offset (3,) that take a colour, on a scale of 0 to 255, to another."""

    matrix: np.ndarray
    offset: np.ndarray


def changes_colours(augmentation: Augmentation) -> bool:
    """Whether any of its parts does."""
    return any(getattr(augmentation, part) is not None for part in COLOURS)


def colour_change(augmentation: Augmentation, random: np.random.Generator) -> ColourChange:
    """Hue, saturation, brightness and colour noise, in this order, with random numbers."""
    matrix, offset = np.eye(3), np.zeros(3)
    if augmentation.hue is not None:
        matrix = _turned_hue(random.uniform(-augmentation.hue, augmentation.hue)) @ matrix
    if augmentation.saturation is not None:
        grey = np.outer(np.ones(3), LUMINANCE)
        factor = random.uniform(*augmentation.saturation)
        matrix = (grey + factor * (np.eye(3) - grey)) @ matrix
    if augmentation.brightness is not None:
        matrix = random.uniform(1 - augmentation.brightness, 1 + augmentation.brightness) * matrix
    if augmentation.pca_noise is not None:
        coefficients = random.normal(0, augmentation.pca_noise, 3) * PRINCIPAL_VALUES
        offset = 255 * (PRINCIPAL_COLOURS @ coefficients)
    return ColourChange(matrix, offset)


def _turned_hue(share: float) -> np.ndarray:
    """Colours turned around the grey axis by a share of the circle, at the same luminance."""
    angle = 2 * math.pi * share
    axis = np.ones(3) / math.sqrt(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross
    turn += (1 - np.cos(angle)) * np.outer(axis, axis)
    return turn + np.outer(np.ones(3), LUMINANCE @ (np.eye(3) - turn))


def coloured(
    image: np.ndarray,
    change: ColourChange,
    normalization: Normalization = IMAGENET,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """(H, W, 3) from 0 to 255, changed, kept in that range and normalised: (3, H, W) of float32.

    The result is in `out` if that is given.  All is one matrix and one offset, in float32: products
    and sums of its own for each pixel, and not of a library of linear algebra, whose last bits
    depend on the processor.
    """
    if out is None:
        out = np.empty((3, *image.shape[:2]), np.float32)
    std = 255 * np.broadcast_to(normalization.std, 3)
    black = -255 * np.broadcast_to(normalization.mean, 3) / std
    white = black + 255 / std
    matrix = (change.matrix / std[:, None]).astype(np.float32)
    offset = (change.offset / std + black).astype(np.float32)
    red, green, blue = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    product = np.empty_like(red)
    for channel, (row, plane) in enumerate(zip(matrix, out, strict=True)):
        np.multiply(red, row[0], out=plane)
        plane += np.multiply(green, row[1], out=product)
        plane += np.multiply(blue, row[2], out=product)
        plane += offset[channel]
        np.clip(plane, np.float32(black[channel]), np.float32(white[channel]), out=plane)
    return out
