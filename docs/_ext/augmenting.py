"""The tables of the page of augmentation: both policies, what levels mean, and what differs.

Values of other libraries are kept in results/augmentation.json, which `python docs/augmentation.py`
writes.  Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

from efficientnet_rosetta.common.images.operations import LEVELS
from efficientnet_rosetta.common.images.policies import POLICIES, Step

SHOWN = (1, 5, 9)  # levels
POLICY_HEAD = ("No.", "Paper: first", "then", "v0: first", "then")
LEVEL_HEAD = (
    "Operation",
    "Value at level L",
    *(f"at {level}" for level in SHOWN),
    "timm at 9",
    "torchvision at 9",
)
DIFFERENCE_HEAD = ("What", "Here", "Elsewhere", "Shown by")
PEERS = "parity_tests/peers/test_augmentation_peers.py"
MIXING_PEERS = "parity_tests/peers/test_mixing_peers.py"
OURS, OUR_MIXING = "parity_tests/test_augmentation.py", "parity_tests/test_mixing.py"


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


# ------------------------------------------------------------------ what differs


class Difference(NamedTuple):
    """What is done here and what elsewhere, and the tests that show it."""

    what: str
    here: str
    elsewhere: str
    tests: tuple[str, ...]


DIFFERENCES = (
    Difference(
        "The list called AutoAugment",
        "both, by name",
        "torchvision has the paper's alone; timm has both, `original` and `v0`, entry by entry but "
        "for one translation",
        (
            f"{PEERS}::test_the_papers_list_is_that_of_timm_and_of_torchvision",
            f"{PEERS}::test_v0_is_that_of_timm_but_for_the_translation",
        ),
    ),
    Difference(
        "TranslateY at level 9 of v0",
        "225 pixels at any size, as in the released code: at 224 pixels nothing but grey is left",
        "timm: 0.405 of the height",
        (
            f"{OURS}::test_a_translation_of_225_pixels_leaves_grey_at_224_pixels",
            f"{PEERS}::test_v0_is_that_of_timm_but_for_the_translation",
        ),
    ),
    Difference(
        "Posterize to 0 bits, levels 0 to 2 of v0",
        "1 bit, as the released code in TensorFlow on a CPU",
        "timm's `v0` stops with an error there, since Pillow takes 1 to 8 bits",
        (
            f"{PEERS}::test_timms_v0_cannot_do_its_sub_policy_of_zero_bits",
            f"{PEERS}::test_what_the_released_code_makes_of_two_levels_in_tensorflow",
        ),
    ),
    Difference(
        "Solarize from 256 on, level 10 of v0",
        "inverts nothing, as in Pillow and timm",
        "the released code's comparison in 8 bits inverts everything",
        (f"{PEERS}::test_what_the_released_code_makes_of_two_levels_in_tensorflow",),
    ),
    Difference(
        "Contrast",
        "towards the mean grey, as in Pillow, timm and torchvision",
        "the released code blends towards the number of pixels divided by 256, and white at most",
        (f"{PEERS}::test_contrast_of_the_released_code_blends_towards_another_grey",),
    ),
    Difference(
        "Rounding of Color",
        "Pillow's",
        "the released code's is up to one level away",
        (f"{PEERS}::test_color_of_the_released_code_is_one_level_away_at_most",),
    ),
    Difference(
        "Origin of a shear",
        "the corner of the image, as in Pillow, timm and torchvision",
        "the released code has the middle of the first pixel",
        (f"{PEERS}::test_a_shear_of_the_released_code_is_half_a_pixel_from_pillows",),
    ),
    Difference(
        "A higher level of Solarize and Posterize",
        "is milder, as in the released code and timm",
        "is stronger in torchvision",
        (f"{PEERS}::test_torchvision_has_other_values_at_the_same_level",),
    ),
    Difference(
        "Color, Contrast, Brightness, Sharpness",
        "one factor a level, and nearly grey at level 0",
        "torchvision goes either way from 1, and does nothing at level 0",
        (
            f"{PEERS}::test_torchvision_has_other_values_at_the_same_level",
            f"{PEERS}::test_color_of_level_0_is_nearly_grey_here_and_nothing_in_torchvision",
        ),
    ),
    Difference(
        "A translation",
        "keeps fractions of a pixel; a positive one goes left and up, as in timm",
        "torchvision cuts it to whole pixels, and goes right and down",
        (
            f"{PEERS}::test_an_operation_is_torchvisions_of_a_picture",
            f"{PEERS}::test_torchvision_cuts_a_translation_to_whole_pixels",
        ),
    ),
    Difference(
        "Interpolation and filling",
        "nearest pixel, grey, as in the released code",
        "timm: bilinear or bicubic, and the mean of the normalization; torchvision: nearest, black",
        (
            f"{PEERS}::"
            "test_timm_interpolates_by_coin_and_fills_with_the_mean_and_torchvision_with_black",
        ),
    ),
    Difference(
        "Operations of RandAugment",
        "16, as in the released code",
        "timm has no Cutout; torchvision has no Cutout, Invert or SolarizeAdd, but one that does "
        "nothing",
        (
            f"{PEERS}::"
            "test_randaugment_has_timms_operations_and_cutout_and_torchvisions_but_for_three",
        ),
    ),
    Difference(
        "Magnitude 9 of RandAugment",
        "9 of 10, and every operation is applied",
        "timm: 9 of 10, noise added, and each applied half of the time; torchvision: 9 of 30",
        (f"{PEERS}::test_magnitude_9_is_not_the_same_strength",),
    ),
    Difference(
        "Magnitudes above 10",
        "go on growing, as in the released code",
        "timm stops at 10 unless told otherwise, and SolarizeAdd at 128",
        (f"{PEERS}::test_beyond_10_only_timms_cap_of_solarize_add_differs",),
    ),
    Difference(
        "Shares of mixup",
        "each image has its own, and keeps the larger part, as in the code of V2",
        "timm and torchvision draw one for a batch",
        (
            f"{OUR_MIXING}::test_mixup_is_the_sum_by_shares_of_which_its_own_is_the_larger",
            f"{MIXING_PEERS}::test_mixup_of_one_share_is_timms",
        ),
    ),
    Difference(
        "Labels of CutMix",
        "by the pixels of each image",
        "the code of V2 gives all images of a batch the mean of their shares",
        (f"{OUR_MIXING}::test_the_share_of_an_image_that_was_cut_is_that_of_its_own_pixels",),
    ),
    Difference(
        "Boxes of CutMix",
        "twice half the side, as in the code of V2 and torchvision",
        "timm's of an odd side is a pixel longer",
        (f"{MIXING_PEERS}::test_a_box_of_cutmix_is_torchvisions_and_the_share_is_counted",),
    ),
    Difference(
        "Random erasing",
        "timm's",
        "torchvision's parts are a little smaller and less flat",
        (
            f"{MIXING_PEERS}::test_erasing_is_timms",
            f"{MIXING_PEERS}::test_torchvision_erases_a_little_less",
        ),
    ),
)


def rows_of_differences() -> list[tuple[str, ...]]:
    """What differs, with links to the tests that show it."""
    return [
        (what, here, elsewhere, ", ".join(f"{{pin}}`{test}`" for test in tests))
        for what, here, elsewhere, tests in DIFFERENCES
    ]
