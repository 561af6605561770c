"""Scoring weights on a data set.  The answer of `rosetta.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .._util.result import Result
from ..architectures import changed
from ..backends.protocol import Trainer, loaded, require
from ..backends.registry import default_backend, get_backend, on_keras
from ..checkpoints.load import LoadedWeights, load
from ..checkpoints.named import folder_names
from ..errors import FileError, needs
from ..images.batches import Batches
from ..images.datasets import read_to_evaluate
from .run import Run
from .start import CHANNELS, named_family

BATCH = 32  # images at a time


@dataclass(frozen=True)
class Evaluation(Result):
    """Means over the images that could be read, and those that could not, with the reason."""

    loss: float  # cross-entropy
    top1: float  # share of the images whose class is the first
    top5: float  # or among the first five
    images: int
    skipped: dict[str, str] = field(repr=False)


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
) -> Evaluation:
    """Score a checkpoint of any layout on the validation part of a data set.

    `data` is a folder of images for each class, or of TFRecord shards.  Of a folder that is not
    split, `held_out` and `seed` choose the images that a training with these settings held out; by
    default all are used.  `family` names another library's preprocessing than the weights' own.
    `keras_backend` is what Keras is to run on; it must be said before Keras is imported.

    Raises:
        UsageError: an argument is unknown or outside its range.
        FileError: the weights or the data cannot be used.
        MissingDependencyError: the framework, or what it evaluates with, is not installed.
    """
    backend = on_keras(backend, keras_backend)
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
    with needs("evaluating"):
        scores = framework.evaluate(model, batches, run, workers)
    read = len(samples) - len(run.skipped)
    return Evaluation(*scores, images=read, skipped=dict(run.skipped))


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
