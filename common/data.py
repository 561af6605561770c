"""Images of a folder as batches: the same ones, bit for bit, whoever asks for them.

A training image is a pure function of the file, the seed, the epoch and its place in the epoch, so
that both frameworks, and any number of workers, train on the same numbers.  Decoding and
augmentation are Pillow and NumPy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import RosettaError, UnreadableImageError
from common.preprocess import (
    OFFICIAL,
    Family,
    evaluation_image,
    training_image,
    unreadable,
    upright,
)
from common.recipe import Augmentation
from common.records import Record, read_records
from common.spec import IMAGENET_CLASSES, Size

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLITS = ("train", "val")
HELD_OUT = 0.05  # of each class, where the folder has no split of its own
SUBSTITUTES = 20  # images tried in place of one that cannot be read
NO_IMAGE = -1  # label of a place of an evaluation batch that holds none
SHARDS = {"train": "train-*-of-*", "val": "validation-*-of-*"}  # of ImageNet as TFRecords


# ------------------------------------------------------------------ data sets


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
class DataSet:
    """What there is to train on and to validate on, and the names of its classes."""

    classes: tuple[str, ...]
    train: tuple[Sample | Record, ...]
    val: tuple[Sample | Record, ...]

    @property
    def class_indices(self) -> dict[str, int]:
        """Class names and their numbers."""
        return {name: index for index, name in enumerate(self.classes)}


def read_data(
    root: str | Path, held_out: float = HELD_OUT, seed: int = 0, classes: int | None = None
) -> DataSet:
    """A folder of images (`read_folder`), or of TFRecord shards (`read_shards`).

    `classes` is checked against a folder of images, and believed of shards, whose classes have no
    names: 1,000 by default, and with the background class where they are 1,001.

    Raises:
        RosettaError: it is neither, or has another number of classes.
    """
    root = Path(root)
    if _holds_shards(root):
        return read_shards(root, IMAGENET_CLASSES if classes is None else classes)
    found = read_folder(root, held_out, seed)
    if classes not in (None, len(found.classes)):
        raise RosettaError(
            f"{root}: has {len(found.classes)} classes, not {classes}; leave out --classes"
        )
    return found


def read_shards(root: str | Path, classes: int = IMAGENET_CLASSES) -> DataSet:
    """The records of `train-*-of-*` and `validation-*-of-*`, as ImageNet's are named.

    Raises:
        RosettaError: one of the two is not there, or a shard is damaged.
    """
    parts = (_records(Path(root), SHARDS[split], classes) for split in SPLITS)
    return DataSet(tuple(map(str, range(classes))), *parts)


def _records(root: Path, pattern: str, classes: int) -> tuple[Record, ...]:
    paths = sorted(path for path in root.glob(pattern) if path.is_file())
    if not paths:
        raise RosettaError(f"{root}: has no shards named {pattern}")
    background = classes == IMAGENET_CLASSES + 1
    return tuple(record for path in paths for record in read_records(path, background))


def read_folder(root: str | Path, held_out: float = HELD_OUT, seed: int = 0) -> DataSet:
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
        return DataSet(classes, train, val)
    for split in SPLITS:
        if (root / split).is_dir() and any(path.is_dir() for path in (root / split).iterdir()):
            (other,) = set(SPLITS) - {split}
            raise RosettaError(f"{root}: has {split} but no {other}; name both parts so")
    if not 0 <= held_out < 1:
        raise RosettaError(f"the share held out is {held_out}; it must be at least 0 and below 1")
    classes = _classes(root)
    train, val = [], []
    for _, group in groupby(_samples(root, classes, required=True), lambda sample: sample.label):
        mine = sorted(group, key=lambda sample: _order(seed, sample.path.relative_to(root)))
        number = min(round(held_out * len(mine)), len(mine) - 1)
        if held_out and len(mine) > 1:
            number = max(number, 1)
        val += mine[:number]
        train += mine[number:]
    return DataSet(classes, *(tuple(sorted(part, key=_by_name)) for part in (train, val)))


def read_to_evaluate(
    root: str | Path,
    classes: int,
    names: Sequence[str] | None = None,
    held_out: float = 0.0,
    seed: int = 0,
) -> tuple[Sample | Record, ...]:
    """The images of `val`, or of `validation-*-of-*`, or of a folder that is not split.

    Of the last it is what a training held out of it, or all if that is 0.  `classes` are those of
    the network.  Folders are numbered by their place in `names`, or in alphabetical order where it
    has none.

    Raises:
        RosettaError: there is no such data, or a folder is of no class of the network.
    """
    root = Path(root)
    if _holds_shards(root):
        return _records(root, SHARDS["val"], classes)
    found = read_folder(root, held_out, seed)
    names = found.classes if names is None else tuple(names)
    unknown = sorted(set(found.classes) - set(names))
    if unknown:
        raise RosettaError(f"{root / unknown[0]}: is no class of the network; remove it")
    if len(names) != classes:
        raise RosettaError(
            f"{root}: has {len(names)} classes, but the network {classes}; put class_indices.json "
            "of its training beside the weights"
        )
    numbers = [names.index(name) for name in found.classes]
    return tuple(Sample(s.path, numbers[s.label]) for s in found.val or found.train)


def _holds_shards(root: Path) -> bool:
    return any(path.is_file() for pattern in SHARDS.values() for path in root.glob(pattern))


def _classes(root: Path) -> tuple[str, ...]:
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    if not names:
        raise RosettaError(f"{root}: has no folders, of which one for each class is needed")
    return tuple(names)


def _samples(root: Path, classes: tuple[str, ...], required: bool) -> Iterator[Sample]:
    for label, name in enumerate(classes):
        paths = (root / name).rglob("*")
        found = [Sample(path, label) for path in paths if path.suffix.lower() in SUFFIXES]
        if required and not found:
            raise RosettaError(f"{root / name}: has no images; remove it, or fill it")
        yield from sorted(found, key=_by_name)


def _by_name(sample: Sample) -> str:
    return sample.path.as_posix()  # paths compare in another way on Windows


def _order(seed: int, path: Path) -> bytes:
    return hashlib.sha256(f"{seed} {path.as_posix()}".encode()).digest()


# ------------------------------------------------------------------ one image


def decode(content: bytes, name: str) -> np.ndarray:
    """An encoded image as (H, W, 3) of uint8: upright, its first frame, in RGB, on black.

    Raises:
        UnreadableImageError: it is no image, is cut off, or is too large to decode.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(content)) as opened:
            image = upright(opened)
            if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
                values = np.asarray(image).astype(np.int64) // 257
                grey = np.clip(values, 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, 2)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                black = Image.new("RGBA", image.size, (0, 0, 0, 255))
                image = Image.alpha_composite(black, image)
            return np.asarray(image.convert("RGB"))
    except Exception as error:
        raise unreadable(name, error) from None


