"""From an image file to pixels."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .._util.files import is_file, opened
from ..errors import FileError, UnreadableImageError, is_damage, reason
from ..network import Size
from .normalization import IMAGENET_MEAN, IMAGENET_STD

PHOTOGRAPH = Path(__file__).with_name("photograph.jpg")  # see README.md beside it

PIXELS_LIMIT = 2**26  # of an image, some 8,000 x 8,000: with its copies it takes half a GiB
ROWS = 256  # that are converted at once

ORIENTATION, UPRIGHT = 0x0112, 1  # of EXIF: the tag, and its value where there is nothing to do


def photograph(path: str | Path, channels: int, size: Size) -> np.ndarray:
    """An image as a network takes it, (C, H, W): red, green, blue and over again for C > 3.

    Raises:
        RosettaError: as `load_image`.
    """
    image = load_image(path, size)
    return image[np.arange(channels) % len(image)]


def upright(image: Image.Image) -> Image.Image:
    """An image turned and mirrored as its EXIF says; the rest of that is not looked at."""
    turns = Image.Transpose
    ways = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }
    way = ways.get(image.getexif().get(ORIENTATION, UPRIGHT))
    return image if way is None else image.transpose(way)


def _check_size(image: Image.Image) -> None:
    """Refuse an image before its pixels are decoded.

    Raises:
        ValueError: it has too many of them.
    """
    pixels = image.width * image.height
    if pixels > PIXELS_LIMIT:
        raise ValueError(f"has {pixels:,} pixels, more than {PIXELS_LIMIT:,}; make it smaller")


def unreadable(name: str | Path, error: Exception) -> UnreadableImageError:
    """What to say of whatever a decoder raised on a damaged file, which is anything at all."""
    said = reason(error)
    if isinstance(error, UnidentifiedImageError):  # names an object in memory
        said = "in no known format"
    return UnreadableImageError(name, f"cannot be read as an image ({said})")


def load_image(path: str | Path, size: Size) -> np.ndarray:
    """Centre crop of the shape of `size`, bicubic resize, normalization: (3, H, W), float64.

    Raises:
        RosettaError: not there, not an image, or too large to decode.
    """
    if not is_file(path):
        raise FileError(path, "no such file")
    try:
        with opened(path) as file, Image.open(file) as found:
            _check_size(found)
            image = upright(found).convert("RGB")
            pixels = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC))
    except Exception as error:
        if not is_damage(error):
            raise
        raise unreadable(path, error) from error
    return ((pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)


# ------------------------------------------------------------------ one image


def decode(content: bytes, name: str) -> np.ndarray:
    """An encoded image as (H, W, 3) of uint8: upright, its first frame, in RGB, on black.

    Raises:
        UnreadableImageError: it is no image, is cut off, or is too large to decode.
    """
    try:
        with Image.open(BytesIO(content)) as found:
            _check_size(found)
            image = upright(found)
            pixels = np.empty((image.height, image.width, 3), np.uint8)
            transparent = image.has_transparency_data
            for top in range(0, image.height, ROWS):
                some = image.crop((0, top, image.width, min(top + ROWS, image.height)))
                pixels[top : top + ROWS] = _rgb(some, transparent)
            return pixels
    except Exception as error:
        if not is_damage(error):
            raise
        raise unreadable(name, error) from error


def _rgb(image: Image.Image, transparent: bool) -> np.ndarray:
    """Pixels of any kind as (H, W, 3) of uint8."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
        values = np.asarray(image).astype(np.int64) // 257
        grey = np.clip(values, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)
    if transparent:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.asarray(image.convert("RGB"))
