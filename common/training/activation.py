"""Class activation maps (arXiv 1512.04150): where in an image the evidence for a class is.

They are exact for these networks: the classifier is a dense layer on the mean of a map, so that the
mean of the activation map is the logit itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .._util.atomic import replacing
from ..errors import FileError
from ..images.family import Family
from ..network import Layer, MaxPool, Network
from ..weights.canonical import Weights

if TYPE_CHECKING:
    from .predict import Prediction

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


def cell_centres(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Where in an image the cells of the map before pooling look: rows, and columns, in pixels.

    Each is the middle of what a cell depends on.  That is up to half a cell before the middle of
    its share of the image with symmetric padding, and as much after it with TensorFlow's, where the
    strides are at even sizes.
    """
    rows, columns = (_centres(network, axis) for axis in (0, 1))
    return rows, columns


def _centres(network: Network, axis: int) -> np.ndarray:
    size, first, step = network.resolution[axis], 0.0, 1  # of cells, where pixels are the first
    for section in network.maps:
        for operation in section.path:
            if isinstance(operation, Layer) and operation.kernel:
                kind, padded = str(operation.kind), operation.padded
            elif isinstance(operation, MaxPool):
                kind, padded = "max_pool", True
            else:
                continue
            kernel, stride = operation.kernel, operation.stride
            before, after = 0, 0
            if padded:
                before, after = network.dialect.pad(size, kernel, stride, kind)
            first += step * ((kernel - 1) / 2 - before)
            size = (size + before + after - kernel) // stride + 1
            step *= stride
    return first + step * np.arange(size)


def overlay(
    activation: np.ndarray, pixels: np.ndarray, centres: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """An activation map (h, w) over what the network saw, (H, W, 3) of uint8, and of that shape.

    Evidence is interpolated between the centres of the cells, (h,) and (w,) in pixels.  Colours go
    from the least to the most of it in this map.
    """
    rows, columns = map(_between, centres, pixels.shape[:2])
    evidence = rows @ activation @ columns.T
    spread = np.ptp(evidence) or 1.0
    places = (evidence - evidence.min()) / spread * (len(HEAT) - 1)
    steps = np.arange(len(HEAT))
    heat = np.stack([np.interp(places, steps, HEAT[:, colour]) for colour in range(3)], 2)
    return (0.5 * pixels + 0.5 * heat).round().astype(np.uint8)


def _between(centres: np.ndarray, pixels: int) -> np.ndarray:
    """How much of the value of each cell is that of each pixel: (pixels, cells), linearly."""
    places = np.arange(pixels)
    return np.stack([np.interp(places, centres, cell) for cell in np.eye(len(centres))], 1)


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
    prediction: Prediction,
    centres: tuple[np.ndarray, np.ndarray],
) -> list[Path]:
    """Write the activation map of each class that an image may be of, as PNG, by rank and label.

    `name` is what the names of all of them begin with; `centres` are as in `overlay`.

    Raises:
        FileError: a file cannot be written.
    """
    labelled = zip(prediction.labels, prediction.maps, strict=True)
    written = []
    for rank, (label, activation) in enumerate(labelled, 1):
        path = folder / f"{_part(name)}-{rank}-{_part(label)}.png"
        with replacing(path) as temporary:
            Image.fromarray(overlay(activation, prediction.pixels, centres)).save(temporary, "PNG")
        written.append(path)
    return written


def _part(text: str) -> str:
    """A text as a part of a file's name that every file system takes."""
    plain = NOT_IN_NAMES.sub("-", text)
    return plain.encode()[:LONGEST].decode(errors="ignore")
