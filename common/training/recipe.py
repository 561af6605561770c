"""What a training recipe is: all its numbers, and the schedules that follow from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..images.augment import Augmentation
from ..images.mixing import Mixing
from .schedules import Cosine, Exponential, Optimization, Schedule, scaled_rate


@dataclass(frozen=True)
class RecipePhase:
    """A part of the training: its share of the epochs, what is trained, and at which rate.

    The optimizer and its schedule begin anew with every phase.  One that keeps batch norms leaves
    them as they are, scale and bias as well as statistics, and has them run as in inference.
    """

    share: float
    trains: Literal["all", "head"] = "all"
    rate: float = 1.0  # times the recipe's
    keeps_batch_norms: bool = False


@dataclass(frozen=True)
class RecipeStage:
    """One of several equally long parts of progressive learning (arXiv 2104.00298, section 4).

    `image_size` is the side in pixels of the images that are trained on.  The optimizer, its
    schedule and the moving average go on from one stage to the next.
    """

    image_size: int
    augmentation: Augmentation
    mixing: Mixing | None = None
    dropout: float | None = None  # before the classifier; None is the network's own


@dataclass(frozen=True)
class Recipe:
    """How to train, in all its numbers; `sources` says of each where it comes from.

    A `version` counts up whenever the same name comes to other batches or steps than before: a run
    is not continued by another version of its recipe.

    `rate` is that of a batch of `rate_images`, or of any batch where this is None.  The schedule
    either falls by `factor` every `every` epochs, or is half a cosine where these are None.

    `batch` is the number of images in a step of the optimizer, on all devices together.  Each
    device goes through its part of it in `accumulation` equal parts, one after the other, whose
    gradients are added up: this takes less memory, and batch norm sees one part at a time.

    `minival` is the share of the training images that are held out to choose the best epoch by,
    where the data have images to validate on besides; None chooses by those.  With `patience` the
    run ends after so many epochs without a better one.

    The sizes of `stages` are those for a network of `resolution`; for one of another, they are in
    proportion.  `batch_norm` is the share of the statistics that is kept, where it is not the
    network's own.  `class_weights` has the loss of an image weighed by how rare its class is, and
    `sampler` has all classes come equally often; both are against classes of unequal sizes.

    A classifier that replaces that of the first weights is drawn by the official initialisation, or
    is of zeros.
    """

    name: str
    summary: str
    rule: Literal["rmsprop", "sgd"]
    momentum: float
    rate: float
    rate_images: int | None
    batch: int
    epochs: int
    weight_decay: float
    label_smoothing: float
    augmentation: Augmentation
    sources: Mapping[str, str]
    version: int = 1
    decay: float | None = None
    epsilon: float | None = None
    factor: float | None = None
    every: float | None = None
    warmup_epochs: float = 0
    warmup_steps: int = 0
    decays_biases: bool = True
    average: float | None = None
    batch_norm: float | None = None
    architecture: str = "efficientnet"  # that it was published for
    preset: str | None = None  # the one that it was published for; None for all of them
    phases: tuple[RecipePhase, ...] = (RecipePhase(1.0),)
    mixing: Mixing | None = None
    resolution: int | None = None
    stages: tuple[RecipeStage, ...] = ()
    minival: float | None = None
    patience: int | None = None
    accumulation: int = 1
    class_weights: Literal["balanced"] | None = None
    sampler: Literal["balanced"] | None = None
    new_classifier: Literal["random", "zeros"] = "random"
    begun_with: int | None = None  # epochs that a run was to have, where it has more by now

    def epochs_of(self, phase: int) -> range:
        """The epochs of a phase, from 0; none where its share comes to less than half a one."""
        ends = [0, *itertools.accumulate(part.share for part in self.phases)]
        first, end = (round(self.epochs * ends[phase + further]) for further in (0, 1))
        return range(first, end)

    def stage_of(self, epoch: int) -> int | None:
        """The number of the stage that an epoch is in, both from 0; None without stages.

        They begin with an epoch.  The last one is left out of no run, however short that is, and
        goes on where a run was given more epochs.
        """
        if not self.stages:
            return None
        number = (len(self.stages) * (epoch + 1) - 1) // (self.begun_with or self.epochs)
        return min(number, len(self.stages) - 1)

    def optimization(self, batch: int, steps_per_epoch: float, phase: int = 0) -> Optimization:
        """Optimizer and schedule for a batch size and an epoch of so many steps."""
        part = self.phases[phase]
        rate = self.rate * part.rate
        if self.rate_images is not None:
            rate = scaled_rate(rate, batch, self.rate_images)
        warmup = self.warmup_steps + self.warmup_epochs * steps_per_epoch
        steps = round(len(self.epochs_of(phase)) * steps_per_epoch)
        schedule: Schedule
        if self.factor is None or self.every is None:
            schedule = Cosine(rate, steps, min(round(warmup), steps // 2))
        else:
            schedule = Exponential(rate, self.factor, self.every * steps_per_epoch, warmup)
        optimization = Optimization(
            schedule,
            rule=self.rule,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            average=self.average,
            decays_biases=self.decays_biases,
        )
        if self.decay is None or self.epsilon is None:  # of RMSProp only
            return optimization
        return replace(optimization, decay=self.decay, epsilon=self.epsilon)
