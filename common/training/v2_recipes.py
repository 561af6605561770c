"""The recipes of EfficientNetV2: progressive learning, as its code has it and as its paper has it.

Each size has a recipe of its own, since what its images go through depends on the size.  The two
sources differ: the paper's Table 6 prints other sizes and magnitudes than the code trains with,
raises dropout from stage to stage, and keeps another share of the batch-norm statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..images.augment import INCEPTION_CROP, Augmentation
from ..images.mixing import Mixing
from ..images.policies import AUTOAUGMENT_V0, RandAugment
from ..v2 import PRESETS
from .recipe import Recipe, RecipeStage
from .schedules import BATCH_PER_RATE

STAGES = 4  # effnetv2_configs.py; section 4.2 of the paper
FIRST_SIZE = 128  # pixels: hparams.py, ibase; table 6
FIRST_MAGNITUDE = 5.0  # of RandAugment: main.py; table 6
LAYERS = 2  # of RandAugment: hparams.py, ra_num_layers
HELD_OUT, SHARDS = 20, 1024  # of the training images, datasets.py
MINIVAL = HELD_OUT / SHARDS

_HPARAMS = "google/automl, efficientnetv2/hparams.py"
_CONFIGS = "google/automl, efficientnetv2/effnetv2_configs.py"
_TABLE = "arXiv 2104.00298, table 6"
_SETUP = "arXiv 2104.00298, section 5.1"
_SILENT = f"the paper does not say; {_HPARAMS}"

# preprocessing.py there; V2-B0 to B3 are given those of the first EfficientNets.
_CROP = Augmentation(crop_area=(0.05, 1.0), crop_aspect=(0.75, 1.33), flip=True)


@dataclass(frozen=True)
class _Ends:
    """What a size is trained with at the end, and at the beginning where that depends on it."""

    image_size: int
    magnitude: float | None  # of RandAugment; None is AutoAugment throughout
    mixup: float
    cutmix: float
    dropout: tuple[float, float] | None = None  # None is the network's own throughout


# effnetv2_configs.py, by table: RandAugment, and one number for both ways of mixing.
_STRENGTHS = {"b0": (None, 0.0), "s": (10, 0.0), "m": (15, 0.2), "l": (20, 0.5), "xl": (20, 0.5)}
_CODE = {
    name: _Ends(preset.train, magnitude, mixed, mixed)
    for name, preset in PRESETS.items()
    for magnitude, mixed in (_STRENGTHS[preset.table],)
}
# Table 6.  Transcripts of it differ in the mixup of L, 0.4 or 0.5; the code has 0.5.
_PAPER = {
    "v2-s": _Ends(300, 15, 0, 0, (0.1, 0.3)),
    "v2-m": _Ends(380, 20, 0.2, 0, (0.1, 0.4)),
    "v2-l": _Ends(380, 25, 0.5, 0, (0.1, 0.5)),
}


def _between(first: float, last: float, stage: int) -> float:
    """The value of a stage, in equal steps from the first one's to the last one's."""
    if stage == STAGES - 1:
        return last  # to the bit
    return first + (last - first) * stage / (STAGES - 1)


def _stages(ends: _Ends, first_size: float) -> tuple[RecipeStage, ...]:
    return tuple(_stage(ends, first_size, number) for number in range(STAGES))


def _stage(ends: _Ends, first_size: float, number: int) -> RecipeStage:
    if ends.magnitude is None:
        augmentation = replace(INCEPTION_CROP, policy=AUTOAUGMENT_V0)
    else:
        magnitude = _between(FIRST_MAGNITUDE, ends.magnitude, number)
        augmentation = replace(_CROP, policy=RandAugment(LAYERS, magnitude))
    mixing = Mixing(_between(0, ends.mixup, number), _between(0, ends.cutmix, number))
    return RecipeStage(
        int(_between(first_size, ends.image_size, number)),
        augmentation,
        mixing if mixing != Mixing() else None,
        None if ends.dropout is None else _between(*ends.dropout, number),
    )


def _code(preset: str) -> Recipe:
    ends = _CODE[preset]
    # main.py: the first stage has made one step of four already.
    first_size = FIRST_SIZE + (ends.image_size - FIRST_SIZE) / STAGES
    stages = _stages(ends, first_size)
    return Recipe(
        name=preset,
        summary=f"{_title(preset)} as the released code trains it.",
        rule="rmsprop",
        momentum=0.9,
        decay=0.9,
        epsilon=1e-3,
        rate=0.016,
        rate_images=BATCH_PER_RATE,
        batch=4096,
        factor=0.97,
        every=2.4,
        warmup_epochs=5,
        epochs=350,
        weight_decay=1e-5,
        decays_biases=False,
        label_smoothing=0.1,
        average=0.9999,
        augmentation=stages[-1].augmentation,
        minival=MINIVAL,
        architecture="v2",
        preset=preset,
        resolution=PRESETS[preset].resolution,
        stages=stages,
        sources={
            **dict.fromkeys(("rule", "rate", "rate_images", "batch"), _HPARAMS),
            **dict.fromkeys(("momentum", "decay", "epsilon"), "utils.py there"),
            **dict.fromkeys(("factor", "every", "warmup_epochs", "epochs"), _HPARAMS),
            **dict.fromkeys(("weight_decay", "label_smoothing", "average"), _HPARAMS),
            "decays_biases": "hparams.py, weight_decay_exclude",
            "augmentation": "preprocessing.py there; that of the last stage",
            "minival": "20 of 1,024 shards, datasets.py there",
            "resolution": _CONFIGS,
            "stages": "main.py and effnetv2_configs.py there",
        },
    )


def _paper(preset: str) -> Recipe:
    stages = _stages(_PAPER[preset], FIRST_SIZE)
    return replace(
        _code(preset),
        name=preset.replace("v2-", "v2-paper-"),
        summary=f"{_title(preset)} as the paper states it, in Table 6.",
        rate=0.256,
        rate_images=4096,
        decays_biases=True,
        batch_norm=0.99,
        augmentation=stages[-1].augmentation,
        stages=stages,
        sources={
            **dict.fromkeys(("rule", "momentum", "decay", "weight_decay"), _SETUP),
            **dict.fromkeys(("rate", "factor", "every", "epochs", "average"), _SETUP),
            **dict.fromkeys(("rate_images", "batch"), _SETUP),
            "batch_norm": f"{_SETUP}; the code keeps 0.9",
            **dict.fromkeys(("epsilon", "warmup_epochs", "label_smoothing"), _SILENT),
            "augmentation": f"{_SILENT}; that of the last stage",
            "minival": f"{_SETUP}: 25,000 images; 20 of 1,024 shards, datasets.py of the code",
            "resolution": f"the paper does not say; {_CONFIGS}",
            "stages": f"{_TABLE}, in equal steps; rounded down, which the paper does not say",
        },
    )


def _title(preset: str) -> str:
    return f"EfficientNetV2-{preset.removeprefix('v2-').upper()}"


V2_RECIPES = (*map(_code, _CODE), *map(_paper, _PAPER))
