"""Mixup and cutmix: two images of a batch made one, which then has two classes.

The first version, with mixup alone; what is mixed is a pure function of the batch and a generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mixing:
    """How images of a batch are mixed: a of each kind's Beta(a, a); 0 leaves a kind out."""

    mixup: float = 0.0
    cutmix: float = 0.0


def mixed(
    images: np.ndarray, labels: np.ndarray, mixing: Mixing, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A whole batch (N, 3, H, W) with labels (N,), each image mixed with the one opposite.

    Returns the images, the label of each one's partner (N,), and the share (N,) of float32 that
    the image's own label keeps, which is at least a half (google/automl, efficientnetv2).
    """
    if not mixing.mixup:
        return images, labels, np.ones(len(labels), np.float32)
    drawn = random.beta(mixing.mixup, mixing.mixup, len(labels))
    shares = np.maximum(drawn, 1 - drawn).astype(np.float32)
    kept = shares[:, None, None, None]
    return kept * images + (1 - kept) * images[::-1], labels[::-1].copy(), shares
