"""Interpolation by the rules of each library: the same name is not the same thing."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ..network import Size
from .fitting import Box, Interpolation

TABLE_STEPS = 1024  # resize_bicubic_op.cc: TensorFlow's weights are those of the nearest step
SPLINE_POLE = math.sqrt(3) - 2  # of the cubic B-spline's inverse, which falls by it a pixel
SPLINE_REACH = 20  # pixels, after which that is 4e-12
BLUR_REACH = 4.0  # standard deviations of scipy's Gaussian


Pixels = np.ndarray | Image.Image  # (H, W, 3) of uint8, or the same in RGB as Pillow keeps it


def levels(image: np.ndarray) -> np.ndarray:
    """The nearest whole levels from 0 to 255, as uint8; those that are such already as they are."""
    if image.dtype == np.uint8:
        return image
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------ interpolation


def shape_of(pixels: Pixels) -> Size:
    """Height and width."""
    if isinstance(pixels, Image.Image):
        return pixels.height, pixels.width
    return pixels.shape[:2]


def resized(pixels: Pixels, box: Box, size: Size, how: Interpolation) -> np.ndarray:
    """A box of pixels at a size, (h, w, 3) from 0 to 255: uint8 where the rules round, or float64.

    Only what is in the box, and as far beyond it as the kernel reaches, is computed or copied.
    """
    return np.asarray(resampled(pixels, box, size, how))


def resampled(pixels: Pixels, box: Box, size: Size, how: Interpolation) -> Pixels:
    """The same, as Pillow's image where the rules are Pillow's, which spares a copy of it."""
    if how.rules == "pillow":
        kernel = Image.Resampling[how.kernel.upper()]
        picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        return picture.resize(size[::-1], kernel, box)
    part = _cut(pixels, box)
    height, width = size
    rows = _resampled(part.astype(np.float64), height, how).swapaxes(0, 1)
    image = _resampled(rows, width, how).swapaxes(0, 1)
    if how.rules == "scikit-image":
        return np.clip(image, part.min(), part.max())
    return levels(image) if how.rules == "keras-layer" else image


def _cut(pixels: Pixels, box: Box) -> np.ndarray:
    """The whole pixels nearest to a box, and at least one."""
    height, width = shape_of(pixels)
    left, top, right, bottom = map(round, box)
    left, top = min(left, width - 1), min(top, height - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if isinstance(pixels, Image.Image):
        return np.asarray(pixels.crop((left, top, right, bottom)))
    return pixels[top:bottom, left:right]


def _resampled(lines: np.ndarray, wanted: int, how: Interpolation) -> np.ndarray:
    """(n, ...) -> (wanted, ...), each a weighted mean of lines near it."""
    if how.rules == "tensorflow1":
        return _mixed(lines, *_tensorflow1(len(lines), wanted))
    if how.rules == "scikit-image":
        blurred = _mixed(lines, *_blur(len(lines), wanted))
        return _mixed(blurred, *_spline(len(lines), wanted))
    return _mixed(lines, *_tensorflow(len(lines), wanted, how))


def _mixed(lines: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of lines (n, ...) at indices (m, taps) by weights (m, taps): (m, ...)."""
    mixed = np.zeros((len(indices), *lines.shape[1:]))
    for index, weight in zip(indices.T, weights.T, strict=True):
        mixed += weight.reshape(-1, *[1] * (lines.ndim - 1)) * lines[index]
    return mixed


def _tensorflow1(side: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (wanted, 4) of resize_bicubic without half_pixel_centers.

    Beyond the border the last pixel goes on; single precision decides between two neighbours.
    """
    place = np.arange(wanted, dtype=np.float32) * (np.float32(side) / np.float32(wanted))
    first = np.floor(place)
    step = np.rint((place - first) * TABLE_STEPS) / TABLE_STEPS
    offsets = np.arange(-1, 3)
    indices = np.clip(first[:, None].astype(int) + offsets, 0, side - 1)
    return indices, _keys(step[:, None].astype(np.float64) - offsets, -0.75)


def _tensorflow(side: int, wanted: int, how: Interpolation) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (wanted, taps) of tf.image.resize; beyond the border is nothing.

    As in TensorFlow 1, single precision decides, and bicubic has steps where it does not antialias.
    """
    is_cubic = how.kernel == "bicubic"
    stretch = max(side / wanted, 1.0) if how.antialias else 1.0
    scale = np.float32(side) / np.float32(wanted)
    place = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    first = np.floor(place)
    part = place - first
    if is_cubic and not how.antialias:
        part = np.rint(part * TABLE_STEPS) / TABLE_STEPS
    reach = math.ceil(2 * stretch)
    offsets = np.arange(-reach, reach + 2)
    indices = first[:, None].astype(int) + offsets
    distance = (offsets - part[:, None].astype(np.float64)) / stretch
    weights = _keys(distance, -0.5) if is_cubic else np.maximum(1 - np.abs(distance), 0.0)
    weights = np.where((indices >= 0) & (indices < side), weights, 0.0)
    return np.clip(indices, 0, side - 1), weights / weights.sum(1, keepdims=True)


def _keys(distance: np.ndarray, a: float) -> np.ndarray:
    """The kernel of cubic convolution (Keys 1981, who has a = -0.5)."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _blur(side: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (side, taps) of scikit-image's Gaussian before it makes less of them."""
    sigma = max(0.0, (side / wanted - 1) / 2)
    reach = int(BLUR_REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    indices = np.arange(side)[:, None] + offsets
    return _mirrored(indices, side), np.broadcast_to(weights / weights.sum(), indices.shape)


def _spline(side: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (wanted, taps) of the cubic spline through all lines."""
    place = (np.arange(wanted) + 0.5) * side / wanted - 0.5
    indices = np.floor(place)[:, None].astype(int) + np.arange(-SPLINE_REACH, SPLINE_REACH + 1)
    return _mirrored(indices, side), _cardinal(indices - place[:, None])


def _cardinal(distance: np.ndarray) -> np.ndarray:
    """The cubic spline that is 1 at 0 and 0 at every other whole number."""
    shifts = np.arange(-SPLINE_REACH, SPLINE_REACH + 1)
    inverse = math.sqrt(3) * SPLINE_POLE ** np.abs(shifts)
    x = np.abs(distance[..., None] - shifts)
    bell = np.where(x < 1, 2 / 3 - x * x + x**3 / 2, np.clip(2 - x, 0, None) ** 3 / 6)
    return bell @ inverse


def _mirrored(indices: np.ndarray, side: int) -> np.ndarray:
    """Indices beyond the border, reflected at the centres of the outermost lines."""
    period = max(2 * (side - 1), 1)
    inside = np.abs(indices) % period
    return np.minimum(inside, period - inside)
