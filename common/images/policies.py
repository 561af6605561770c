"""Policies of augmentation: which operations an image gets, by random numbers of its own.

A policy draws as many numbers whatever it chooses, so that what comes after it in the image's
sequence does not depend on the choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from ..errors import UsageError
from .operations import LEVELS, OPERATIONS
from .resize import Pixels

DRAWS = 4  # an operation: whether or which one, its sign, and its place down and across
# Of RandAugment: far more than anybody uses (4 layers, magnitude 30), and nothing overflows.
MOST_LAYERS, MOST_MAGNITUDE = 100, 100.0


class Change(NamedTuple):
    """An operation as it is applied: its value with the sign, and its place in shares."""

    operation: str
    value: float
    place: tuple[float, float]


class Policy(Protocol):
    """What chooses operations for an image."""

    @property
    def name(self) -> str:
        """As `get_policy` finds it."""

    def chosen(self, random: np.random.Generator) -> tuple[Change, ...]:
        """The operations of one image, in their order."""


class Step(NamedTuple):
    """An operation of a sub-policy: with which probability, and at which level."""

    operation: str
    probability: float
    level: float


@dataclass(frozen=True)
class AutoAugment:
    """A list of sub-policies, of which each image gets one, drawn uniformly (arXiv 1805.09501).

    `levels` names the table of `operations.LEVELS` by which levels become values.

    Raises:
        UsageError: a step has an operation that the table does not have, or no probability.
    """

    name: str
    subpolicies: tuple[tuple[Step, ...], ...]
    levels: str = "autoaugment-v0"

    def __post_init__(self) -> None:
        for step in itertools.chain.from_iterable(self.subpolicies):
            if step.operation not in LEVELS[self.levels]:
                raise UsageError(
                    f"{self.name} has the operation {step.operation!r}; "
                    f"choose from {', '.join(LEVELS[self.levels])}"
                )
            if not 0 <= step.probability <= 1:
                raise UsageError(
                    f"{self.name} has {step.operation} with a probability of {step.probability}; "
                    "it must be from 0 to 1"
                )

    def __str__(self) -> str:
        return self.name

    def chosen(self, random: np.random.Generator) -> tuple[Change, ...]:
        """The operations of one image; a step comes in with its own probability."""
        steps = self.subpolicies[int(random.random() * len(self.subpolicies))]
        draws = random.random((len(steps), DRAWS))
        return tuple(
            _change(self.levels, step.operation, step.level, draw)
            for step, draw in zip(steps, draws, strict=True)
            if draw[0] < step.probability
        )


@dataclass(frozen=True)
class RandAugment:
    """So many operations one after the other, of any kind, at one magnitude (arXiv 1909.13719).

    The magnitude is a level, of which 10 is the full strength; above it values go on growing, as
    in the released code.  It need not be whole.

    Raises:
        UsageError: there are no layers or more than `MOST_LAYERS`, or the magnitude is negative or
            above `MOST_MAGNITUDE`.
    """

    layers: int = 2
    magnitude: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= MOST_LAYERS:
            raise UsageError(
                f"RandAugment has {self.layers} layers; give 1 to {MOST_LAYERS}, of which 2 are "
                "usual"
            )
        if not 0 <= self.magnitude <= MOST_MAGNITUDE:
            raise UsageError(
                f"the magnitude of RandAugment is {self.magnitude}; give 0 to {MOST_MAGNITUDE:g}, "
                "of which 10 is usual"
            )

    @property
    def name(self) -> str:
        """With all digits of both numbers: `get_policy` makes the same policy of it."""
        return f"randaugment-{self.layers}-{str(self.magnitude).removesuffix('.0')}"

    def __str__(self) -> str:
        return f"randaugment-{self.layers}-{self.magnitude:.4g}"

    def chosen(self, random: np.random.Generator) -> tuple[Change, ...]:
        """The operations of one image, drawn uniformly and independently."""
        names = tuple(OPERATIONS)
        return tuple(
            _change("randaugment", names[int(draw[0] * len(names))], self.magnitude, draw)
            for draw in random.random((self.layers, DRAWS))
        )


def _change(levels: str, operation: str, level: float, draw: np.ndarray) -> Change:
    value = LEVELS[levels][operation].value(level)
    if OPERATIONS[operation].signed and draw[1] < 0.5:
        value = -value
    return Change(operation, value, (float(draw[2]), float(draw[3])))


def changed(image: np.ndarray, changes: Iterable[Change]) -> np.ndarray:
    """An image (H, W, 3) with its changes applied, as uint8.

    Levels that are not whole are cut and not rounded, as the released code's cast does it, whether
    there is a change or not.
    """
    return np.asarray(applied(as_picture(image), changes))


def applied(picture: Image.Image, changes: Iterable[Change]) -> Image.Image:
    """A picture of Pillow's with its changes applied, one after the other."""
    for name, value, place in changes:
        operation = OPERATIONS[name]
        where = (place,) if operation.placed else ()
        picture = operation.apply(picture, value, *where)
    return picture


