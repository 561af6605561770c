"""From an image file to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.Image import Transpose
from PIL.JpegImagePlugin import JpegImageFile

from .._util.files import is_file, opened
from ..errors import FileError, UnreadableImageError, is_damage, reason
from ..network import Size
from .fitting import Box
from .normalization import IMAGENET_MEAN, IMAGENET_STD

PHOTOGRAPH = Path(__file__).with_name("photograph.jpg")  # see README.md beside it

PIXELS_LIMIT = 2**26  # of an image, some 8,000 x 8,000: with its copies it takes half a GiB
ROWS = 256  # that are converted at once

ORIENTATION, UPRIGHT = 0x0112, 1  # of EXIF: the tag, and its value where there is nothing to do
WAYS = {  # of its other values
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# Those that exchange height and width, those that put the last column or row of the file at the
# left, and those that put one at the top.
ASIDE, FROM_RIGHT, FROM_BOTTOM = (
    tuple(WAYS[value] for value in values) for values in ((5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8))
)

SCALES = (2, 4, 8)  # by which libjpeg divides the sides of an image
SPARE = 2.0  # pixels left, each way, for one that is wanted; Image.thumbnail leaves as many


def photograph(path: str | Path, channels: int, size: Size) -> np.ndarray:
    """An image as a network takes it, (C, H, W): red, green, blue and over again for C > 3.

    Raises:
        RosettaError: as `load_image`.
    """
    image = load_image(path, size)
    return image[np.arange(channels) % len(image)]


def upright(image: Image.Image) -> Image.Image:
    """An image turned and mirrored as its EXIF says; the rest of that is not looked at."""
    image.load()  # Pillow turns a TIFF by itself here, and has forgotten that it was turned then
    way = _way(image)
    return image if way is None else image.transpose(way)


def _way(image: Image.Image) -> Transpose | None:
    """What makes an image upright, if anything."""
    return WAYS.get(image.getexif().get(ORIENTATION, UPRIGHT))


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

    Its pixels are those of `decode`: what is transparent is on black, and 16 bits become 8.

    Raises:
        RosettaError: not there, not an image, or too large to decode.
    """
    if not is_file(path):
        raise FileError(path, "no such file")
    with _decoding(str(path)), opened(path) as file, Image.open(file) as found:
        _check_size(found)
        image = _in_rgb(upright(found))
        pixels = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC))
    return ((pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)


# ------------------------------------------------------------------ one image


class Encoded:
    """An image of which the header was read; its pixels are decoded when they are asked for, once.

    Raises:
        UnreadableImageError: here or later, it is no image, is cut off, or is too large to decode.
    """

    def __init__(self, content: bytes, name: str):
        self.name = name
        with _decoding(name):
            self._opened = Image.open(BytesIO(content))
            _check_size(self._opened)

    @property
    def is_scalable(self) -> bool:
        """Whether it can be decoded smaller than it is, as the frequencies of JPEG can."""
        return isinstance(self._opened, JpegImageFile)

    @property
    def shape(self) -> Size:
        """Height and width, upright.  Only JPEG's are sure to be those of its pixels."""
        with _decoding(self.name):
            width, height = self._opened.size
            return (width, height) if _way(self._opened) in ASIDE else (height, width)

    @property
    def is_transparent(self) -> bool:
        """Whether a pixel of it is not quite opaque; for this all of them are decoded."""
        with _decoding(self.name):
            if self._opened.mode.startswith("I") or not self._opened.has_transparency_data:
                return False
            alpha = self._opened.convert("RGBA").getchannel("A")
            return any(alpha.histogram()[:255])

    def decoded(self) -> Image.Image:
        """Upright, its first frame, in RGB, on black."""
        with _decoding(self.name):
            found = self._opened
            image = upright(found)
            if image is not found:
                found.close()  # its pixels would be kept beside their copy
            return _in_rgb(image)

    def part(self, box: Box, size: Size) -> tuple[Image.Image, Box]:
        """Decoded, and where a box of it is then, which is to be resized to a size.

        A JPEG is decoded at a half, a quarter or an eighth of its sides if the box then still has
        `SPARE` times the pixels that are wanted.
        """
        left, top, right, bottom = box
        spare = min((bottom - top) / size[0], (right - left) / size[1]) / SPARE
        scale = max((scale for scale in SCALES if scale <= spare), default=1)
        if scale == 1 or not self.is_scalable:
            return self.decoded(), box
        height, width = self.shape
        with _decoding(self.name):
            stored, way = self._opened.size, _way(self._opened)
            drafted = self._opened.draft("RGB", (stored[0] // scale, stored[1] // scale))
        if drafted is None:
            return self.decoded(), box
        image = self.decoded()
        # The last column and row as they are stored may stand for less than whole ones.
        x = image.width - width / scale if way in FROM_RIGHT else 0.0
        y = image.height - height / scale if way in FROM_BOTTOM else 0.0
        return image, (left / scale + x, top / scale + y, right / scale + x, bottom / scale + y)


def decode(content: bytes, name: str) -> np.ndarray:
    """An encoded image as (H, W, 3) of uint8: upright, its first frame, in RGB, on black.

    Raises:
        UnreadableImageError: it is no image, is cut off, or is too large to decode.
    """
    image = Encoded(content, name).decoded()
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, rows in _strips(image):
        pixels[top : top + ROWS] = np.asarray(rows)
    return pixels


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Tell whatever a decoder raises on a damaged file as one line.

    Raises:
        UnreadableImageError: it raised something.
    """
    try:
        yield
    except Exception as error:
        if not is_damage(error):
            raise
        raise unreadable(name, error) from error


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Tops and strips of rows: converting all at once would take several copies of the whole."""
    for top in range(0, image.height, ROWS):
        yield top, image.crop((0, top, image.width, min(top + ROWS, image.height)))


def _in_rgb(image: Image.Image) -> Image.Image:
    """Pixels of any kind in red, green and blue; the image itself where it has nothing else."""
    is_deep, is_transparent = image.mode.startswith("I"), image.has_transparency_data
    if not is_deep and not is_transparent:
        return image if image.mode == "RGB" else image.convert("RGB")
    converted = Image.new("RGB", image.size)
    for top, rows in _strips(image):
        converted.paste(_shallow(rows) if is_deep else _on_black(rows), (0, top))
    return converted


def _shallow(image: Image.Image) -> Image.Image:
    """Grey of 16 bits a pixel, which Pillow would cut off at 255, in 8."""
    values = np.asarray(image).astype(np.int64) // 257
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")


def _on_black(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image).convert("RGB")
