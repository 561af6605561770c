"""Classes of unequal sizes: how rare each one is, and an order in which all come equally often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .datasets import Sample
from .tfrecord import Record


@dataclass(frozen=True)
class Balance:
    """The classes of all samples, one after the other, as the bytes of int32.

    Bytes and not an array, since orders are kept by what they are made of, which needs a hash.
    """

    labels: bytes

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """As many places as there are samples, with which sample is at each of them: indices (N,).

        Every class has as many places, or one more.  Those of a class that is too small for its
        places come again, each as often as the others or once more; a class that is too large
        shows other ones of its samples in another epoch.
        """
        random = np.random.default_rng([seed, epoch])
        labels = np.frombuffer(self.labels, np.int32)
        classes, first = np.unique(np.sort(labels), return_index=True)
        members = np.split(np.argsort(labels, kind="stable"), first[1:])
        places = np.full(len(classes), len(labels) // len(classes))
        places[random.permutation(len(classes))[: len(labels) % len(classes)]] += 1
        chosen = []
        for own, count in zip(members, places, strict=True):
            rounds = [random.permutation(own) for _ in range(-(-count // len(own)))]
            chosen.append(np.concatenate(rounds)[:count])
        return random.permutation(np.concatenate(chosen))


def balance(samples: Sequence[Sample | Record], argument: str) -> Balance:
    """What an order needs that has all classes of some samples equally often.

    Raises:
        UsageError: they are records, which say their class only where they are read.
    """
    return Balance(_labels(samples, argument).tobytes())


def class_weights(
    samples: Sequence[Sample | Record], classes: int, argument: str
) -> tuple[float, ...]:
    """The weight of each class in the loss: inverse to its share of the samples, 1 on average.

    A class without samples has a weight of 1.

    Raises:
        UsageError: they are records, which say their class only where they are read.
    """
    counts = np.bincount(_labels(samples, argument), minlength=classes)
    present = int((counts > 0).sum())
    weights = np.where(counts, len(samples) / (present * np.maximum(counts, 1)), 1.0)
    return tuple(weights.tolist())


def _labels(samples: Sequence[Sample | Record], argument: str) -> np.ndarray:
    found = [sample.label for sample in samples if isinstance(sample, Sample)]
    if len(found) < len(samples):
        raise UsageError(
            f"{argument.replace('_', ' ')} cannot be balanced for TFRecord files, which say the "
            "class of an image only inside; train on a folder of images, or leave it out",
            argument=argument,
        )
    return np.array(found, np.int32)
