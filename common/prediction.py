"""What a network sees in an image, and where.

A class activation map (arXiv 1512.04150) is exact for these networks: their classifier is a dense
layer on the mean of a map, so that the mean of the activation map is the logit itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.backend import Backend
from common.data import Sample, decode
from common.files import replacing
from common.preprocess import Family, evaluation_image
from common.spec import Network
from common.weights import Weights

LOGITS = "logits"  # an endpoint
TOGETHER = 32  # images
# From no to much evidence: dark blue, cyan, yellow, red.
HEAT = np.array([[0, 0, 128], [0, 200, 255], [255, 230, 0], [200, 0, 0]], np.float64)


@dataclass(frozen=True)
class Prediction:
    """Of one image: the most likely classes, and where the evidence for each of them is."""

    path: Path
    classes: tuple[int, ...]  # the most likely first
    probabilities: tuple[float, ...]
    maps: np.ndarray  # (classes, h, w): each has the logit of its class as mean
    pixels: np.ndarray  # (H, W, 3) of uint8: what the network saw of it


def predict(
    backend: Backend,
    network: Network,
    weights: Weights,
    paths: Sequence[str | Path],
    family: Family,
    top: int = 5,
) -> list[Prediction]:
    """The `top` classes of every image, at the resolution of the network.

    Raises:
        UnreadableImageError: a file is no image.
    """
    model = backend.build(network)
    backend.load_weights(model, weights)
    pooled = network.maps[-1].role
    found: list[Prediction] = []
    for first in range(0, len(paths), TOGETHER):
        some = [Path(path) for path in paths[first : first + TOGETHER]]
        images = [evaluation_image(_read(path), network.resolution, family) for path in some]
        values = backend.endpoints(model, np.stack(images), (pooled, LOGITS))
        for path, image, logits, head in zip(
            some, images, values[LOGITS], values[pooled], strict=True
        ):
            best = np.argsort(-logits, kind="stable")[:top]
            shares = np.exp(logits.astype(np.float64) - logits.max())
            shares /= shares.sum()
            maps = activation_maps(head.astype(np.float64), weights, best)
            seen = _pixels(image, family)
            found.append(Prediction(path, tuple(best.tolist()), tuple(shares[best]), maps, seen))
    return found


def _read(path: Path) -> np.ndarray:
    content, _ = Sample(path, 0).read()
    return decode(content, str(path))


def _pixels(image: np.ndarray, family: Family) -> np.ndarray:
    """The inverse of normalization: (3, H, W) -> (H, W, 3) of uint8."""
    mean, std = np.array(family.normalization.mean), np.array(family.normalization.std)
    levels = (image.transpose(1, 2, 0) * std + mean) * 255
    return np.clip(levels.round(), 0, 255).astype(np.uint8)


def activation_maps(head: np.ndarray, weights: Weights, classes: Sequence[int]) -> np.ndarray:
    """The map before pooling (C, h, w), weighed as the classifier does: (classes, h, w)."""
    rows, bias = (weights[f"classifier.{name}"][list(classes)] for name in ("weight", "bias"))
    return np.tensordot(rows, head, 1) + bias[:, None, None]


def save_map(path: Path, activation: np.ndarray, pixels: np.ndarray) -> None:
    """Write an activation map (h, w) over what the network saw, (H, W, 3) of uint8, as PNG.

    Colours go from the least to the most evidence in this map.

    Raises:
        RosettaError: the file cannot be written.
    """
    from PIL import Image

    size = pixels.shape[1::-1]
    smooth = Image.fromarray(activation.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    evidence = np.asarray(smooth, np.float64)
    spread = np.ptp(evidence) or 1.0
    places = (evidence - evidence.min()) / spread * (len(HEAT) - 1)
    steps = np.arange(len(HEAT))
    heat = np.stack([np.interp(places, steps, HEAT[:, colour]) for colour in range(3)], 2)
    mixed = (0.5 * pixels + 0.5 * heat).round().astype(np.uint8)
    with replacing(path) as temporary:
        Image.fromarray(mixed).save(temporary, "PNG")
