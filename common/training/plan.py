"""All that a training run is a function of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import RosettaError, UsageError
from ..images.batches import Batches
from ..network import Network
from .recipes import Recipe
from .schedules import Optimization

PRECISIONS = ("float32", "bfloat16", "float16", "float64")
BACKBONE = "backbone"  # everything but the classifier


# ------------------------------------------------------------------ what a run is


@dataclass(frozen=True)
class Phase:
    """Some epochs in which the same sections are trained, by one optimizer."""

    epochs: range
    optimization: Optimization
    frozen: frozenset[str]  # roles of sections, which run as in inference


@dataclass(frozen=True)
class Training:
    """Everything that a run is a function of; `recipe` has the run's own batch and epochs.

    `freeze` is "backbone" or the number of stages of the paper, from the stem on, that are not
    trained.  `precision` is that of the arithmetic; weights are float32, or float64.
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

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise RosettaError(
                f"unknown precision {self.precision!r}; choose from {', '.join(PRECISIONS)}"
            )
        if self.network.classifier is None:
            raise RosettaError("the network has no classifier to train; give it classes")
        if self.network.classifier.num_classes < 2:
            raise RosettaError("there is one class only; there must be another to tell it from")
        frozen_sections(self.network, self.freeze)

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
        """The recipe's phases that have epochs."""
        recipe, steps = self.recipe, self.steps_per_epoch
        always = frozen_sections(self.network, self.freeze)
        backbone = frozen_sections(self.network, BACKBONE)
        return tuple(
            Phase(
                recipe.epochs_of(number),
                recipe.optimization(recipe.batch, steps, number),
                backbone if phase.trains == "head" else always,
            )
            for number, phase in enumerate(recipe.phases)
            if recipe.epochs_of(number)
        )


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
