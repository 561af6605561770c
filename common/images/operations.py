"""What the policies of augmentation do to an image, and how strong a level is: two tables.

Every operation is Pillow's own, or a table of levels that Pillow applies: the released code has
them in TensorFlow, written after Pillow's.  What moves an image takes the nearest pixel and fills
with grey, as there; what Pillow computes otherwise is said on the page of augmentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageChops, ImageEnhance, ImageOps

FILL = (128, 128, 128)  # replace_value in autoaugment.py of the released code
MAX_LEVEL = 10.0  # _MAX_LEVEL there: the level at which an operation has its largest value
MIDDLE = 128  # SolarizeAdd brightens what is darker
Picture = Image.Image


# ------------------------------------------------------------------ operations


@dataclass(frozen=True)
class Operation:
    """A change of an RGB picture: `apply(picture, value)`, which leaves the given one as it is.

    The value of one that is `signed` is negated half of the time.  One that is `placed` takes a
    third argument: where its middle is, as shares of the height and of the width.
    """

    apply: Callable[..., Picture]
    signed: bool = False
    placed: bool = False


def auto_contrast(picture: Picture, _: float = 0) -> Picture:
    """Stretch each colour so that its least level is 0 and its largest 255."""
    return ImageOps.autocontrast(picture)


def equalize(picture: Picture, _: float = 0) -> Picture:
    """Give each colour a flat histogram."""
    return ImageOps.equalize(picture)


def invert(picture: Picture, _: float = 0) -> Picture:
    """Make a negative."""
    return ImageChops.invert(picture)


def posterize(picture: Picture, bits: float) -> Picture:
    """Keep so many of the highest bits of a level, 1 to 8."""
    return ImageOps.posterize(picture, int(bits))


def solarize(picture: Picture, threshold: float) -> Picture:
    """Invert the levels from a threshold on: all of them at 0, none at 256."""
    return ImageOps.solarize(picture, int(threshold))


def solarize_add(picture: Picture, addend: float) -> Picture:
    """Brighten the levels below the middle."""
    return picture.point(_brightened(int(addend)))


@lru_cache(maxsize=32)
def _brightened(addend: int) -> list[int]:
    """What becomes of each level of red, green and blue."""
    return [min(255, level + addend) if level < MIDDLE else level for level in range(256)] * 3


def color(picture: Picture, factor: float) -> Picture:
    """From grey at 0 by the picture at 1 to stronger colours."""
    return ImageEnhance.Color(picture).enhance(factor)


def contrast(picture: Picture, factor: float) -> Picture:
    """From one grey, the mean, at 0 by the picture at 1 to a stronger contrast."""
    return ImageEnhance.Contrast(picture).enhance(factor)


def brightness(picture: Picture, factor: float) -> Picture:
    """From black at 0 by the picture at 1 to brighter ones."""
    return ImageEnhance.Brightness(picture).enhance(factor)


def sharpness(picture: Picture, factor: float) -> Picture:
    """From a smoothed picture at 0 by the picture at 1 to sharper ones."""
    return ImageEnhance.Sharpness(picture).enhance(factor)


def rotate(picture: Picture, degrees: float) -> Picture:
    """Turn anticlockwise about the centre."""
    return picture.rotate(degrees, Image.Resampling.NEAREST, fillcolor=FILL)


def shear_x(picture: Picture, slope: float) -> Picture:
    """Move every row to the left by a share of its distance from the upper border."""
    return _moved(picture, (1, slope, 0, 0, 1, 0))


def shear_y(picture: Picture, slope: float) -> Picture:
    """Move every column up by a share of its distance from the left border."""
    return _moved(picture, (1, 0, 0, slope, 1, 0))


def translate_x(picture: Picture, pixels: float) -> Picture:
    """Move to the left."""
    return _moved(picture, (1, 0, pixels, 0, 1, 0))


def translate_y(picture: Picture, pixels: float) -> Picture:
    """Move up."""
    return _moved(picture, (1, 0, 0, 0, 1, pixels))


def _moved(picture: Picture, matrix: tuple[float, ...]) -> Picture:
    """A picture whose pixel at (x, y) is the one at (ax + by + c, dx + ey + f)."""
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=FILL
    )


def cut_out(picture: Picture, half: float, middle: tuple[float, float]) -> Picture:
    """Cover a square of twice a half side with grey, as much of it as is inside the picture."""
    width, height = picture.size
    y, x = int(middle[0] * height), int(middle[1] * width)
    reach = int(half)
    box = (max(0, x - reach), max(0, y - reach), min(width, x + reach), min(height, y + reach))
    covered = picture.copy()
    if box[0] < box[2] and box[1] < box[3]:
        covered.paste(FILL, box)
    return covered


# By the names of the released code, in the order in which its RandAugment numbers them.
OPERATIONS: Mapping[str, Operation] = {
    "AutoContrast": Operation(auto_contrast),
    "Equalize": Operation(equalize),
    "Invert": Operation(invert),
    "Rotate": Operation(rotate, signed=True),
    "Posterize": Operation(posterize),
    "Solarize": Operation(solarize),
    "Color": Operation(color),
    "Contrast": Operation(contrast),
    "Brightness": Operation(brightness),
    "Sharpness": Operation(sharpness),
    "ShearX": Operation(shear_x, signed=True),
    "ShearY": Operation(shear_y, signed=True),
    "TranslateX": Operation(translate_x, signed=True),
    "TranslateY": Operation(translate_y, signed=True),
    "Cutout": Operation(cut_out, placed=True),
    "SolarizeAdd": Operation(solarize_add),
}


# ------------------------------------------------------------------ levels


@dataclass(frozen=True)
class Rule:
    """The value of an operation at a level, how a page writes it, and where it comes from."""

    value: Callable[[float], float]
    formula: str
    source: str


_CODE = "level_to_arg, autoaugment.py of tensorflow/tpu"
_PAPER = "arXiv 1805.09501, the appendix's list of operations"


def _share(most: float) -> Callable[[float], float]:
    """A level's share of the largest value."""
    return lambda level: level / MAX_LEVEL * most


