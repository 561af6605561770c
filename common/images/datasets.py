"""Folders of images and TFRecord shards as lists of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .._util.files import content, is_file, is_folder
from ..errors import FileError, RosettaError, UnreadableImageError
from ..network import IMAGENET_CLASSES
from .tfrecord import Record, read_records

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
FILE_LIMIT = 2**28  # bytes of an image file
SPLITS = ("train", "val")
HELD_OUT = 0.05  # of each class, where the folder has no split of its own
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
            UnreadableImageError: the file is gone, is no file, is too long, or may not be read.
        """
        try:
            return content(self.path, FILE_LIMIT), self.label
        except FileError as error:
            raise UnreadableImageError(self.path, error.problem) from error

    def described(self, root: Path) -> tuple[str, int, int]:
        """Its name below a folder, its size in bytes, -1 if it is gone, and its class."""
        try:
            size = self.path.stat().st_size
        except OSError:
            size = -1
        return self.path.relative_to(root).as_posix(), size, self.label

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class DataSet:
    """What there is to train on and to validate on, and the names of its classes.

    `minival` was held out of `train`, to choose the best epoch by.
    """

    classes: tuple[str, ...]
    train: tuple[Sample | Record, ...]
    val: tuple[Sample | Record, ...]
    minival: tuple[Sample | Record, ...] = ()

    @property
    def class_indices(self) -> dict[str, int]:
        """Class names and their numbers."""
        return {name: index for index, name in enumerate(self.classes)}


