"""Random erasing (arXiv 1708.04896): a part of a normalised image that shows nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError

ATTEMPTS = 10  # of timm's and of torchvision's RandomErasing
LOW, HIGH = 0.01, 100.0  # of an aspect: a line of pixels in any image that a network takes


@dataclass(frozen=True)
class Erasing:
    """How often a part is erased, and how large it is; the defaults are timm's.

    `area` is a share of the image and `aspect` height over width, drawn on a scale of logarithms.
    Erased pixels are 0, the mean of the data set, or with `noise` each is drawn from a normal
    distribution.

    Raises:
        UsageError: a number is outside its range.
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    noise: bool = False

    def __str__(self) -> str:
        what = "noise" if self.noise else "the mean"
        return f"{self.probability:g}, {self.area[0]:.3g} to {self.area[1]:.3g} by {what}"

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise UsageError(f"the probability of erasing is {self.probability}; give 0 to 1")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise UsageError(
                f"the area that is erased is {self.area}; give two shares above 0 and up to 1, "
                "the lower one first"
            )
        if not LOW <= self.aspect[0] <= self.aspect[1] <= HIGH:
            raise UsageError(
                f"the aspect of what is erased is {self.aspect}; give two ratios from {LOW:g} to "
                f"{HIGH:g}, the lower one first"
            )


def erase(image: np.ndarray, erasing: Erasing, random: np.random.Generator) -> None:
    """Erase a part of a normalised image (3, H, W) of float32, in place.

    The part must be smaller than the image in both directions.  Several are tried, and where none
    is, nothing is erased; the numbers for all of them are drawn at once, whichever is taken.
    """
    chance, draws = random.random(), random.random((ATTEMPTS, 4))
    if chance >= erasing.probability:
        return
    channels, height, width = image.shape
    for draw in draws:
        h, w = _sides((height, width), erasing, draw)
        if h < height and w < width:
            top, left = int(draw[2] * (height - h + 1)), int(draw[3] * (width - w + 1))
            part = image[:, top : top + h, left : left + w]
            part[:] = random.standard_normal((channels, h, w), np.float32) if erasing.noise else 0
            return


def _sides(size: tuple[int, int], erasing: Erasing, draw: np.ndarray) -> tuple[int, int]:
    """Height and width of a part, in whole pixels."""
    least, most = erasing.area
    area = (least + draw[0] * (most - least)) * size[0] * size[1]
    low, high = map(math.log, erasing.aspect)
    aspect = math.exp(low + draw[1] * (high - low))
    return round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