def _whole(most: float, least: int = 0, largest: float = math.inf) -> Callable[[float], float]:
    """A level's share of the largest value, cut to a whole number within limits."""
    return lambda level: max(least, min(largest, int(level / MAX_LEVEL * most)))


_NONE = Rule(lambda _: 0.0, "-", "it has no value")
_VALUELESS = dict.fromkeys(("AutoContrast", "Equalize", "Invert"), _NONE)
_ENHANCED = Rule(lambda level: level / MAX_LEVEL * 1.8 + 0.1, "0.1 + 0.18 L", _CODE)
_SHEARED = Rule(_share(0.3), "± 0.03 L", _CODE)

# As the released code has them where it trains by AutoAugment, distort_image_with_autoaugment.
_RELEASED: Mapping[str, Rule] = {
    **_VALUELESS,
    "Rotate": Rule(_share(30.0), "± 3 L degrees", _CODE),
    # Its shift by all 8 bits is one by 7 on a CPU, which leaves 1 bit; Pillow refuses 0.
    "Posterize": Rule(_whole(4, 1, 8), "int(0.4 L) bits, at least 1", _CODE),
    # Above 255 nothing is inverted, as Pillow has it; 256 does not fit into the code's 8 bits.
    "Solarize": Rule(_whole(256, largest=256), "inverts from int(25.6 L) on", _CODE),
    "SolarizeAdd": Rule(_whole(110), "adds int(11 L) below 128", _CODE),
    **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _ENHANCED),
    **dict.fromkeys(("ShearX", "ShearY"), _SHEARED),
    **dict.fromkeys(
        ("TranslateX", "TranslateY"), Rule(_share(250.0), "± 25 L pixels", "translate_const there")
    ),
    "Cutout": Rule(_whole(100), "10 L pixels each way", "cutout_const there"),
}
LEVELS: Mapping[str, Mapping[str, Rule]] = {
    "autoaugment-v0": _RELEASED,
    # What the printed list has; the ranges are those of the released code but for one.
    "autoaugment-paper": {
        **_VALUELESS,
        **{name: _RELEASED[name] for name in ("Rotate", "ShearX", "ShearY", "Solarize")},
        **dict.fromkeys(("Color", "Contrast", "Brightness", "Sharpness"), _ENHANCED),
        "Posterize": Rule(
            lambda level: min(8, 4 + int(level / MAX_LEVEL * 4)), "4 + int(0.4 L) bits", _PAPER
        ),
    },
    # distort_image_with_randaugment has constants of its own.
    "randaugment": {
        **_RELEASED,
        **dict.fromkeys(
            ("TranslateX", "TranslateY"),
            Rule(_share(100.0), "± 10 L pixels", "translate_const there"),
        ),
        "Cutout": Rule(_whole(40), "int(4 L) pixels each way", "cutout_const there"),
    },
}
