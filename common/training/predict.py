"""What a network sees in an image, and where.  The answer of `rosetta.predict`.

A class activation map (arXiv 1512.04150) is exact for these networks: their classifier is a dense
layer on the mean of a map, so that the mean of the activation map is the logit itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .._util.atomic import replacing
from .._util.result import ARRAYS, Result
from ..backends.protocol import Backend, loaded
from ..backends.registry import default_backend, get_backend
from ..checkpoints.load import load
from ..errors import FileError, UsageError
from ..images.datasets import Sample
from ..images.decode import decode
from ..images.families import Family
from ..images.transforms import evaluation_image
from ..network import Network
from ..weights.canonical import Weights
from .classes import class_names
from .evaluate import check_classes, two_classes
from .start import named_family

LOGITS = "logits"  # an endpoint
TOGETHER = 32  # images
# From no to much evidence: dark blue, cyan, yellow, red.
HEAT = np.array([[0, 0, 128], [0, 200, 255], [255, 230, 0], [200, 0, 0]], np.float64)


@dataclass(frozen=True)
class Prediction(Result):
    """Of one image: the most likely classes, and where the evidence for each of them is."""

    path: Path
    classes: tuple[int, ...]  # their numbers, the most likely first
    labels: tuple[str, ...]  # their names
    probabilities: tuple[float, ...]
    maps: np.ndarray = field(repr=False, metadata=ARRAYS)  # (classes, h, w): means are the logits
    pixels: np.ndarray = field(repr=False, metadata=ARRAYS)  # (H, W, 3), uint8: what was seen of it


def predict(
    weights: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    top: int = 5,
    backend: str | None = None,
    dialect: str | None = None,
    image_size: int | None = None,
    family: str | None = None,
) -> list[Prediction]:
    """The `top` most likely classes of images, by a checkpoint of any layout.

    Classes have the names that `class_indices.json` beside the weights gives them, or numbers.
    Probabilities are those of the file's own classifier: by softmax, unless it says that each
    class has a sigmoid.  `family` names another library's preprocessing than the weights' own.

    Raises:
        UsageError: an argument is unknown or outside its range.
        FileError: the weights cannot be used, or a file is no image.
        MissingDependencyError: the framework is not installed.
    """
    if top < 1:
        raise UsageError(f"top is {top}; it must be at least 1", argument="top")
    found = two_classes(load(weights, dialect=dialect, resolution=image_size))
    classes = check_classes(found)
    names = class_names(found.path) or [str(number) for number in range(classes)]
    if len(names) != classes:
        raise FileError(
            found.path, f"has {classes} classes, but class_indices.json beside it {len(names)}"
        )
    chosen = named_family(family) or found.preprocessing
    framework = get_backend(backend or default_backend())
    paths = [images] if isinstance(images, str | Path) else list(images)
    independent = found.activation == "sigmoid"
    return classify(framework, found.network, found.weights, paths, chosen, top, names, independent)


def classify(
    backend: Backend,
    network: Network,
    weights: Weights,
    paths: Sequence[str | Path],
    family: Family,
    top: int = 5,
    names: Sequence[str] | None = None,
    independent: bool = False,
) -> list[Prediction]:
    """The `top` classes of every image, at the resolution of the network.

    Their probabilities add up to one, or are `independent` of each other.

    Raises:
        UnreadableImageError: a file is no image.
    """
    model = loaded(backend, network, weights)
    pooled = network.maps[-1].role
    found: list[Prediction] = []
    for first in range(0, len(paths), TOGETHER):
        some = [Path(path) for path in paths[first : first + TOGETHER]]
        images = [evaluation_image(_read(path), network.resolution, family) for path in some]
        values = backend.endpoints(model, np.stack(images), (pooled, LOGITS))
        for path, image, logits, head in zip(
            some, images, values[LOGITS], values[pooled], strict=True
        ):
            best = np.argsort(-logits, kind="stable")[:top].tolist()
            shares = _probabilities(logits.astype(np.float64), independent)
            maps = activation_maps(head.astype(np.float64), weights, best)
            seen = _pixels(image, family)
            labels = tuple(str(number) if names is None else names[number] for number in best)
            found.append(
                Prediction(path, tuple(best), labels, tuple(shares[best].tolist()), maps, seen)
            )
    return found


def _probabilities(logits: np.ndarray, independent: bool) -> np.ndarray:
    """By a sigmoid for each class, or by softmax; neither overflows."""
    if independent:
        small = np.exp(-np.abs(logits))
        return np.where(logits < 0, small, 1.0) / (1 + small)
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


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


def save_maps(folder: str | Path, predictions: Sequence[Prediction]) -> list[Path]:
    """Write the activation map of every class that was predicted: by image, rank and class.

    Raises:
        FileError: the folder cannot be made, or a file in it not be written.
    """
    folder, written = Path(folder), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(folder, f"cannot be made ({error.strerror})") from error
    for index, prediction in enumerate(predictions):
        labelled = zip(prediction.labels, prediction.maps, strict=True)
        for rank, (label, activation) in enumerate(labelled, 1):
            name = f"{index:03}-{prediction.path.stem}-{rank}-{label.replace('/', '-')}.png"
            save_map(folder / name, activation, prediction.pixels)
            written.append(folder / name)
    return written
