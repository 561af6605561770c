"""mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899): images of a batch mixed in pairs.

As the code of EfficientNetV2 has it: an image's partner is the one at its place in the reversed
batch; with both kinds, the first half of a batch is mixed up and the second half cut, each
reversed by itself.  Unlike there, the label of an image that was cut has the share of its own
pixels, and not the mean of all images' shares.

Which images are mixed, and how, is a function of the seed, the epoch and the batch's number.  A
process that reads a part of a batch is given whole pairs, and reads a partner beside it where a
part cuts through a pair: what is mixed with what does not depend on how many read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..network import Size


@dataclass(frozen=True)
class Mixing:
    """Parameters of the beta distributions that shares are drawn from; 0 for not at all.

    Raises:
        UsageError: one is negative or not finite.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            if not 0 <= (alpha := getattr(self, name)) < math.inf:
                raise UsageError(f"{name} is {alpha}; give 0 for none, or a positive number")


class Pairs(NamedTuple):
    """How the images of a batch are to be mixed, one row each.

    `partners` are places in the batch (N,), `weights` the shares of the image's own values in a
    sum (N,), and `boxes` what is pasted from the partner: top, left, bottom, right (N, 4).
    """

    partners: np.ndarray
    weights: np.ndarray
    boxes: np.ndarray

    def part(self, part: int, parts: int) -> np.ndarray:
        """The places of one of equal parts of the batch, in order.

        Parts are cut from the pairs, one after the other, and at the end what has no partner.
        """
        places = np.arange(len(self.partners))
        pair_by_pair = np.lexsort(
            (places, np.minimum(places, self.partners), self.partners == places)
        )
        share = len(places) // parts
        return np.sort(pair_by_pair[part * share : (part + 1) * share])

    def shares(self, size: Size) -> np.ndarray:
        """What of each image is its own, from 0 to 1: (N,) of float32."""
        top, left, bottom, right = self.boxes.T
        pasted = (bottom - top) * (right - left) / (size[0] * size[1])
        return (self.weights * (1 - pasted)).astype(np.float32)


def mixed(
    images: np.ndarray, labels: np.ndarray, mixing: Mixing, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch of images (N, 3, H, W) of float32, mixed; the other labels; the shares of their own.

    The labels (N,) stay as they are: that of an image counts by its share, and its partner's by the
    rest.  Where nothing was mixed, the other label is the same and the share 1.
    """
    pairs = drawn(mixing, len(images), images.shape[2:], random)
    places = np.arange(len(images))
    images, _, partners, shares = blended(images, labels, places, pairs, places)
    return images, partners, shares


def drawn(mixing: Mixing, count: int, size: Size, random: np.random.Generator) -> Pairs:
    """How a batch of so many images of a size is mixed."""
    places = np.arange(count)
    partners, weights = places.copy(), np.ones(count)
    boxes = np.zeros((count, 4), np.int64)
    first, second = _halves(mixing, count)
    for part in (first, second):
        partners[part] = places[part][::-1]
    if mixing.mixup:
        weights[first] = random.beta(mixing.mixup, mixing.mixup, len(weights[first]))
        weights = np.maximum(weights, 1 - weights)
    if mixing.cutmix:
        boxes[second] = _boxes(mixing.cutmix, len(boxes[second]), size, random)
    alone = partners == places  # the middle of an odd number
    weights[alone], boxes[alone] = 1, 0
    return Pairs(partners, weights.astype(np.float32), boxes)


def _halves(mixing: Mixing, count: int) -> tuple[slice, slice]:
    """Which images are mixed up, and which are cut."""
    if mixing.mixup and mixing.cutmix:
        return slice(0, count // 2), slice(count // 2, count)
    whole, none = slice(0, count), slice(0, 0)
    return (whole if mixing.mixup else none), (whole if mixing.cutmix else none)


def _boxes(alpha: float, count: int, size: Size, random: np.random.Generator) -> np.ndarray:
    """Parts of an image about any of its pixels, cut off at the borders: (N, 4)."""
    ratio = np.sqrt(1 - random.beta(alpha, alpha, (count, 1)))
    middle = (random.random((count, 2)) * size).astype(np.int64)
    half = (ratio * size).astype(np.int64) // 2
    return np.concatenate([np.maximum(middle - half, 0), np.minimum(middle + half, size)], 1)


def blended(
    images: np.ndarray, labels: np.ndarray, read: np.ndarray, pairs: Pairs, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mixed images, their labels, those of their partners, and shares, at wanted places of a batch.

    `read` are the places, in order, whose images and labels are given; partners are among them.
    """
    own, other = np.searchsorted(read, wanted), np.searchsorted(read, pairs.partners[wanted])
    result = np.empty_like(images, shape=(len(wanted), *images.shape[1:]))
    for place, mine, theirs, image in zip(wanted, own, other, result, strict=True):
        weight = pairs.weights[place]
        np.multiply(images[mine], weight, out=image)
        if weight < 1:
            image += images[theirs] * (1 - weight)
        top, left, bottom, right = pairs.boxes[place]
        image[:, top:bottom, left:right] = images[theirs, :, top:bottom, left:right]
    shares = pairs.shares(images.shape[2:])[wanted]
    partners = np.where(shares < 1, labels[other], labels[own])
    return result, labels[own], partners, shares
