"""Images of a folder as batches: the same ones, bit for bit, whoever asks for them.

A training image is a pure function of the file, the seed, the epoch and its place in the epoch, so
that both frameworks, and any number of workers, train on the same numbers.  Decoding and
augmentation are Pillow and NumPy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from common.errors import RosettaError
from common.preprocess import evaluation_image, training_image
from common.recipe import Augmentation
from common.records import Record
from common.spec import Size

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLITS = ("train", "val")
HELD_OUT = 0.05  # of each class, where the folder has no split of its own
SUBSTITUTES = 20  # images tried in place of one that cannot be read


class UnreadableImageError(RosettaError):
    """A file is no image, or is damaged."""


# ------------------------------------------------------------------ folders


@dataclass(frozen=True)
class Sample:
    """An image file, and the number of its class."""

    path: Path
    label: int

    def read(self) -> tuple[bytes, int]:
        """The encoded image, and its label.

        Raises:
            UnreadableImageError: the file is gone, or may not be read.
        """
        try:
            return self.path.read_bytes(), self.label
        except OSError as error:
            raise UnreadableImageError(f"{self}: cannot be read ({error.strerror})") from None

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class ImageFolder:
    """Images by class, and what they are split into."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]

    @property
    def class_indices(self) -> dict[str, int]:
        """Class names and their numbers, which are in alphabetical order."""
        return {name: index for index, name in enumerate(self.classes)}


def read_folder(root: str | Path, held_out: float = HELD_OUT, seed: int = 0) -> ImageFolder:
    """One folder a class, within `train` and `val` or to be split: `held_out` of each class is val.

    The split depends on the seed and the names only, and adding an image moves no other one of
    its class across it but at the border.

    Raises:
        RosettaError: there is no such folder, it has no classes, or a class has no images.
    """
    root = Path(root)
    if not root.is_dir():
        raise RosettaError(f"{root}: is no folder; name one with a folder of images for each class")
    if all((root / split).is_dir() for split in SPLITS):
        classes = _classes(root / "train")
        unknown = sorted(set(_classes(root / "val")) - set(classes))
        if unknown:
            raise RosettaError(f"{root / 'val' / unknown[0]}: is a class that train does not have")
        train, val = (
            tuple(_samples(root / split, classes, required=split == "train")) for split in SPLITS
        )
        return ImageFolder(classes, train, val)
    if not 0 <= held_out < 1:
        raise RosettaError(f"the share held out is {held_out}; it must be at least 0 and below 1")
    classes = _classes(root)
    samples = list(_samples(root, classes, required=True))
    train, val = [], []
    for label in range(len(classes)):
        mine = [sample for sample in samples if sample.label == label]
        mine.sort(key=lambda sample: _order(seed, sample.path.relative_to(root)))
        number = min(round(held_out * len(mine)), len(mine) - 1)
        if held_out and len(mine) > 1:
            number = max(number, 1)
        val += mine[:number]
        train += mine[number:]
    return ImageFolder(classes, *(tuple(sorted(part, key=str)) for part in (train, val)))


def _classes(root: Path) -> tuple[str, ...]:
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    if not names:
        raise RosettaError(f"{root}: has no folders, of which one for each class is needed")
    return tuple(names)


def _samples(root: Path, classes: tuple[str, ...], required: bool) -> Iterator[Sample]:
    for label, name in enumerate(classes):
        paths = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if required and not paths:
            raise RosettaError(f"{root / name}: has no images; remove it, or fill it")
        yield from (Sample(path, label) for path in paths)


def _order(seed: int, path: Path) -> bytes:
    return hashlib.sha256(f"{seed} {path.as_posix()}".encode()).digest()


# ------------------------------------------------------------------ one image


def decode(content: bytes, name: str) -> np.ndarray:
    """An encoded image as (H, W, 3) of uint8: upright, its first frame, in RGB, on black.

    Raises:
        UnreadableImageError: it is no image, is cut off, or is too large to decode.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(content)) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
                values = np.asarray(image).astype(np.int64) // 257
                grey = np.clip(values, 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, 2)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                black = Image.new("RGBA", image.size, (0, 0, 0, 255))
                image = Image.alpha_composite(black, image)
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(f"{name}: cannot be read as an image ({reason})") from None


# ------------------------------------------------------------------ batches


@dataclass
class Batches:
    """Batches of samples in the random order of an epoch, or in their own for evaluation."""

    samples: Sequence[Sample | Record]
    size: Size
    batch: int
    augmentation: Augmentation | None = None  # None for evaluation
    seed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)  # what cannot be read, and why

    def __post_init__(self) -> None:
        if not self.samples:
            raise RosettaError("there are no images to make batches of")

    def __len__(self) -> int:
        """Batches of an epoch: whole ones in training, all images in evaluation."""
        if self.augmentation is None:
            return math.ceil(len(self.samples) / self.batch)
        return max(1, len(self.samples) // self.batch)

    def order(self, epoch: int) -> np.ndarray:
        """Which sample comes at which place of an epoch."""
        if self.augmentation is None:
            return np.arange(len(self.samples))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.samples))

    def read(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The images (N, 3, H, W) of float32 and labels (N,) of a batch: a pure function.

        In training, what cannot be read is replaced by the next image that can; in evaluation it
        is left out.  Either way it is noted in `skipped`.

        Raises:
            RosettaError: no image can be read.
        """
        order = self.order(epoch)
        places = range(number * self.batch, min((number + 1) * self.batch, len(order)))
        found = [entry for entry in (self._at(order, epoch, place) for place in places) if entry]
        if not found:
            raise RosettaError(
                f"{self.samples[order[places[0]]]}: no image can be read from here on"
            )
        images, labels = zip(*found, strict=True)
        return np.stack(images), np.array(labels)

    def _at(self, order: np.ndarray, epoch: int, place: int) -> tuple[np.ndarray, int] | None:
        for further in range(1 if self.augmentation is None else SUBSTITUTES):
            sample = self.samples[order[(place + further) % len(order)]]
            try:
                content, label = sample.read()
                pixels = decode(content, str(sample))
            except RosettaError as error:
                self.skipped[str(sample)] = str(error)
                continue
            if self.augmentation is None:
                return evaluation_image(pixels, self.size), label
            random = np.random.default_rng([self.seed, epoch, place])
            return training_image(pixels, self.size, self.augmentation, random), label
        return None
