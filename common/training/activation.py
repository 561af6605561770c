"""Class activation maps (arXiv 1512.04150): where in an image the evidence for a class is.

They are exact for these networks: the classifier is a dense layer on the mean of a map, so that the
mean of the activation map is the logit itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .._util.atomic import replacing
from ..errors import FileError
from ..images.families import Family
from ..weights.canonical import Weights

# From no to much evidence: dark blue, cyan, yellow, red.
HEAT = np.array([[0, 0, 128], [0, 200, 255], [255, 230, 0], [200, 0, 0]], np.float64)
NOT_IN_NAMES = re.compile(r"[^\w .,()+-]")  # signs that some file system refuses, or a shell obeys
LONGEST = 80  # bytes of a part of a file's name, which has at most 255


def activation_maps(head: np.ndarray, weights: Weights, classes: Sequence[int]) -> np.ndarray:
    """The map before pooling (C, h, w), weighed as the classifier does: (classes, h, w)."""
    rows, bias = (weights[f"classifier.{name}"][list(classes)] for name in ("weight", "bias"))
    return np.tensordot(rows, head, 1) + bias[:, None, None]


def seen_pixels(image: np.ndarray, family: Family) -> np.ndarray:
    """The inverse of normalization: (3, H, W) -> (H, W, 3) of uint8."""
    mean, std = np.array(family.normalization.mean), np.array(family.normalization.std)
    levels = (image.transpose(1, 2, 0) * std + mean) * 255
    return np.clip(levels.round(), 0, 255).astype(np.uint8)


def overlay(activation: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """An activation map (h, w) over what the network saw, (H, W, 3) of uint8, and of that shape.

    Colours go from the least to the most evidence in this map.
    """
    size = pixels.shape[1::-1]
    smooth = Image.fromarray(activation.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    evidence = np.asarray(smooth, np.float64)
    spread = np.ptp(evidence) or 1.0
    places = (evidence - evidence.min()) / spread * (len(HEAT) - 1)
    steps = np.arange(len(HEAT))
    heat = np.stack([np.interp(places, steps, HEAT[:, colour]) for colour in range(3)], 2)
    return (0.5 * pixels + 0.5 * heat).round().astype(np.uint8)


def make_folder(folder: Path) -> None:
    """Make a folder for maps, if it is not there.

    Raises:
        FileError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(folder, f"cannot be made ({error.strerror})") from error


def save_maps(
    folder: Path,
    name: str,
    labels: Sequence[str],
    maps: np.ndarray,
    pixels: np.ndarray,
) -> list[Path]:
    """Write the activation map of each class that an image may be of, as PNG, by rank and label.

    `name` is what the names of all of them begin with, `maps` (classes, h, w), and `pixels` what
    the network saw, (H, W, 3) of uint8.

    Raises:
        FileError: a file cannot be written.
    """
    written = []
    for rank, (label, activation) in enumerate(zip(labels, maps, strict=True), 1):
        path = folder / f"{_part(name)}-{rank}-{_part(label)}.png"
        with replacing(path) as temporary:
            Image.fromarray(overlay(activation, pixels)).save(temporary, "PNG")
        written.append(path)
    return written


def _part(text: str) -> str:
    """A text as a part of a file's name that every file system takes."""
    plain = NOT_IN_NAMES.sub("-", text)
    return plain.encode()[:LONGEST].decode(errors="ignore")