def as_picture(image: Pixels) -> Image.Image:
    """An image as Pillow's, whose levels that are not whole are cut."""
    if isinstance(image, Image.Image):
        return image
    if image.dtype != np.uint8:
        image = np.clip(image, 0, 255).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(image))


# ------------------------------------------------------------------ the two lists


def _listed(table: str) -> tuple[tuple[Step, ...], ...]:
    """Sub-policies of a table with one a line: operation, probability and level of each step."""
    rows = [line.split() for line in table.strip().splitlines()]
    return tuple(
        tuple(Step(row[at], float(row[at + 1]), float(row[at + 2])) for at in range(0, len(row), 3))
        for row in rows
    )


# arXiv 1805.09501, appendix, the policy found on reduced ImageNet.  The paper prints levels for
# operations that have no value as well.
AUTOAUGMENT_PAPER = AutoAugment(
    "autoaugment-paper",
    _listed("""
        Posterize 0.4 8  Rotate 0.6 9
        Solarize 0.6 5  AutoContrast 0.6 5
        Equalize 0.8 8  Equalize 0.6 3
        Posterize 0.6 7  Posterize 0.6 6
        Equalize 0.4 7  Solarize 0.2 4
        Equalize 0.4 4  Rotate 0.8 8
        Solarize 0.6 3  Equalize 0.6 7
        Posterize 0.8 5  Equalize 1.0 2
        Rotate 0.2 3  Solarize 0.6 8
        Equalize 0.6 8  Posterize 0.4 6
        Rotate 0.8 8  Color 0.4 0
        Rotate 0.4 9  Equalize 0.6 2
        Equalize 0.0 7  Equalize 0.8 8
        Invert 0.6 4  Equalize 1.0 8
        Color 0.6 4  Contrast 1.0 8
        Rotate 0.8 8  Color 1.0 2
        Color 0.8 8  Solarize 0.8 7
        Sharpness 0.4 7  Invert 0.6 8
        ShearX 0.6 5  Equalize 1.0 9
        Color 0.4 0  Equalize 0.6 3
        Equalize 0.4 7  Solarize 0.2 4
        Solarize 0.6 5  AutoContrast 0.6 5
        Invert 0.6 4  Equalize 1.0 8
        Color 0.6 4  Contrast 1.0 8
        Equalize 0.8 8  Equalize 0.6 3
    """),
    levels="autoaugment-paper",
)
# policy_v0 in autoaugment.py of tensorflow/tpu and of google/automl, whose comment calls it the
# paper's; the two lists have no line in common.
AUTOAUGMENT_V0 = AutoAugment(
    "autoaugment-v0",
    _listed("""
        Equalize 0.8 1  ShearY 0.8 4
        Color 0.4 9  Equalize 0.6 3
        Color 0.4 1  Rotate 0.6 8
        Solarize 0.8 3  Equalize 0.4 7
        Solarize 0.4 2  Solarize 0.6 2
        Color 0.2 0  Equalize 0.8 8
        Equalize 0.4 8  SolarizeAdd 0.8 3
        ShearX 0.2 9  Rotate 0.6 8
        Color 0.6 1  Equalize 1.0 2
        Invert 0.4 9  Rotate 0.6 0
        Equalize 1.0 9  ShearY 0.6 3
        Color 0.4 7  Equalize 0.6 0
        Posterize 0.4 6  AutoContrast 0.4 7
        Solarize 0.6 8  Color 0.6 9
        Solarize 0.2 4  Rotate 0.8 9
        Rotate 1.0 7  TranslateY 0.8 9
        ShearX 0.0 0  Solarize 0.8 4
        ShearY 0.8 0  Color 0.6 4
        Color 1.0 0  Rotate 0.6 2
        Equalize 0.8 4  Equalize 0.0 8
        Equalize 1.0 4  AutoContrast 0.6 2
        ShearY 0.4 7  SolarizeAdd 0.6 7
        Posterize 0.8 2  Solarize 0.6 10
        Solarize 0.6 8  Equalize 0.6 1
        Color 0.8 6  Rotate 0.4 5
    """),
)
POLICIES = {policy.name: policy for policy in (AUTOAUGMENT_PAPER, AUTOAUGMENT_V0)}


def get_policy(name: str) -> Policy:
    """A policy by its name; that of RandAugment has layers and magnitude, as randaugment-2-10.

    Raises:
        UsageError: there is none, or a number is outside its range.
    """
    if name in POLICIES:
        return POLICIES[name]
    kind, *numbers = name.split("-", 2)
    found = None
    try:
        layers, magnitude = numbers
        found = int(layers), float(magnitude)
    except ValueError:  # there are not two, or they are no numbers
        pass
    if kind == "randaugment" and found is not None:
        return RandAugment(*found)
    raise UsageError(
        f"unknown policy {name!r}; choose from {', '.join(POLICIES)} and "
        "randaugment-LAYERS-MAGNITUDE, as randaugment-2-10"
    )