# ------------------------------------------------------------------ batches


class Batch(NamedTuple):
    """Images (N, 3, H, W) of float32, labels (N,), and what could not be read: names and reasons.

    A label of `NO_IMAGE` marks a place without an image, whose pixels are zeros.
    """

    images: np.ndarray
    labels: np.ndarray
    skipped: dict[str, str]


@dataclass(frozen=True)
class Batches:
    """Batches of samples in the random order of an epoch, or in their own for evaluation.

    All of them are of the same size.  Training leaves out the last images of an epoch that do not
    fill a batch; evaluation fills the last one up with `NO_IMAGE`.
    """

    samples: Sequence[Sample | Record]
    size: Size
    batch: int
    augmentation: Augmentation | None = None  # None for evaluation
    seed: int = 0
    family: Family = OFFICIAL
    classes: int | None = None  # labels at or above are refused

    def __post_init__(self) -> None:
        if not self.samples:
            raise RosettaError("there are no images to make batches of")
        if self.batch < 1:
            raise RosettaError(f"the batch is {self.batch}; it must have at least 1 image")
        if self.augmentation is not None and self.batch > len(self.samples):
            raise RosettaError(
                f"the batch is {self.batch}, but there are {len(self.samples)} images to train on; "
                "choose a smaller batch"
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        if self.augmentation is None:
            return math.ceil(len(self.samples) / self.batch)
        return len(self.samples) // self.batch

    def order(self, epoch: int) -> np.ndarray:
        """Which sample comes at which place of an epoch."""
        if self.augmentation is None:
            return np.arange(len(self.samples))
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.samples))

    def read(self, epoch: int, number: int, part: int = 0, parts: int = 1) -> Batch:
        """A batch, or one of equal parts of it for one of several processes: a pure function.

        What cannot be read is replaced by the next image that can be in training, and by
        `NO_IMAGE` in evaluation.

        Raises:
            RosettaError: in training, no image can be read; or a label is none of the classes.
        """
        order, skipped = self.order(epoch), {}
        share = self.batch // parts
        first = number * self.batch + part * share
        places = range(first, first + share)
        found = [self._at(order, epoch, place, skipped) for place in places]
        images, labels = zip(*found, strict=True)
        return Batch(np.stack(images), np.array(labels, np.int64), skipped)

    def _at(
        self, order: np.ndarray, epoch: int, place: int, skipped: dict[str, str]
    ) -> tuple[np.ndarray, int]:
        if self.augmentation is None:
            return self._evaluated(place, skipped)
        for further in range(SUBSTITUTES):
            sample = self.samples[order[(place + further) % len(order)]]
            if (read := self._read(sample, skipped)) is not None:
                random = np.random.default_rng([self.seed, epoch, place])
                pixels, label = read
                image = training_image(pixels, self.size, self.augmentation, random, self.family)
                return image, label
        raise RosettaError(f"no image can be read from here on: {next(iter(skipped.values()))}")

    def _evaluated(self, place: int, skipped: dict[str, str]) -> tuple[np.ndarray, int]:
        read = None
        if place < len(self.samples):
            read = self._read(self.samples[place], skipped)
        if read is None:
            return np.zeros((3, *self.size), np.float32), NO_IMAGE
        return evaluation_image(read[0], self.size, self.family), read[1]

    def _read(
        self, sample: Sample | Record, skipped: dict[str, str]
    ) -> tuple[np.ndarray, int] | None:
        try:
            content, label = sample.read()
            pixels = decode(content, str(sample))
        except UnreadableImageError as error:
            skipped[str(sample)] = str(error)
            return None
        if self.classes is not None and label >= self.classes:
            raise RosettaError(
                f"{sample}: is of class {label}, counted from 0, but there are {self.classes}; "
                "say --classes"
            )
        return pixels, label
