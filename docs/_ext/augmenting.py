"""The tables of the page of augmentation: both policies, and what levels mean.

Values of other libraries are kept in results/augmentation.json, which `python docs/augmentation.py`
writes.  Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

from efficientnet_rosetta.common.images.operations import LEVELS
from efficientnet_rosetta.common.images.policies import POLICIES, Step
from facts import result
from generating import generated, table

SHOWN = (1, 5, 9)  # levels


@generated("augmentation policies")
def policies() -> str:
    """Both lists of AutoAugment, side by side."""
    return table(("No.", "Paper: first", "then", "v0: first", "then"), rows_of_policies())


def rows_of_policies() -> list[tuple[str, ...]]:
    """Sub-policies of both lists side by side."""
    lists = [POLICIES[name].subpolicies for name in ("autoaugment-paper", "autoaugment-v0")]
    return [
        (str(number), *(_step(step) for pair in pairs for step in pair or ()))
        for number, pairs in enumerate(zip_longest(*lists), 1)
    ]


def _step(step: Step) -> str:
    return f"{step.operation} {step.probability:g} {step.level:g}"


# ------------------------------------------------------------------ levels


@generated("augmentation levels")
def levels() -> str:
    """What a level means, here and in other libraries."""
    shown = (f"at {level}" for level in SHOWN)
    head = ("Operation", "Value at level L", *shown, "timm at 9", "torchvision at 9")
    return table(head, rows_of_levels(result("augmentation")), "numbers wide")


class Shown(NamedTuple):
    """A row of the table of levels: of what, and what timm has in its place."""

    label: str
    operation: str
    levels: str
    timm: str | None


LEVEL_ROWS = (
    Shown("Rotate", "Rotate", "autoaugment-v0", "Rotate"),
    Shown("ShearX, ShearY", "ShearX", "autoaugment-v0", "ShearX"),
    Shown("TranslateX, TranslateY in AutoAugment", "TranslateX", "autoaugment-v0", "TranslateXRel"),
    Shown("the same in RandAugment", "TranslateX", "randaugment", "TranslateXRel"),
    Shown("Color, Contrast, Brightness, Sharpness", "Color", "autoaugment-v0", "Color"),
    Shown("Posterize in the paper's list", "Posterize", "autoaugment-paper", "PosterizeOriginal"),
    Shown("Posterize in v0 and RandAugment", "Posterize", "autoaugment-v0", "Posterize"),
    Shown("Solarize", "Solarize", "autoaugment-v0", "Solarize"),
    Shown("SolarizeAdd", "SolarizeAdd", "autoaugment-v0", "SolarizeAdd"),
    Shown("Cutout in AutoAugment", "Cutout", "autoaugment-v0", None),
    Shown("the same in RandAugment", "Cutout", "randaugment", None),
)


def rows_of_levels(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every rule with some of its values, and what timm and torchvision have at level 9."""
    rows = []
    for row in LEVEL_ROWS:
        rule = LEVELS[row.levels][row.operation]
        values = (f"{rule.value(level):.4g}" for level in SHOWN)
        rows.append((row.label, rule.formula, *values, _timms(row, found), _theirs(row, found)))
    return rows


def _timms(row: Shown, found: dict[str, Any]) -> str:
    if row.timm is None:
        return "-"
    value = f"{found['timm'][row.timm][9]:.4g}"
    return f"{value} of the side" if row.timm.endswith("Rel") else value


def _theirs(row: Shown, found: dict[str, Any]) -> str:
    """What AutoAugment of torchvision has, whose factors are counted from 1."""
    if row.operation not in found["torchvision"]:
        return "-"
    value = f"{found['torchvision'][row.operation][9]:.4g}"
    if row.operation == "Color":
        return f"1 ± {value}"
    return f"{value} at {found['pixels']} pixels" if row.operation == "TranslateX" else value
