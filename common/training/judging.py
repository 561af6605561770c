"""How a classifier judged images: by class, which class it took for which, and where it was worst.

Counted a batch at a time: what is kept grows with the classes and not with the images.
"""

from __future__ import annotations

import csv
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .._util.one_line import one_line
from .._util.result import Result
from ..errors import FileError

# Of the picture, in pixels.
FONT, CELL, LEAST_CELL, MARGIN, LARGEST = 13, 44, 2, 12, 1400
NAMED, NUMBERED = 24, 14  # least sizes of a cell that is named, and that has its number in it
LONGEST = 24  # characters of a name
DARK = np.array([8, 48, 107])  # of a cell that all images of its class are in; white is none


@dataclass(frozen=True)
class ClassScore(Result):
    """How well a class is told from the others.

    `precision` is the share of those taken for it that are of it, None where there are none, and
    `recall` the share of its images that are taken for it, None where it has none.
    """

    name: str
    images: int
    predicted: int  # images taken for it
    correct: int

    @property
    def precision(self) -> float | None:
        """correct / predicted."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        """correct / images."""
        return self.correct / self.images if self.images else None

    def to_dict(self) -> dict[str, Any]:
        """The fields, and the two shares."""
        return {**super().to_dict(), "precision": self.precision, "recall": self.recall}


@dataclass(frozen=True)
class Judged:
    """An image, its class, the class it was taken for, and how probable each was found to be."""

    path: str
    true: str
    predicted: str
    probability: float  # of the predicted class
    true_probability: float


class Judgement:
    """The confusion matrix of the images so far, and the `worst` of them.

    The worst are those whose own class was found least probable.  `confusion` is (classes, classes)
    of int64, a row for each true class and a column for each predicted one.
    """

    def __init__(
        self,
        classes: int,
        worst: int,
        probabilities: Callable[[np.ndarray], np.ndarray],
    ):
        self.confusion = np.zeros((classes, classes), np.int64)
        self.most, self.probabilities = worst, probabilities
        # The heap lets the least go: probability and place are negative, so it is the best judged.
        self.kept: list[tuple[float, int, int, int, float]] = []

    def count(self, first: int, logits: np.ndarray, labels: np.ndarray) -> None:
        """Count a batch with labels (N,), of which the negative ones are of no image.

        `logits` are (images, classes) of the others, and `first` is the place of the first label
        among those of all batches.
        """
        places = np.flatnonzero(labels >= 0)
        found = logits.astype(np.float64)
        true, predicted = labels[places], found.argmax(1)
        np.add.at(self.confusion, (true, predicted), 1)
        if not self.most:
            return
        for place, row, own, other in zip(
            places.tolist(), found, true.tolist(), predicted.tolist(), strict=True
        ):
            shares = self.probabilities(row)
            entry = (-float(shares[own]), -(first + place), own, other, float(shares[other]))
            if len(self.kept) < self.most:
                heapq.heappush(self.kept, entry)
            else:
                heapq.heappushpop(self.kept, entry)

    def by_class(self, names: Sequence[str]) -> tuple[ClassScore, ...]:
        """The score of every class."""
        matrix = self.confusion
        columns = matrix.sum(1).tolist(), matrix.sum(0).tolist(), matrix.diagonal().tolist()
        return tuple(ClassScore(*row) for row in zip(names, *columns, strict=True))

    def worst(self, names: Sequence[str], paths: Callable[[int], str]) -> tuple[Judged, ...]:
        """The worst-judged images, the worst first; `paths` names the image at a place."""
        return tuple(
            Judged(paths(-place), names[own], names[other], share, -negative)
            for negative, place, own, other, share in sorted(self.kept, reverse=True)
        )


# ------------------------------------------------------------------ the matrix as a file

Write = Callable[[Path, np.ndarray, Sequence[str]], None]


def writer(path: Path) -> Write:
    """What writes a confusion matrix as a file of this name.

    Raises:
        FileError: it ends neither in .csv nor in .png.
    """
    known = {".csv": write_csv, ".png": write_picture}
    if path.suffix.lower() not in known:
        raise FileError(
            path,
            f"is not a name for a confusion matrix; let it end in {' or '.join(known)}",
            argument="confusion",
        )
    return known[path.suffix.lower()]


def write_csv(path: Path, confusion: np.ndarray, names: Sequence[str]) -> None:
    """A row for each true class under a row of the predicted ones: numbers of images."""
    called = list(map(one_line, names))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["true/predicted", *called])
        for name, row in zip(called, confusion.tolist(), strict=True):
            table.writerow([name, *row])


def write_picture(path: Path, confusion: np.ndarray, names: Sequence[str]) -> None:
    """A PNG of the matrix, in which a cell is as dark as its share of the images of its row.

    Classes are named, and cells have their numbers, as far as there is room for that.
    """
    classes = len(confusion)
    cell = max(LEAST_CELL, min(CELL, LARGEST // classes))
    font = ImageFont.load_default(FONT)
    called = [_short(name) for name in names] if cell >= NAMED else []
    left = MARGIN + FONT + MARGIN + round(max(map(font.getlength, called), default=0))
    side = cell * classes
    image = Image.new("RGB", (left + side + MARGIN, left + side + MARGIN), "white")
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    cells = (255 + shares[..., None] * (DARK - 255)).round().astype(np.uint8)
    image.paste(Image.fromarray(cells).resize((side, side), Image.Resampling.NEAREST), (left, left))
    draw = ImageDraw.Draw(image)
    draw.rectangle((left - 1, left - 1, left + side, left + side), outline="grey")
    draw.text((left + side / 2, MARGIN), "predicted", "black", font, "mt")
    _upright(image, "true", (MARGIN, left + side // 2), font, middle=True)
    for number, name in enumerate(called):
        middle = left + cell * number + cell // 2
        draw.text((left - MARGIN / 2, middle), name, "black", font, "rm")
        _upright(image, name, (middle, left - MARGIN // 2), font)
    if cell >= NAMED and confusion.max(initial=0) < 10 ** (cell // (NUMBERED // 2)):
        for (row, column), images in np.ndenumerate(confusion):
            if images:
                place = (left + cell * (column + 0.5), left + cell * (row + 0.5))
                colour = "white" if shares[row, column] > 0.5 else "black"
                draw.text(place, str(images), colour, font, "mm")
    image.save(path, "PNG")


def _upright(
    image: Image.Image,
    text: str,
    place: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    middle: bool = False,
) -> None:
    """A text that reads upwards: from a place on, or about it."""
    length = max(1, round(font.getlength(text)))
    written = Image.new("L", (length, 2 * FONT))
    ImageDraw.Draw(written).text((0, FONT), text, 255, font, "lm")
    turned = written.rotate(90, expand=True)
    x, y = place
    top = y - length // 2 if middle else y - length
    image.paste("black", (x - FONT, top), turned)


def _short(name: str) -> str:
    plain = one_line(name)
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 3] + "..."
