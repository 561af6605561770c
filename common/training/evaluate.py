"""Scoring weights on a data set.  The answer of `rosetta.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from .._util.result import ARRAYS, Result
from ..architectures import changed
from ..backends.protocol import Trainer, loaded, require
from ..backends.registry import default_backend, get_backend, on_keras
from ..checkpoints.load import LoadedWeights, load
from ..checkpoints.named import class_names, folder_names
from ..errors import FileError, UsageError, needs
from ..images.batches import Batches
from ..images.datasets import folder_classes, read_to_evaluate
from .judging import ClassScore, Judged, Judgement
from .preparing import CHANNELS, named_family
from .run import Run

BATCH = 32  # images at a time


@dataclass(frozen=True)
class Evaluation(Result):
    """Means over the images that could be read, and those that could not, with the reason.

    `confusion` is (classes, classes): how many images of each true class, a row, were taken for
    each class, a column, in the order of `classes`.
    """

    loss: float  # cross-entropy
    top1: float  # share of the images whose class is the first
    top5: float  # or among the first five
    images: int
    skipped: dict[str, str] = field(repr=False)
    classes: tuple[ClassScore, ...] = field(default=(), repr=False)
    worst: tuple[Judged, ...] = field(default=(), repr=False)
    confusion: np.ndarray = field(
        default_factory=lambda: np.zeros((0, 0), np.int64), repr=False, metadata=ARRAYS
    )


def evaluate(
    weights: str | Path,
    data: str | Path,
    *,
    backend: str | None = None,
    keras_backend: str | None = None,
    dialect: str | None = None,
    image_size: int | None = None,
    batch: int = BATCH,
    held_out: float = 0.0,
    seed: int = 0,
    family: str | None = None,
    workers: int = 2,
    worst: int = 0,
) -> Evaluation:
    """Score a checkpoint of any layout on the validation part of a data set.

    `data` is a folder of images for each class, or of TFRecord shards.  Of a folder that is not
    split, `held_out` and `seed` choose the images that a training with these settings held out; by
    default all are used.  `family` names another library's preprocessing than the weights' own.
    `keras_backend` is what Keras is to run on; it must be said before Keras is imported.
    The `worst` images are those whose own class was found least probable, the worst first.

    Raises:
        UsageError: an argument is unknown or outside its range.
        FileError: the weights or the data cannot be used.
        MissingDependencyError: the framework, or what it evaluates with, is not installed.
    """
    backend = on_keras(backend, keras_backend)
    if worst < 0:
        raise UsageError(f"worst is {worst}; it must be at least 0", argument="worst")
    found = two_classes(load(weights, dialect=dialect, resolution=image_size))
    classes = check_classes(found)
    names = folder_names(found.path, found.metadata)
    samples = read_to_evaluate(data, classes, names, held_out, seed)
    chosen = named_family(family) or found.preprocessing
    size = found.network.resolution
    batches = Batches(samples, size, batch, family=chosen, classes=classes)
    name = backend or default_backend()
    framework = require(get_backend(name), Trainer, name)
    model = loaded(framework, found.network, found.weights)
    run = Run(Path())
    shares = partial(probabilities, independent=found.activation == "sigmoid")
    judgement = Judgement(classes, worst, shares)

    def judged(number: int, logits: np.ndarray, labels: np.ndarray) -> None:
        judgement.count(number * batch, logits, labels)

    with needs("evaluating"):
        scores = framework.evaluate(model, batches, run, workers, judged)
    called = _called(found, classes, names or folder_classes(data))
    return Evaluation(
        *scores,
        images=len(samples) - len(run.skipped),
        skipped=dict(run.skipped),
        classes=judgement.by_class(called),
        worst=judgement.worst(called, lambda place: str(samples[place])),
        confusion=judgement.confusion,
    )


def _called(found: LoadedWeights, classes: int, folders: tuple[str, ...] | None) -> tuple[str, ...]:
    """What the classes are called: as the folders of their images, or as the weights call them."""
    if folders is not None and len(folders) == classes:
        return folders
    return tuple(label.name for label in class_names(found, classes).labels)


def probabilities(logits: np.ndarray, independent: bool) -> np.ndarray:
    """By a sigmoid for each class, or by softmax; neither overflows."""
    if independent:
        small = np.exp(-np.abs(logits))
        return np.asarray(np.where(logits < 0, small, 1.0) / (1 + small))
    shares = np.exp(logits - logits.max())
    return np.asarray(shares / shares.sum())


def two_classes(found: LoadedWeights) -> LoadedWeights:
    """Weights of one class with a sigmoid as those of two with softmax, which is the same function.

    The class that the sigmoid is the probability of is the second: the first has a logit of 0.
    """
    if found.network.num_classes != 1 or found.activation != "sigmoid":
        return found
    names = (name for name in found.network.tensors if name.startswith("classifier."))
    doubled = {
        name: np.concatenate([0 * found.weights[name], found.weights[name]]) for name in names
    }
    return replace(
        found,
        network=changed(found.network, num_classes=2),
        weights={**found.weights, **doubled},
        activation="softmax",
    )


def check_classes(found: LoadedWeights) -> int:
    """How many classes weights tell apart.

    Raises:
        FileError: they have no classifier, one class only, or do not take RGB.
    """
    network = found.network
    if network.in_channels != CHANNELS:
        raise FileError(found.path, f"takes {network.in_channels} channels, and not RGB")
    if network.num_classes is None:
        raise FileError(
            found.path, "has no classifier; train one, or port it with a number of classes"
        )
    if network.num_classes < 2:
        raise FileError(found.path, "has one class only; there is nothing to tell it from")
    return network.num_classes
