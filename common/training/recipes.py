"""Training recipes as data, with the source of every number."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UsageError
from ..images.augment import INCEPTION_CROP, Augmentation
from .schedules import BATCH_PER_RATE, Cosine, Exponential, Optimization, Schedule, scaled_rate


@dataclass(frozen=True)
class RecipePhase:
    """A part of the training: its share of the epochs, what is trained, and at which rate."""

    share: float
    trains: Literal["all", "head"] = "all"
    rate: float = 1.0  # times the recipe's


@dataclass(frozen=True)
class Recipe:
    """How to train, in all its numbers; `sources` says of each where it comes from.

    A `version` counts up whenever the same name comes to other batches or steps than before: a run
    is not continued by another version of its recipe.

    `rate` is that of a batch of `rate_images`, or of any batch where this is None.  The schedule
    either falls by `factor` every `every` epochs, or is half a cosine where these are None.
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
    average: float | None = None
    architecture: str = "efficientnet"  # that it was published for
    phases: tuple[RecipePhase, ...] = (RecipePhase(1.0),)

    def epochs_of(self, phase: int) -> range:
        """The epochs of a phase, from 0; none where its share comes to less than half a one."""
        ends = [0, *itertools.accumulate(part.share for part in self.phases)]
        first, end = (round(self.epochs * ends[phase + further]) for further in (0, 1))
        return range(first, end)

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
        )
        if self.decay is None or self.epsilon is None:  # of RMSProp only
            return optimization
        return replace(optimization, decay=self.decay, epsilon=self.epsilon)


_PAPER = "arXiv 1905.11946, section 5.2"
_CODE = "tensorflow/tpu, efficientnet/main.py"
_SILENT = f"the paper does not say; {_CODE}"
_TRICKS = "arXiv 1812.01187, section 2.1"
_XCEPTION = "arXiv 1610.02357, section 4.2"

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="paper",
            summary="As the paper states it.",
            rule="rmsprop",
            momentum=0.9,
            decay=0.9,
            epsilon=1e-3,
            rate=0.256,
            rate_images=4096,
            batch=4096,
            factor=0.97,
            every=2.4,
            epochs=350,
            weight_decay=1e-5,
            label_smoothing=0.0,
            augmentation=INCEPTION_CROP,
            sources={
                **dict.fromkeys(("rule", "momentum", "decay", "weight_decay"), _PAPER),
                **dict.fromkeys(("rate", "factor", "every"), _PAPER),
                "epsilon": _SILENT,
                "rate_images": f"{_SILENT} has 0.016 a 256 images, which is 0.256 a 4,096",
                "batch": "follows from the rate, as above",
                "epochs": _SILENT,
                "label_smoothing": "the paper has none",
                "augmentation": f"{_SILENT}; its AutoAugment is not applied",
            },
        ),
        Recipe(
            name="official",
            summary="As the released code has it by default.",
            rule="rmsprop",
            momentum=0.9,
            decay=0.9,
            epsilon=1e-3,
            rate=0.016,
            rate_images=BATCH_PER_RATE,
            batch=2048,
            factor=0.97,
            every=2.4,
            warmup_epochs=5,
            epochs=350,
            weight_decay=1e-5,
            label_smoothing=0.1,
            average=0.9999,
            augmentation=INCEPTION_CROP,
            sources={
                **dict.fromkeys(("rule", "momentum", "decay", "epsilon"), "utils.py there"),
                **dict.fromkeys(("rate", "rate_images", "batch", "weight_decay"), _CODE),
                **dict.fromkeys(("factor", "every", "warmup_epochs", "average"), _CODE),
                "label_smoothing": _CODE,
                "epochs": "218,949 steps of 2,048 images, main.py there",
                "augmentation": "preprocessing.py there",
            },
        ),
        Recipe(
            name="cosine",
            summary="SGD with the usual tricks, as in many notes on these networks.",
            rule="sgd",
            momentum=0.9,
            rate=0.1,
            rate_images=256,
            batch=256,
            warmup_steps=1000,
            epochs=120,
            weight_decay=1e-5,
            label_smoothing=0.1,
            augmentation=Augmentation(
                crop_area=(0.08, 1.0),
                flip=True,
                rotation=7.0,
                hue=0.3,
                saturation=(0.6, 1.4),
                brightness=0.3,
                pca_noise=0.1,
            ),
            sources={
                **dict.fromkeys(("rule", "momentum", "warmup_steps"), "notes on these networks"),
                **dict.fromkeys(("rate", "rate_images"), "arXiv 1812.01187, section 3.1"),
                **dict.fromkeys(("batch", "epochs"), _TRICKS),
                "label_smoothing": "arXiv 1812.01187, section 5.2",
                "weight_decay": "as the official recipe",
                "augmentation": f"{_TRICKS}; rotation, hue and brightness: notes on these networks",
            },
        ),
        Recipe(
            name="xception",
            summary="As the Xception paper states it for ImageNet.",
            rule="sgd",
            momentum=0.9,
            rate=0.045,
            rate_images=None,
            batch=32,
            factor=0.94,
            every=2,
            architecture="xception",
            epochs=120,
            weight_decay=1e-5,
            average=0.9999,
            label_smoothing=0.0,
            augmentation=INCEPTION_CROP,
            sources={
                **dict.fromkeys(("rule", "momentum", "rate", "factor", "every"), _XCEPTION),
                "average": f"{_XCEPTION} (Polyak averaging); its share as the official recipe",
                "weight_decay": "arXiv 1610.02357, section 4.3",
                "rate_images": "the paper does not scale it",
                **dict.fromkeys(("batch", "epochs"), "the paper does not say; ours"),
                "label_smoothing": "the paper has none",
                "augmentation": "the paper does not say; as the official recipe",
            },
        ),
        Recipe(
            name="finetune",
            summary="A new head on a frozen backbone, then everything at a tenth of the rate.",
            rule="sgd",
            momentum=0.9,
            rate=0.1,
            rate_images=256,
            batch=32,
            epochs=20,
            weight_decay=1e-5,
            label_smoothing=0.1,
            augmentation=Augmentation(crop_area=(0.5, 1.0), flip=True),
            phases=(RecipePhase(0.5, "head"), RecipePhase(0.5, "all", 0.1)),
            sources={
                **dict.fromkeys(("rule", "momentum", "rate", "rate_images"), "as cosine"),
                **dict.fromkeys(("batch", "epochs", "phases", "augmentation"), "ours"),
                **dict.fromkeys(("weight_decay", "label_smoothing"), "as the official recipe"),
            },
        ),
    )
}


# What training needs beside a recipe, and where the networks have it from.
NETWORK_SOURCES: dict[str, dict[str, str]] = {
    "efficientnet": dict.fromkeys(
        ("batch norm", "activation", "stochastic depth", "dropout"), _PAPER
    ),
    "xception": {
        "batch norm": "the paper does not say; keras.applications",
        "activation": "arXiv 1610.02357, figure 5",
        "dropout": "arXiv 1610.02357, section 4.3",
    },
}


def get_recipe(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        UsageError: there is none.
    """
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}; choose from {', '.join(RECIPES)}")
    return RECIPES[name]
