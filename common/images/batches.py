"""Images as batches: the same ones, bit for bit, whoever asks for them.

A training image is a pure function of the file, the seed, the epoch and its place in the epoch, so
that both frameworks, and any number of workers, train on the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np

from ..errors import FileError, RosettaError, UnreadableImageError
from ..network import Size
from .augment import Augmentation
from .balance import Balance
from .colours import changes_colours
from .datasets import Sample
from .decode import Encoded
from .family import Family
from .mixing import Mixing, blended, drawn
from .normalization import level_table
from .tfrecord import Record
from .transforms import (
    evaluation_image,
    evaluation_pixels,
    training_image,
    training_pixels,
)
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

    @property
    def table(self) -> np.ndarray:
        """What the levels of `read` with `raw` are to be looked up in: (3, 256) of float32."""
        return level_table(self.family.normalization)

    @property
    def has_levels(self) -> bool:
        """Whether images are whole levels from 0 to 255, and nothing is done once normalised."""
        rounded, augmentation = self.family.interpolation.rounds, self.augmentation
        if augmentation is None:
            return rounded
        if changes_colours(augmentation) or augmentation.erasing or self.mixing:
            return False
        return rounded or augmentation.rotation is not None or augmentation.policy is not None

    def read(
        self, epoch: int, number: int, part: int = 0, parts: int = 1, raw: bool = False
    ) -> Batch:
        """A batch, or one of equal parts of it for one of several processes: a pure function.

        Where images are mixed, a part has pairs of them, and not one stretch of the batch.
        What cannot be read is replaced by the next image that can be in training, and by
        `NO_IMAGE` in evaluation.

        If `raw`, images are levels of uint8, a quarter of the bytes: level v of channel c is to
        become `table[c, v]`, which is what is read otherwise, bit for bit, wherever it is looked
        up.  Only places without an image differ: their levels are zeros, and not their values.

        Raises:
            RosettaError: in training, no image can be read; or a label is none of the classes; or
                `raw` is asked for and there are other things than levels (`has_levels`).
        """
        if raw and not self.has_levels:
            raise RosettaError("these images are no whole levels; read them normalised")
        first = number * self.batch
        if self.mixing is None:
            share = self.batch // parts
            start = first + part * share
            return self._read_places(epoch, range(start, start + share), raw)
        random = np.random.default_rng([self.seed, epoch, number, MIXED])
        pairs = drawn(self.mixing, self.batch, self.size, random)
        wanted = pairs.part(part, parts)
        places = np.union1d(wanted, pairs.partners[wanted])
        images, labels, skipped, *_ = self._read_places(epoch, (first + places).tolist())
        images, labels, partners, shares = blended(images, labels, places, pairs, wanted)
        return Batch(images, labels, skipped, partners, shares)

    def _read_places(self, epoch: int, places: Sequence[int], raw: bool = False) -> Batch:
        """What is at some places of an epoch, unmixed."""
        skipped: dict[str, str] = {}
        images = np.empty((len(places), 3, *self.size), np.uint8 if raw else np.float32)
        labels = np.empty(len(places), np.int64)
        # All at once: after an image there is nothing of NumPy's seeding left in the cache.
        order, randoms = self.order(epoch), [self._random(epoch, place) for place in places]
        for row, place in enumerate(places):
            labels[row] = self._put(images[row], order, place, randoms[row], skipped)
        return Batch(images, labels, skipped, labels, np.ones(len(labels), np.float32))

    def _random(self, epoch: int, place: int) -> np.random.Generator | None:
        """The random numbers of a place of an epoch, of which evaluation has none."""
        if self.augmentation is None:
            return None
        return np.random.default_rng([self.seed, epoch, place])

    def _put(
        self,
        out: np.ndarray,
        order: np.ndarray,
        place: int,
        random: np.random.Generator | None,
        skipped: dict[str, str],
    ) -> int:
        """Put the image at a place of an order into `out`; its label."""
        if random is None:
            label = None
            if place < len(order):
                label = self._put_sample(out, self.samples[order[place]], random, skipped)
            if label is None:
                out[:] = 0
            return NO_IMAGE if label is None else label
        for further in range(SUBSTITUTES):
            sample = self.samples[order[(place + further) % len(order)]]
            if (label := self._put_sample(out, sample, random, skipped)) is not None:
                return label
            # The next one has the same numbers, of which some may have been used.
            seeds = cast(np.random.SeedSequence, random.bit_generator.seed_seq)
            random = np.random.default_rng(seeds)
        raise RosettaError(f"no image can be read from here on: {next(iter(skipped.values()))}")

    def _put_sample(
        self,
        out: np.ndarray,
        sample: Sample | Record,
        random: np.random.Generator | None,
        skipped: dict[str, str],
    ) -> int | None:
        """Put an image into `out`; its label, or nothing where it cannot be read."""
        try:
            content, label = sample.read()
            self._check_label(sample, label)
            self._prepare(Encoded(content, str(sample)), random, out)
        except UnreadableImageError as error:
            skipped[str(sample)] = str(error)
            return None
        return label

    def _prepare(self, image: Encoded, random: np.random.Generator | None, out: np.ndarray) -> None:
        """Put an image into `out`: normalised, or levels where that holds them."""
        raw = out.dtype == np.uint8
        if self.augmentation is None or random is None:
            evaluated = image.decoded(), self.size, self.family
            if raw:
                out[:] = evaluation_pixels(*evaluated).transpose(2, 0, 1)
            else:
                evaluation_image(*evaluated, out)
            return
        trained = image, self.size, self.augmentation, random, self.family
        if raw:
            out[:] = training_pixels(*trained).transpose(2, 0, 1)
        else:
            training_image(*trained, out)

    def _check_label(self, sample: Sample | Record, label: int) -> None:
        if self.classes is not None and label >= self.classes:
            raise FileError(
                str(sample),
                f"is of class {label}, counted from 0, but there are {self.classes}",
                argument="classes",
            )


@lru_cache(maxsize=EPOCHS_KEPT)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Kept outside of `Batches`, which are sent to the processes that read, and it is long."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    order.setflags(write=False)  # whoever asks next is given the same array
    return order


@lru_cache(maxsize=EPOCHS_KEPT)
def _balanced_order(seed: int, epoch: int, balance: Balance) -> np.ndarray:
    order = balance.order(seed, epoch)
    order.setflags(write=False)
    return order
