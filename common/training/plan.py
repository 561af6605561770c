"""All that a training run is a function of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from ..architectures import changed
from ..errors import RosettaError, UsageError
from ..images.balance import class_weights
from ..images.batches import Batches
from ..network import Network, Size
from .recipe import Recipe, RecipeStage
from .schedules import Optimization

PRECISIONS = ("float32", "bfloat16", "float16", "float64")
SMALLEST = 32  # pixels of a side: below, the last maps of these networks have none
BACKBONE = "backbone"  # everything but the classifier


# ------------------------------------------------------------------ what a run is


@dataclass(frozen=True)
class Phase:
    """Some epochs in which the same sections are trained, on images of the same size.

    Schedules count from the epoch in which their optimizer `began`; where that was an earlier
    phase, optimizer and moving average go on with what they have come to.
    """

    epochs: range
    began: int
    optimization: Optimization
    frozen: frozenset[str]  # roles of sections, which run as in inference
    dropout: float  # before the classifier
    keeps_batch_norms: bool = False  # those of other sections run as in inference too


@dataclass(frozen=True)
class Training:
    """Everything that a run is a function of; `recipe` has the run's own batch and epochs.

    `freeze` is "backbone" or the number of stages of the paper, from the stem on, that are not
    trained.  `precision` is that of the arithmetic; weights are float32, or float64.  `minival` was
    held out of what there is to train on, to choose the best epoch by.
    """

    network: Network
    recipe: Recipe
    train: Batches
    val: Batches
    freeze: str | int = 0
    seed: int = 0
    precision: str = "float32"
    workers: int = 0  # processes, or threads, that read images ahead
    devices: int = 1
    compile: bool = False  # PyTorch's steps
    minival: Batches | None = None

    def __post_init__(self) -> None:
        check_precision(self.precision)
        if self.network.classifier is None:
            raise RosettaError("the network has no classifier to train; give it classes")
        if self.network.classifier.num_classes < 2:
            raise RosettaError("there is one class only; there must be another to tell it from")
        frozen_sections(self.network, self.freeze)
        if self.recipe.batch % self.recipe.accumulation:
            raise UsageError(
                f"a batch of {self.recipe.batch} images cannot be gone through in "
                f"{self.recipe.accumulation} equal parts; choose another number of them",
                argument="accumulate",
            )
        self._check_statistics()

    def _check_statistics(self) -> None:
        """Refuse what leaves a batch norm one value of a channel, which does not vary.

        Raises:
            UsageError: a phase has such a batch norm.
        """
        images = self.recipe.batch // self.recipe.accumulation  # on all devices together
        for phase in self.phases:
            if phase.keeps_batch_norms:
                continue
            size = self.batches(phase.epochs.start).size
            last = changed(self.network, resolution=size).maps[-1]
            if last.role not in phase.frozen and images * math.prod(last.output_size) == 1:
                raise UsageError(
                    f"one image of {size[0]} x {size[1]} pixels at a time leaves the last batch "
                    "norms a single value of each channel; take more images at a time, or larger "
                    "ones",
                    argument="batch",
                )

    @property
    def class_weights(self) -> tuple[float, ...] | None:
        """The weight of each class in the loss of training; None weighs all alike.

        Raises:
            UsageError: the recipe has them balanced, but the data do not say how large classes are.
        """
        if self.recipe.class_weights is None:
            return None
        return class_weights(self.train.samples, self.network.num_classes or 0, "class_weights")

    @property
    def selection(self) -> Batches:
        """What is validated on after every epoch, and chooses the best one: `minival`, or `val`."""
        return self.val if self.minival is None else self.minival

    def batches(self, epoch: int) -> Batches:
        """What is trained on in an epoch, as the recipe's stage has it."""
        stage = self._stage(epoch)
        if stage is None:
            return self.train
        return replace(
            self.train,
            size=self._size(stage),
            augmentation=stage.augmentation,
            mixing=stage.mixing,
        )

    def _stage(self, epoch: int) -> RecipeStage | None:
        number = self.recipe.stage_of(epoch)
        return None if number is None else self.recipe.stages[number]

    def _size(self, stage: RecipeStage) -> Size:
        """Of a stage's images: the recipe's, in proportion to the network's own resolution."""
        height, width = (
            max(SMALLEST, round(stage.image_size * side / (self.recipe.resolution or side)))
            for side in self.network.resolution
        )
        return height, width

    def is_over(self, epochs: int, best_epoch: int) -> bool:
        """Whether a run has ended after so many epochs, of which one was the best so far.

        Patience counts in the last of the recipe's phases only: what comes before it, such as a
        head that is trained alone, is to end when the recipe says so.
        """
        if epochs >= self.recipe.epochs:
            return True
        if self.recipe.patience is None:
            return False
        return epochs - max(best_epoch, self.phases[-1].began) >= self.recipe.patience

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an optimizer in every epoch."""
        return len(self.train)

    @property
    def dtype(self) -> str:
        """Of the weights."""
        return "float64" if self.precision == "float64" else "float32"

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The recipe's phases that have epochs, each in as many parts as it has stages."""
        recipe, steps = self.recipe, self.steps_per_epoch
        always = frozen_sections(self.network, self.freeze)
        backbone = frozen_sections(self.network, BACKBONE)
        found = []
        for number, phase in enumerate(recipe.phases):
            optimization = recipe.optimization(recipe.batch, steps, number)
            frozen = backbone if phase.trains == "head" else always
            whole = recipe.epochs_of(number)
            for _, part in groupby(whole, recipe.stage_of):
                epochs = list(part)
                span = range(epochs[0], epochs[-1] + 1)
                dropout = self._dropout(span.start)
                norms = phase.keeps_batch_norms
                found.append(Phase(span, whole.start, optimization, frozen, dropout, norms))
        return tuple(found)

    def _dropout(self, epoch: int) -> float:
        stage = self._stage(epoch)
        given = None if stage is None else stage.dropout
        return self.network.dropout if given is None else given


def check_precision(precision: str) -> None:
    """Refuse an arithmetic that there is not.

    Raises:
        RosettaError: it is unknown.
    """
    if precision not in PRECISIONS:
        raise RosettaError(f"unknown precision {precision!r}; choose from {', '.join(PRECISIONS)}")


def frozen_sections(network: Network, freeze: str | int) -> frozenset[str]:
    """The roles of the sections of the first `freeze` stages, or of the backbone.

    Raises:
        RosettaError: it is neither "backbone" nor the number of a stage.
    """
    stages = max(network.stages) - 1
    if freeze == BACKBONE:
        return frozenset(section.role for section in network.maps)
    number = int(freeze) if str(freeze).isdecimal() else -1
    if not 0 <= number <= stages:
        raise UsageError(
            f"freeze is {freeze}; it must be {BACKBONE} or 0 to {stages} stages", argument="freeze"
        )
    return frozenset(section.role for section in network.sections if section.stage <= number)


def step_seed(seed: int, *numbers: int) -> int:
    """The seed of what is random in one step of one process, below 2^32."""
    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1)[0])
