"""The tables of the page of augmentation: nothing is left out, and what they say is kept."""

import re
import runpy

import pytest

import facts
from augmenting import LEVEL_ROWS, rows_of_levels, rows_of_policies
from efficientnet_rosetta.common.images.operations import LEVELS
from efficientnet_rosetta.common.training.recipes import RECIPES
from parity_tests.site.conftest import ROOT
from tables import GENERATED

VALUELESS = {"AutoContrast", "Equalize", "Invert"}


def test_every_rule_of_a_level_has_a_row():
    shown = {LEVELS[row.levels][row.operation] for row in LEVEL_ROWS}
    for table, rules in LEVELS.items():
        for name, rule in rules.items():
            assert name in VALUELESS or rule in shown, (table, name)


def test_rows_of_levels_are_values_of_three_libraries():
    rows = {row[0]: row[1:] for row in rows_of_levels(facts.result("augmentation"))}
    assert rows["Rotate"] == ("± 3 L degrees", "3", "15", "27", "27", "30")
    assert rows["Posterize in v0 and RandAugment"][1:] == ("1", "2", "3", "3", "4")
    assert rows["Color, Contrast, Brightness, Sharpness"][1:] == (
        *("0.28", "1", "1.72", "1.72"),
        "1 ± 0.9",
    )
    assert rows["TranslateX, TranslateY in AutoAugment"][4] == "0.405 of the side"


def test_both_lists_are_side_by_side():
    rows = rows_of_policies()
    assert len(rows) == 25
    assert rows[0] == ("1", "Posterize 0.4 8", "Rotate 0.6 9", "Equalize 0.8 1", "ShearY 0.8 4")


def test_recipes_train_with_the_policies_that_the_page_names():
    used = {name: str(recipe.augmentation.policy) for name, recipe in RECIPES.items()}
    assert used["paper"] == "autoaugment-paper"
    assert {used[name] for name in ("official", "v2-b0", "v2-b3")} == {"autoaugment-v0"}
    for name in ("v2-s", "v2-m", "v2-l", "v2-xl"):
        assert used[name].startswith("randaugment-2-")
        assert any(stage.mixing for stage in RECIPES[name].stages) == (name != "v2-s")


def test_every_difference_names_tests_that_are_there():
    rows = GENERATED["augmentation differences"]().splitlines()[5:-1]
    assert len(rows) > 15
    for row in rows:
        tests = re.findall(r"\{pin\}`(.+?)`", row)
        assert tests, row
        for test in tests:
            facts.pinned(test)  # or it raises


def test_what_is_kept_of_other_libraries_is_what_they_say():
    kept = facts.result("augmentation")
    asked = runpy.run_path(str(ROOT / "docs" / "augmentation.py"))["asked"]()
    for library in ("timm", "torchvision"):
        assert kept[library].keys() == asked[library].keys()
        for name, values in kept[library].items():
            assert values == pytest.approx(asked[library][name])
