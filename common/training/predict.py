"""What a network sees in an image, and where.  The answer of `rosetta.predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._util.result import ARRAYS, Result
from ..backends.protocol import Backend, loaded
from ..backends.registry import default_backend, get_backend
from ..checkpoints.load import load
from ..checkpoints.named import ClassNames, class_names
from ..errors import UnreadableImageError, UsageError
from ..images.decode import PIXELS_LIMIT
from ..images.family import Family
from ..images.sources import Source, sources
from ..images.transforms import evaluation_image
from ..network import Network
from ..weights.canonical import Weights
from .activation import activation_maps, seen_pixels
from .evaluate import check_classes, probabilities, two_classes
from .preparing import named_family

LOGITS = "logits"  # an endpoint
TOP = 5  # classes
BATCH = 32  # images at a time


@dataclass(frozen=True)
class Prediction(Result):
    """Of one image: the most likely classes, and where the evidence for each of them is.

    `names_from` is what the labels are from: a phrase, or None where they are numbers.  `assumed`
    is set where they are ImageNet's only because the weights have as many classes.
    """

    path: Path | str  # a file; or an address, or "-", as it was given
    classes: tuple[int, ...]  # their numbers, the most likely first
    labels: tuple[str, ...]  # their names
    probabilities: tuple[float, ...]
    maps: np.ndarray = field(repr=False, metadata=ARRAYS)  # (classes, h, w): means are the logits
    pixels: np.ndarray = field(repr=False, metadata=ARRAYS)  # (H, W, 3), uint8: what was seen of it
    wnids: tuple[str | None, ...] = ()  # their identifiers in WordNet, where they are known
    names_from: str | None = None
    assumed: bool = False


def predict(
    weights: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    top: int = TOP,
    names: str | Path | None = None,
    batch: int = BATCH,
    backend: str | None = None,
    dialect: str | None = None,
    image_size: int | None = None,
    family: str | None = None,
) -> list[Prediction]:
    """The `top` most likely classes of images, by a checkpoint of any layout.

    `images` are files, folders, of which all images are taken, http(s) addresses, or "-" for an
    image on standard input.

    Classes have the names that the file states, or class_indices.json, config.json or
    imagenet_class_index.json beside it.  Where nothing does, and they are as many as ImageNet's,
    they have ImageNet's names, and every prediction says that this is assumed; otherwise they have
    numbers.  `names` is a file of other names, or "imagenet", or "numbers".

    Probabilities are those of the file's own classifier: by softmax, unless it says that each
    class has a sigmoid.  `family` names another library's preprocessing than the weights' own.

    Raises:
        UsageError: an argument is unknown or outside its range.
        FileError: the weights or the names cannot be used, or a file is no image.
        MissingDependencyError: the framework is not installed.
    """
    found = sources(images)
    predictor = prepared(
        weights,
        top=top,
        names=names,
        batch=batch,
        backend=backend,
        dialect=dialect,
        image_size=image_size,
        family=family,
    )
    return list(predictor.predictions(found))


def prepared(
    weights: str | Path,
    *,
    top: int = TOP,
    names: str | Path | None = None,
    batch: int = BATCH,
    backend: str | None = None,
    dialect: str | None = None,
    image_size: int | None = None,
    family: str | None = None,
) -> Predictor:
    """Weights, ready to look at images; the arguments are those of `predict`.

    Raises:
        RosettaError: as `predict`, but for the images.
    """
    for name, value in (("top", top), ("batch", batch)):
        if value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1", argument=name)
    found = two_classes(load(weights, dialect=dialect, resolution=image_size))
    called = class_names(found, check_classes(found), names)
    chosen = named_family(family) or found.preprocessing
    framework = get_backend(backend or default_backend())
    model = loaded(framework, found.network, found.weights)
    independent = found.activation == "sigmoid"
    return Predictor(
        framework, model, found.network, found.weights, chosen, called, top, batch, independent
    )


@dataclass(frozen=True)
class Predictor:
    """A model that holds weights, and all that it takes to say what is in an image.

    Probabilities add up to one, or are `independent` of each other.
    """

    backend: Backend
    model: Any
    network: Network
    weights: Weights
    family: Family
    names: ClassNames
    top: int = TOP
    batch: int = BATCH
    independent: bool = False

    def predictions(
        self,
        images: Sequence[Source],
        unreadable: Callable[[Source, UnreadableImageError], None] | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Iterator[Prediction]:
        """The most likely classes of every image, a batch at a time, in their order.

        What cannot be read is told to `unreadable`, and left out.  `progress` is told how many
        images are done.

        Raises:
            UnreadableImageError: an image cannot be read, and nobody is to be told.
        """
        read: list[tuple[Source, np.ndarray]] = []
        for number, source in enumerate(images, 1):
            try:
                read.append((source, self._prepared(source)))
            except UnreadableImageError as error:
                if unreadable is None:
                    raise
                unreadable(source, error)
            if read and (len(read) == self.batch or number == len(images)):
                yield from self._classified(read)
                read.clear()
            progress(number)

    def _prepared(self, source: Source) -> np.ndarray:
        """An image as the network takes it: (3, H, W).

        Raises:
            UnreadableImageError: it cannot be read, or is a line: most families of preprocessing
                enlarge the short side of an image first, and with it all the others.
        """
        pixels, size = source.pixels(), self.network.resolution
        height, width = pixels.shape[:2]
        if max(height, width) / min(height, width) * max(size) ** 2 > PIXELS_LIMIT:
            raise UnreadableImageError(
                str(source.name),
                f"is {width:,} x {height:,} pixels, too long and thin to resize; cut a part out",
            )
        return evaluation_image(pixels, size, self.family)

    def _classified(self, read: Sequence[tuple[Source, np.ndarray]]) -> Iterator[Prediction]:
        pooled = self.network.maps[-1].role
        batch = np.stack([image for _, image in read])
        values = self.backend.endpoints(self.model, batch, (pooled, LOGITS))
        for (source, image), logits, head in zip(read, values[LOGITS], values[pooled], strict=True):
            best = np.argsort(-logits, kind="stable")[: self.top].tolist()
            shares = probabilities(logits.astype(np.float64), self.independent)
            labels = [self.names.labels[number] for number in best]
            yield Prediction(
                path=source.name,
                classes=tuple(best),
                labels=tuple(label.name for label in labels),
                probabilities=tuple(shares[best].tolist()),
                maps=activation_maps(head.astype(np.float64), self.weights, best),
                pixels=seen_pixels(image, self.family),
                wnids=tuple(label.wnid for label in labels),
                names_from=self.names.source,
                assumed=self.names.assumed,
            )
