"""The training recipes as data, with the source of every number."""

from __future__ import annotations

from dataclasses import replace

from ..errors import UsageError
from ..images.augment import INCEPTION_CROP, Augmentation
from ..images.policies import AUTOAUGMENT_PAPER, AUTOAUGMENT_V0
from .recipe import Recipe, RecipePhase, RecipeStage
from .schedules import BATCH_PER_RATE
from .v2_recipes import MINIVAL, V2_RECIPES

__all__ = ["NETWORK_SOURCES", "RECIPES", "Recipe", "RecipePhase", "RecipeStage", "get_recipe"]

# Recipes with a name for all sizes of an architecture, of which each has its own.
BY_SIZE = ("v2", "v2-paper")

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
            version=2,  # AutoAugment, and a minival
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
            augmentation=replace(INCEPTION_CROP, policy=AUTOAUGMENT_PAPER),
            minival=MINIVAL,
            sources={
                **dict.fromkeys(("rule", "momentum", "decay", "weight_decay"), _PAPER),
                **dict.fromkeys(("rate", "factor", "every"), _PAPER),
                "epsilon": _SILENT,
                "rate_images": f"{_SILENT} has 0.016 a 256 images, which is 0.256 a 4,096",
                "batch": "follows from the rate, as above",
                "epochs": _SILENT,
                "label_smoothing": "the paper has none",
                "augmentation": f"{_PAPER}: the policy of arXiv 1805.09501; crop: {_CODE}",
                "minival": f"{_PAPER}, 25,000 images; 20 of 1,024 shards, the released code",
            },
        ),
        Recipe(
            name="official",
            version=2,  # AutoAugment, and a minival
            summary="As the released code has it, with its option for AutoAugment.",
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
            augmentation=replace(INCEPTION_CROP, policy=AUTOAUGMENT_V0),
            minival=MINIVAL,
            sources={
                **dict.fromkeys(("rule", "momentum", "decay", "epsilon"), "utils.py there"),
                **dict.fromkeys(("rate", "rate_images", "batch", "weight_decay"), _CODE),
                **dict.fromkeys(("factor", "every", "warmup_epochs", "average"), _CODE),
                "label_smoothing": _CODE,
                "epochs": "218,949 steps of 2,048 images, main.py there",
                "augmentation": "preprocessing.py there; policy_v0, autoaugment.py there, an "
                "option there, with which README.md gives accuracies",
                "minival": "20 of 1,024 shards, README.md there",
            },
        ),
        Recipe(
            name="cosine",
            version=2,  # since 2, colours are changed in float32, all at once
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
            version=2,  # a new head begins with zeros, and batch norms stay as they are
            summary="A new head on a frozen backbone, then all but batch norms at a tenth of the "
            "rate.",
            rule="sgd",
            momentum=0.9,
            rate=0.1,
            rate_images=256,
            batch=32,
            epochs=20,
            weight_decay=1e-5,
            label_smoothing=0.1,
            augmentation=Augmentation(crop_area=(0.5, 1.0), flip=True),
            # The second phase is to begin where the first one ended.  By a batch's own statistics
            # the backbone would compute other features than the head has learned to read.
            phases=(
                RecipePhase(0.5, "head"),
                RecipePhase(0.5, "all", 0.1, keeps_batch_norms=True),
            ),
            # The official one is of logits far above 1 where there are few classes; what is left of
            # it after the first phase would be passed on to the backbone as large gradients.
            new_classifier="zeros",
            sources={
                "new_classifier": "arXiv 1912.11370, its released code",
                **dict.fromkeys(("rule", "momentum", "rate", "rate_images"), "as cosine"),
                **dict.fromkeys(("batch", "epochs", "phases", "augmentation"), "ours"),
                **dict.fromkeys(("weight_decay", "label_smoothing"), "as the official recipe"),
            },
        ),
        *V2_RECIPES,
    )
}


# What training needs beside a recipe, and where the networks have it from.
NETWORK_SOURCES: dict[str, dict[str, str]] = {
    "efficientnet": dict.fromkeys(
        ("batch norm", "activation", "stochastic depth", "dropout"), _PAPER
    ),
    "v2": {
        "batch norm": "google/automl, efficientnetv2/hparams.py",
        "activation": "google/automl, efficientnetv2/hparams.py",
        "stochastic depth": "arXiv 2104.00298, section 5.1",
        "dropout": "google/automl, efficientnetv2/effnetv2_configs.py",
    },
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
    if name in BY_SIZE:
        raise UsageError(f"recipe {name} differs by size; choose from {_listed(name)}")
    if name not in RECIPES:
        raise UsageError(f"unknown recipe {name!r}; choose from {', '.join((*RECIPES, *BY_SIZE))}")
    return RECIPES[name]


def sized(name: str, preset: str | None) -> str:
    """The name of the recipe for a preset, where there is one for each size; any other as it is.

    Raises:
        UsageError: there is none for the preset.
    """
    if name not in BY_SIZE or preset is None:
        return name
    for known in _sizes(name):
        if RECIPES[known].preset == preset:
            return known
    raise UsageError(
        f"recipe {name} has nothing for {preset}; choose from {_listed(name)}", argument="recipe"
    )


def _sizes(name: str) -> list[str]:
    return [known for known in RECIPES if known.rpartition("-")[0] == name]


def _listed(name: str) -> str:
    return ", ".join(_sizes(name))