@dataclass(frozen=True)
class Folder(DataSet):
    """A data set of image files, in a folder for each class."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    minival: tuple[Sample, ...] = ()


def read_data(
    root: str | Path,
    held_out: float = HELD_OUT,
    seed: int = 0,
    classes: int | None = None,
    minival: float | None = None,
) -> DataSet:
    """A folder of images (`read_folder`), or of TFRecord shards (`read_shards`).

    `classes` is checked against a folder of images, and believed of shards, whose classes have no
    names: 1,000 by default, and with the background class where they are 1,001.  `minival` is the
    share of what there is to train on that is held out besides, where `val` was set apart by
    whoever made the data; where it was held out just now, it is no more than a minival itself.

    Raises:
        RosettaError: it is neither, or has another number of classes.
    """
    root = Path(root)
    if _holds_shards(root):
        return read_shards(root, IMAGENET_CLASSES if classes is None else classes, minival)
    found = read_folder(root, held_out, seed, minival)
    if classes not in (None, len(found.classes)):
        raise FileError(
            root, f"has {len(found.classes)} classes, not {classes}", argument="classes"
        )
    return found


def read_shards(
    root: str | Path, classes: int = IMAGENET_CLASSES, minival: float | None = None
) -> DataSet:
    """The records of `train-*-of-*` and `validation-*-of-*`, as ImageNet's are named.

    `minival` is the share of the shards to train on that are held out, the first ones by name, as
    the released code takes 20 of 1,024 (google/automl, efficientnetv2/datasets.py).

    Raises:
        RosettaError: one of the two is not there, or a shard is damaged.
    """
    train, val = (_records(Path(root), SHARDS[split], classes) for split in SPLITS)
    held: tuple[Record, ...] = ()
    if minival:
        shards = sorted({record.path for record in train})
        if len(shards) > 1:
            first = shards[_number_held(minival, len(shards)) - 1]
            held = tuple(record for record in train if record.path <= first)
        else:
            held = train[: _number_held(minival, len(train))]
        train = train[len(held) :]
    return DataSet(tuple(map(str, range(classes))), train, val, held)


def _records(root: Path, pattern: str, classes: int) -> tuple[Record, ...]:
    paths = sorted(path for path in root.glob(pattern) if is_file(path))
    if not paths:
        raise FileError(root, f"has no shards named {pattern}")
    background = classes == IMAGENET_CLASSES + 1
    return tuple(record for path in paths for record in read_records(path, background))


def read_folder(
    root: str | Path, held_out: float = HELD_OUT, seed: int = 0, minival: float | None = None
) -> Folder:
    """One folder a class, within `train` and `val` or to be split: `held_out` of each class is val.

    Where there are `train` and `val`, `minival` is the share of each class of `train` that is held
    out.  A split depends on the seed and the names only, and adding an image moves no other one of
    its class across it but at the border.

    Raises:
        RosettaError: there is no such folder, it has no classes, or a class has no images.
    """
    root = Path(root)
    if not is_folder(root):
        raise FileError(root, "is no folder; name one with a folder of images for each class")
    if all((root / split).is_dir() for split in SPLITS):
        classes = _classes(root / "train")
        unknown = sorted(set(_classes(root / "val")) - set(classes))
        if unknown:
            raise RosettaError(f"{root / 'val' / unknown[0]}: is a class that train does not have")
        train, val = (
            tuple(_samples(root / split, classes, required=split == "train")) for split in SPLITS
        )
        train, held = _split(train, root, minival or 0.0, seed)
        return Folder(classes, train, val, held)
    for split in SPLITS:
        if (root / split).is_dir() and any(path.is_dir() for path in (root / split).iterdir()):
            (other,) = set(SPLITS) - {split}
            raise FileError(root, f"has {split} but no {other}; name both parts so")
    if not 0 <= held_out < 1:
        raise RosettaError(f"the share held out is {held_out}; it must be at least 0 and below 1")
    classes = _classes(root)
    train, val = _split(_samples(root, classes, required=True), root, held_out, seed)
    return Folder(classes, train, val)


def _split(
    samples: Iterable[Sample], root: Path, share: float, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """What is kept and what is held out: a share of each class, none of it if that is 0."""
    kept: list[Sample] = []
    held: list[Sample] = []
    for _, group in groupby(samples, lambda sample: sample.label):
        mine = sorted(group, key=lambda sample: _order(seed, sample.path.relative_to(root)))
        number = _number_held(share, len(mine))
        held += mine[:number]
        kept += mine[number:]
    first, second = (tuple(sorted(part, key=_by_name)) for part in (kept, held))
    return first, second


def _number_held(share: float, count: int) -> int:
    """How many of a number are held out: at least one of several, and never all of them."""
    number = min(round(share * count), count - 1)
    return max(number, 1) if share and count > 1 else number


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
        raise FileError(
            root,
            f"has {len(names)} classes, but the network {classes}; put class_indices.json "
            "of its training beside the weights",
        )
    numbers = [names.index(name) for name in found.classes]
    return tuple(Sample(s.path, numbers[s.label]) for s in found.val or found.train)


def folder_classes(root: str | Path) -> tuple[str, ...] | None:
    """The names of the classes of a folder of images, in alphabetical order; None of shards."""
    root = Path(root)
    if _holds_shards(root):
        return None
    split = all((root / part).is_dir() for part in SPLITS)
    return _classes(root / "train" if split else root)


def _holds_shards(root: Path) -> bool:
    return is_folder(root) and any(
        is_file(path) for pattern in SHARDS.values() for path in root.glob(pattern)
    )


def _classes(root: Path) -> tuple[str, ...]:
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    if not names:
        raise FileError(root, "has no folders, of which one for each class is needed")
    return tuple(names)


def _samples(root: Path, classes: tuple[str, ...], required: bool) -> Iterator[Sample]:
    for label, name in enumerate(classes):
        paths = (root / name).rglob("*")
        found = [Sample(path, label) for path in paths if path.suffix.lower() in SUFFIXES]
        if required and not found:
            raise FileError(root / name, "has no images; remove it, or fill it")
        yield from sorted(found, key=_by_name)


def _by_name(sample: Sample) -> str:
    return sample.path.as_posix()  # paths compare in another way on Windows


def _order(seed: int, path: Path) -> bytes:
    return hashlib.sha256(f"{seed} {path.as_posix()}".encode()).digest()
