"""Images as batches: the same ones, bit for bit, whoever asks for them.

A training image is a pure function of the file, the seed, the epoch and its place in the epoch, so
that both frameworks, and any number of workers, train on the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..errors import FileError, RosettaError, UnreadableImageError
from ..network import Size
from .augment import Augmentation
from .balance import Balance
from .datasets import Sample
from .decode import decode
from .family import Family
from .mixing import Mixing, blended, drawn
from .tfrecord import Record
from .transforms import evaluation_image, training_image
from .usual import OFFICIAL

SUBSTITUTES = 20  # images tried in place of one that cannot be read
NO_IMAGE = -1  # label of a place of an evaluation batch that holds none
MIXED = 1  # tells the seed of what is mixed in a batch from that of a place
EPOCHS_KEPT = 4  # orders in memory: readers that work ahead are in two epochs at once


# ------------------------------------------------------------------ batches


class Batch(NamedTuple):
    """Images (N, 3, H, W) of float32, labels (N,), and what could not be read: names and reasons.

    A label of `NO_IMAGE` marks a place without an image, whose pixels are zeros.  An image that two
    were mixed into is of class `labels` by its share (N,) of float32, and of class `partners` (N,)
    by the rest of it; where nothing is mixed, the partner is the label and the share is 1.
    """

    images: np.ndarray
    labels: np.ndarray
    skipped: dict[str, str]
    partners: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Batches:
    """Batches of samples in the random order of an epoch, or in their own for evaluation.

    All of them are of the same size.  Training leaves out the last images of an epoch that do not
    fill a batch; evaluation fills the last one up with `NO_IMAGE`.  `mixing` is for training only.
    """

    samples: Sequence[Sample | Record]
    size: Size
    batch: int
    augmentation: Augmentation | None = None  # None for evaluation
    seed: int = 0
    family: Family = OFFICIAL
    classes: int | None = None  # labels at or above are refused
    mixing: Mixing | None = None
    balance: Balance | None = None  # has all classes come equally often in training

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
        if self.augmentation is None and self.mixing is not None:
            raise RosettaError("images are mixed in training only; give an augmentation too")

    def __len__(self) -> int:
        """Batches of an epoch."""
        if self.augmentation is None:
            return math.ceil(len(self.samples) / self.batch)
        return len(self.samples) // self.batch

    def order(self, epoch: int) -> np.ndarray:
        """Which sample comes at which place of an epoch: indices, to be read only."""
        if self.augmentation is None:
            return np.arange(len(self.samples))
        if self.balance is not None:
            return _balanced_order(self.seed, epoch, self.balance)
        return _order(self.seed, epoch, len(self.samples))

    def read(self, epoch: int, number: int, part: int = 0, parts: int = 1) -> Batch:
        """A batch, or one of equal parts of it for one of several processes: a pure function.

        Where images are mixed, a part has pairs of them, and not one stretch of the batch.
        What cannot be read is replaced by the next image that can be in training, and by
        `NO_IMAGE` in evaluation.

        Raises:
            RosettaError: in training, no image can be read; or a label is none of the classes.
        """
        first = number * self.batch
        if self.mixing is None:
            share = self.batch // parts
            start = first + part * share
            return self._read_places(epoch, range(start, start + share))
        random = np.random.default_rng([self.seed, epoch, number, MIXED])
        pairs = drawn(self.mixing, self.batch, self.size, random)
        wanted = pairs.part(part, parts)
        places = np.union1d(wanted, pairs.partners[wanted])
        images, labels, skipped, *_ = self._read_places(epoch, (first + places).tolist())
        images, labels, partners, shares = blended(images, labels, places, pairs, wanted)
        return Batch(images, labels, skipped, partners, shares)

    def _read_places(self, epoch: int, places: Sequence[int]) -> Batch:
        """What is at some places of an epoch, unmixed."""
        skipped: dict[str, str] = {}
        found = [self._at(epoch, place, skipped) for place in places]
        images, numbers = zip(*found, strict=True)
        labels = np.array(numbers, np.int64)
        return Batch(np.stack(images), labels, skipped, labels, np.ones(len(labels), np.float32))

    def _at(self, epoch: int, place: int, skipped: dict[str, str]) -> tuple[np.ndarray, int]:
        if self.augmentation is None:
            return self._evaluated(place, skipped)
        order = self.order(epoch)
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
            raise FileError(
                str(sample),
                f"is of class {label}, counted from 0, but there are {self.classes}",
                argument="classes",
            )
        return pixels, label


@lru_cache(maxsize=EPOCHS_KEPT)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Beside the batches, and not in them, so that it is not sent to processes that read them."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    order.setflags(write=False)  # whoever asks next is given the same array
    return order


@lru_cache(maxsize=EPOCHS_KEPT)
def _balanced_order(seed: int, epoch: int, balance: Balance) -> np.ndarray:
    order = balance.order(seed, epoch)
    order.setflags(write=False)
    return order
