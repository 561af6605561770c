"""From an image file to what a network expects of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import RosettaError
from common.spec import Network, Size

PHOTOGRAPH = Path(__file__).parent / "assets" / "photograph.jpg"  # see assets/README.md
# Of ImageNet's red, green and blue, on a scale of 0 to 1.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Normalization:
    """What an image is given to a network as: (RGB / 255 - mean) / std, channel by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.4g}" for value in v) for v in (self.mean, self.std))
        return f"RGB / 255, mean {mean}, standard deviation {std}"


def photograph(path: str | Path, network: Network) -> np.ndarray:
    """An image as a network takes it, (C, H, W): red, green, blue and over again for C > 3.

    Raises:
        RosettaError: as `load_image`.
    """
    image = load_image(path, network.resolution)
    return image[np.arange(network.in_channels) % len(image)]


def load_image(path: str | Path, size: Size) -> np.ndarray:
    """Centre crop of the shape of `size`, bicubic resize, normalization: (3, H, W), float64.

    Raises:
        RosettaError: not there, not an image, or too large to decode.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise RosettaError(
            f"{path}: reading images needs pillow; run: pip install 'efficientnet-rosetta[onnx]'"
        ) from None
    if not Path(path).is_file():
        raise RosettaError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert("RGB")
            pixels = np.asarray(ImageOps.fit(image, size[::-1], Image.Resampling.BICUBIC))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RosettaError(f"{path}: cannot be read as an image ({error})") from None
    return ((pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)
