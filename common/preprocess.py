"""From an image file to what a network expects of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import RosettaError
from common.recipe import Augmentation
from common.spec import Network, Size

PHOTOGRAPH = Path(__file__).parent / "assets" / "photograph.jpg"  # see assets/README.md
# Of ImageNet's red, green and blue, on a scale of 0 to 1.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])

CROP_ATTEMPTS = 10  # preprocessing.py of the released code
CROP_FRACTION = 0.875  # of evaluation, there

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
# Luminance of linear combinations of red, green and blue (ITU-R BT.601), as Pillow has it.
LUMINANCE = np.array([0.299, 0.587, 0.114])


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


# ------------------------------------------------------------------ evaluation and training


def evaluation_image(pixels: np.ndarray, size: Size) -> np.ndarray:
    """The centre of an image (H, W, 3), bicubic: (3, h, w) of float32, normalised.

    The centre is `size` of a map that `size / 0.875` is fitted into (preprocessing.py there).
    """
    height, width = pixels.shape[:2]
    scale = min(
        side / (wanted / CROP_FRACTION) for side, wanted in zip((height, width), size, strict=True)
    )
    rows, columns = (wanted * scale for wanted in size)
    top, left = (height - rows) / 2, (width - columns) / 2
    return normalised(_resized(pixels, (left, top, left + columns, top + rows), size))


def training_image(
    pixels: np.ndarray, size: Size, augmentation: Augmentation, random: np.random.Generator
) -> np.ndarray:
    """A random variant of an image (H, W, 3): (3, h, w) of float32, normalised."""
    height, width = pixels.shape[:2]
    box = (0.0, 0.0, float(width), float(height))
    if augmentation.crop_area is not None:
        box = _random_box(width, height, augmentation, random)
    image = _resized(pixels, box, size)
    if augmentation.flip and random.random() < 0.5:
        image = image[:, ::-1]
    if augmentation.rotation is not None:
        image = _rotated(image, random.uniform(-augmentation.rotation, augmentation.rotation))
    return normalised(_coloured(image, augmentation, random))


def normalised(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) from 0 to 255 -> (3, H, W) of float32: ImageNet's mean is 0, its deviation 1."""
    return ((image / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1).astype(np.float32)


def _resized(pixels: np.ndarray, box: tuple[float, ...], size: Size) -> np.ndarray:
    from PIL import Image

    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC, box)
    return np.asarray(resized)


def _random_box(
    width: int, height: int, augmentation: Augmentation, random: np.random.Generator
) -> tuple[float, ...]:
    """A part of random area and aspect; the largest centre of a possible aspect if none fits."""
    low, high = augmentation.crop_aspect
    for _ in range(CROP_ATTEMPTS):
        area = random.uniform(*augmentation.crop_area) * width * height
        aspect = math.exp(random.uniform(math.log(low), math.log(high)))
        w, h = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = random.uniform(0, width - w), random.uniform(0, height - h)
            return left, top, left + w, top + h
    aspect = min(max(width / height, low), high)
    w, h = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - w) / 2, (height - h) / 2
    return left, top, left + w, top + h


def _rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    from PIL import Image

    turned = Image.fromarray(np.ascontiguousarray(image)).rotate(degrees, Image.Resampling.BILINEAR)
    return np.asarray(turned)


def _coloured(
    image: np.ndarray, augmentation: Augmentation, random: np.random.Generator
) -> np.ndarray:
    """Hue, saturation, brightness and colour noise, in this order: (H, W, 3), 0 to 255."""
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
