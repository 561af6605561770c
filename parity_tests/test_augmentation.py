"""Policies of augmentation and random erasing: what is drawn, and what it does to an image.

Other libraries' are asked in peers/test_augmentation_peers.py.
"""

from dataclasses import replace
from pickle import dumps, loads

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.augment import Augmentation, rotated
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.colours import colour_change, coloured
from efficientnet_rosetta.common.images.datasets import Sample
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, decode
from efficientnet_rosetta.common.images.erasing import Erasing, erase
from efficientnet_rosetta.common.images.families import FAMILIES
from efficientnet_rosetta.common.images.operations import FILL, LEVELS, OPERATIONS
from efficientnet_rosetta.common.images.policies import (
    AUTOAUGMENT_PAPER,
    AUTOAUGMENT_V0,
    MOST_MAGNITUDE,
    POLICIES,
    AutoAugment,
    Change,
    RandAugment,
    Step,
    changed,
    get_policy,
)
from efficientnet_rosetta.common.images.transforms import training_image
from parity_tests.given import Given

SIDE = 96
HIGHEST = np.nextafter(1, 0)  # the largest number that a generator draws


@pytest.fixture(scope="module")
def photograph():
    picture = Image.fromarray(decode(PHOTOGRAPH.read_bytes(), PHOTOGRAPH.name))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def erased(image, erasing, random):
    """A copy of an image, with a part of it erased."""
    found = image.copy()
    erase(found, erasing, random)
    return found


def once(image, operation, value, place=(0.5, 0.5)):
    return changed(image, [Change(operation, value, place)])


# ------------------------------------------------------------------ operations


def test_there_are_the_sixteen_operations_of_the_released_code_in_its_order():
    """An index that RandAugment draws means the same one as there."""
    assert " ".join(OPERATIONS) == (
        "AutoContrast Equalize Invert Rotate Posterize Solarize Color Contrast Brightness "
        "Sharpness ShearX ShearY TranslateX TranslateY Cutout SolarizeAdd"
    )
    signed = {name for name, operation in OPERATIONS.items() if operation.signed}
    assert signed == {"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"}
    assert set(LEVELS["randaugment"]) == set(LEVELS["autoaugment-v0"]) == set(OPERATIONS)


@pytest.mark.parametrize(
    ("levels", "operation", "expected"),
    [
        ("autoaugment-v0", "Posterize", [1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4]),
        ("autoaugment-paper", "Posterize", [4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8]),
        ("autoaugment-v0", "Solarize", [0, 25, 51, 76, 102, 128, 153, 179, 204, 230, 256]),
        ("autoaugment-v0", "SolarizeAdd", [0, 11, 22, 33, 44, 55, 66, 77, 88, 99, 110]),
        ("autoaugment-v0", "Cutout", [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ("randaugment", "Cutout", [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]),
        ("autoaugment-v0", "TranslateY", [25 * level for level in range(11)]),
        ("randaugment", "TranslateX", [10 * level for level in range(11)]),
        ("autoaugment-paper", "Rotate", [3 * level for level in range(11)]),
        ("autoaugment-v0", "ShearX", [0.03 * level for level in range(11)]),
        ("autoaugment-paper", "Color", [0.1 + 0.18 * level for level in range(11)]),
        ("randaugment", "Invert", [0] * 11),
    ],
)
def test_levels_become_the_values_of_the_released_code(levels, operation, expected):
    found = [LEVELS[levels][operation].value(level) for level in range(11)]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("magnitude", "expected"),
    [
        (20 / 3, {"Rotate": 20, "Posterize": 2, "Solarize": 170, "SolarizeAdd": 73, "Cutout": 26}),
        (15, {"Rotate": 45, "Posterize": 6, "Color": 2.8, "SolarizeAdd": 165, "TranslateX": 150}),
        (20, {"ShearX": 0.6, "Posterize": 8, "Color": 3.7, "SolarizeAdd": 220, "Cutout": 80}),
        (28, {"Posterize": 8, "Solarize": 256, "SolarizeAdd": 308, "TranslateY": 280}),
        (MOST_MAGNITUDE, {"Rotate": 300, "Cutout": 400, "ShearX": 3}),
    ],
)
def test_a_magnitude_need_not_be_whole_nor_at_most_10(magnitude, expected, photograph):
    """Nothing is refused at any strength, and what has an end stays there."""
    rules = LEVELS["randaugment"]
    found = {name: rules[name].value(magnitude) for name in expected}
    assert found == pytest.approx(expected, rel=1e-12)
    for name, rule in rules.items():
        assert once(photograph, name, rule.value(magnitude)).shape == (SIDE, SIDE, 3)


def test_levels_are_changed_by_their_table(photograph):
    """By hand: every level from 0 to 255 in red, green and blue."""
    ramp = np.stack([np.arange(256, dtype=np.uint8)] * 3, 1)[None]
    levels = np.arange(256)
    brighter = np.where(levels < 128, np.minimum(levels + 165, 255), levels)
    for operation, value, expected in (
        ("Invert", 0, 255 - levels),
        ("Posterize", 1, levels & 0b10000000),
        ("Posterize", 3, levels & 0b11100000),
        ("Solarize", 0, 255 - levels),
        ("Solarize", 204, np.where(levels < 204, levels, 255 - levels)),
        ("Solarize", 256, levels),
        ("SolarizeAdd", 33, np.where(levels < 128, levels + 33, levels)),
        ("SolarizeAdd", 165, brighter),
        ("Brightness", 0.1, (levels * np.float32(0.1)).astype(int)),
        ("Color", 0.1, levels),
    ):
        np.testing.assert_array_equal(once(ramp, operation, value)[0, :, 1], expected)


def test_what_moves_an_image_fills_with_grey_and_takes_the_nearest_pixel(photograph):
    """A positive value moves to the left, up, and anticlockwise."""
    grey = np.broadcast_to(np.uint8(FILL), photograph.shape)
    left = np.concatenate([photograph[:, 20:], grey[:, :20]], 1)
    np.testing.assert_array_equal(once(photograph, "TranslateX", 20), left)
    down = np.concatenate([grey[:20], photograph[:-20]], 0)
    np.testing.assert_array_equal(once(photograph, "TranslateY", -20), down)
    np.testing.assert_array_equal(once(photograph, "Rotate", 90), np.rot90(photograph))
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    sheared = once(photograph, "ShearX", 0.27)
    source = np.floor(columns + 0.27 * rows).astype(int)
    expected = np.where(
        (source < SIDE)[..., None], photograph[rows.astype(int), source % SIDE], grey
    )
    np.testing.assert_array_equal(sheared, expected)
    np.testing.assert_array_equal(
        once(photograph.swapaxes(0, 1), "ShearY", 0.27).swapaxes(0, 1), sheared
    )


def test_a_translation_of_225_pixels_leaves_grey_at_224_pixels():
    """Sub-policy 16 of v0 has it; the released code does not scale it with the image."""
    value = LEVELS["autoaugment-v0"]["TranslateY"].value(9)
    for side, rows in ((224, 0), (240, 15), (300, 75)):
        moved = once(np.full((side, 8, 3), 7, np.uint8), "TranslateY", value)
        assert (moved == 7).all((1, 2)).sum() == rows
        assert set(np.unique(moved)) <= {7, 128}


@pytest.mark.parametrize(
    ("place", "rows", "columns"),
    [
        ((0.5, 0.5), (24, 72), (24, 72)),
        ((0.0, HIGHEST), (0, 24), (71, 96)),
        ((0.25, 0.1), (0, 48), (0, 33)),
    ],
)
def test_a_square_is_cut_out_about_its_place(photograph, place, rows, columns):
    expected = photograph.copy()
    expected[slice(*rows), slice(*columns)] = FILL
    np.testing.assert_array_equal(once(photograph, "Cutout", 24, place), expected)
    np.testing.assert_array_equal(once(photograph, "Cutout", 0, place), photograph)


def test_an_image_is_not_changed_in_place_and_an_unchanged_one_is_given_back(photograph):
    kept = photograph.copy()
    for name in OPERATIONS:
        once(photograph, name, LEVELS["randaugment"][name].value(7))
    np.testing.assert_array_equal(photograph, kept)
    mirrored = once(photograph[:, ::-1], "TranslateX", 9)
    np.testing.assert_array_equal(mirrored, once(photograph[:, ::-1].copy(), "TranslateX", 9))
    np.testing.assert_array_equal(changed(photograph, ()), photograph)
    assert changed(np.array([[[0.9, 7.9, 260.0]]]), ()).tolist() == [[[0, 7, 255]]]


def test_levels_that_are_not_whole_are_cut_as_the_released_code_casts_them():
    image = np.array([[[-3.0, 0.99, 254.99], [255.4, 127.5, 300.0]]])
    expected = 255 - np.array([[[0, 0, 254], [255, 127, 255]]])
    np.testing.assert_array_equal(once(image, "Invert", 0), expected)


# ------------------------------------------------------------------ policies


def test_the_two_lists_have_no_sub_policy_in_common():
    paper, released = (
        {tuple(sorted(pair)) for pair in policy.subpolicies}
        for policy in (AUTOAUGMENT_PAPER, AUTOAUGMENT_V0)
    )
    assert not paper & released
    assert len(AUTOAUGMENT_PAPER.subpolicies) == len(AUTOAUGMENT_V0.subpolicies) == 25
    assert (len(paper), len(released)) == (20, 25)  # the paper prints five of them twice
    first = Given(0.0, *[0.0] * 8)
    assert AUTOAUGMENT_PAPER.chosen(first)[0].value == 7  # bits of level 8, by the paper's range


def test_a_sub_policy_is_drawn_uniformly_and_each_step_by_its_probability():
    policy = AutoAugment(
        "two",
        (
            (Step("Invert", 0.0, 0), Step("Rotate", 1.0, 10)),
            (Step("Posterize", 0.4, 6), Step("ShearX", 0.6, 3)),
        ),
    )
    never = Given(0.499, 0, 0.5, 0.5, 0.5, HIGHEST, 0.5, 0.5, 0.5)
    assert [change[:2] for change in policy.chosen(never)] == [("Rotate", 30.0)]
    both = Given(0.5, np.nextafter(0.4, 0), 0.1, 0.2, 0.3, 0.0, 0.499, 0.4, 0.5)
    assert policy.chosen(both) == (
        Change("Posterize", 2, (0.2, 0.3)),
        Change("ShearX", -0.09, (0.4, 0.5)),
    )
    neither = Given(HIGHEST, 0.4, 0, 0, 0, 0.6, 0, 0, 0)
    assert policy.chosen(neither) == ()
    assert {draws.taken for draws in (never, both, neither)} == {9}


def test_signs_are_a_fair_coin_and_only_of_what_moves():
    """As the released code: the value stays as it is in the upper half."""
    names = list(OPERATIONS)
    for index, name in enumerate(names):
        choice = (index + 0.5) / len(names)
        plus, minus = (
            RandAugment(1, 7).chosen(Given(choice, sign, 0, 0))[0] for sign in (0.5, 0.4999)
        )
        assert plus.operation == minus.operation == name
        assert plus.value == LEVELS["randaugment"][name].value(7)
        assert minus.value == (-plus.value if OPERATIONS[name].signed else plus.value)


@pytest.mark.parametrize(
    ("policy", "draws"),
    [(AUTOAUGMENT_V0, 9), (AUTOAUGMENT_PAPER, 9), (RandAugment(2, 9), 8), (RandAugment(3, 5), 12)],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_follows_does_not_depend_on_what_was_chosen(policy, draws):
    for seed in range(30):
        random, skipped = np.random.default_rng(seed), np.random.default_rng(seed)
        policy.chosen(random)
        skipped.random(draws)
        assert random.random() == skipped.random()


def test_a_seed_chooses_what_it_chose():
    """Changing any of these numbers changes the images of every training."""
    found = [
        [(change.operation, round(change.value, 3)) for change in policy.chosen(random)]
        for policy in (AUTOAUGMENT_V0, AUTOAUGMENT_PAPER, RandAugment(2, 20 / 3))
        for random in (np.random.default_rng([0, 3, place]) for place in (1, 2))
    ]
    assert found == [
        [("ShearY", -0.12)],
        [("Solarize", 204), ("Equalize", 0)],
        [("Rotate", -27)],
        [("Color", 0.82), ("Contrast", 1.54)],
        [("AutoContrast", 0), ("AutoContrast", 0)],
        [("Cutout", 26), ("Sharpness", 1.3)],
    ]


def test_policies_have_names():
    for name, policy in POLICIES.items():
        assert get_policy(name) is policy
        assert policy.name == str(policy) == name
    assert get_policy("randaugment-2-6.67") == RandAugment(2, 6.67)
    for magnitude in (15, 20 / 3, 1e-5, 0.1 + 0.2):  # as a run writes it down, and reads it again
        policy = RandAugment(3, magnitude)
        assert get_policy(policy.name) == policy
    assert RandAugment(2, 10.0).name == RandAugment(2, 10).name == "randaugment-2-10"
    assert str(RandAugment(2, 20 / 3)) == "randaugment-2-6.667"
    assert str(Erasing(0.25)) == "0.25, 0.02 to 0.333 by the mean"
    for policy in (AUTOAUGMENT_V0, RandAugment(1, 9)):
        assert loads(dumps(policy)) == policy  # as processes that read images are sent it


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: get_policy("autoaugment"), "choose from autoaugment-paper, autoaugment-v0"),
        (lambda: get_policy("randaugment-2"), "unknown policy 'randaugment-2'"),
        (lambda: get_policy("randaugment-two-9"), "unknown policy 'randaugment-two-9'"),
        (lambda: RandAugment(0, 9), "0 layers; give 1 to 100"),
        (lambda: get_policy("randaugment-1000000000-9"), "1000000000 layers; give 1 to 100"),
        (lambda: RandAugment(2, -1), "magnitude of RandAugment is -1"),
        (lambda: get_policy("randaugment-2-1e308"), r"is 1e\+308; give 0 to 100, of which 10"),
        (lambda: RandAugment(2, float("nan")), "magnitude of RandAugment is nan"),
        (lambda: AutoAugment("mine", ((Step("Blur", 1, 1),),)), "mine has the operation 'Blur'"),
        (
            lambda: AutoAugment("mine", ((Step("Invert", 1.5, 1),),)),
            "Invert with a probability of 1.5",
        ),
        (lambda: Erasing(probability=2), "probability of erasing is 2"),
        (lambda: Erasing(area=(0.5, 0.1)), r"area that is erased is \(0.5, 0.1\)"),
        (lambda: Erasing(aspect=(0, 1)), r"aspect of what is erased is \(0, 1\)"),
        (lambda: Erasing(aspect=(1.0, 1e308)), r"give two ratios from 0.01 to 100"),
    ],
)
def test_what_is_no_policy_is_one_line(make, message):
    with pytest.raises(UsageError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ random erasing


def test_a_part_of_the_drawn_area_and_aspect_is_erased():
    """By hand: of 80 x 60 a quarter, three times as high as wide, is 60 x 20."""
    erasing = Erasing(probability=1.0, area=(0.25, 0.25), aspect=(3.0, 3.0))
    image = np.ones((3, 80, 60), np.float32)
    for down, across, top, left in ((0, 0, 0, 0), (HIGHEST, HIGHEST, 20, 40), (0.5, 0.25, 10, 10)):
        found = erased(image, erasing, Given(0, 0.5, 0.5, down, across, *[0] * 36))
        expected = image.copy()
        expected[:, top : top + 60, left : left + 20] = 0
        np.testing.assert_array_equal(found, expected)
    assert image.all()


def test_erasing_tries_again_and_then_leaves_an_image_as_it_is():
    """A part as high as the image does not count; area .5 of 40 x 40 by 4 is 57 pixels high."""
    image = np.ones((3, 40, 40), np.float32)
    erasing = Erasing(probability=1.0, area=(0.1, 0.5), aspect=(1.0, 4.0))
    too_high, fits = (1, 1, 0, 0), (0, 0, 0, 0)
    found = erased(image, erasing, Given(0, *too_high, *fits, *too_high * 8))
    assert (found == 0).sum() == 3 * 13 * 13  # the root of 160 is 12.65
    never = Erasing(probability=1.0, area=(0.25, 0.25), aspect=(4.0, 4.0))  # 40 x 10
    for one, draws in ((erasing, too_high), (never, (0.5, 0.5, 0, 0))):
        assert erased(image, one, Given(0, *draws * 10)).all()


def test_erasing_comes_in_by_its_probability_and_noise_is_of_every_pixel():
    image = np.full((3, 32, 32), 9, np.float32)
    tries = [0.5] * 40
    assert erased(image, Erasing(0.25), Given(0.25, *tries)).all()
    assert not erased(image, Erasing(0.25), Given(0.2499, *tries)).all()
    noisy = erased(image, Erasing(1.0, noise=True), np.random.default_rng(1))
    values = noisy[noisy != 9]
    assert len(np.unique(values)) == len(values) > 100
    assert noisy.dtype == np.float32


# ------------------------------------------------------------------ a training image


def test_a_policy_comes_after_the_flip_and_erasing_after_the_normalization(photograph):
    """Seed 2 mirrors, and its policy shears, which is something else before mirroring."""
    size, seed = (SIDE, SIDE), 2
    everything = Augmentation(flip=True, policy=RandAugment(2, 9), erasing=Erasing(1.0))
    found = training_image(photograph, size, everything, np.random.default_rng(seed))
    random = np.random.default_rng(seed)
    assert random.random() < 0.5
    changes = RandAugment(2, 9).chosen(random)
    image = changed(photograph[:, ::-1], changes)
    assert (image != changed(photograph, changes)[:, ::-1]).any()
    expected = training_image(image, size, Augmentation(), random)
    expected = erased(expected, Erasing(1.0), random)
    np.testing.assert_array_equal(found, expected)
    assert (found == 0).all(0).any()  # the mean, which is 0 after the normalization only


def test_a_policy_leaves_whole_levels_and_erasing_does_not():
    """Of a family that resizes to fractions of levels too: what a device can look up itself."""
    family = next(family for family in FAMILIES.values() if not family.interpolation.rounds)
    samples = [Sample(PHOTOGRAPH, label) for label in range(4)]
    plain, policy = Augmentation(flip=True), Augmentation(flip=True, policy=AUTOAUGMENT_PAPER)
    batches = Batches(samples, (16, 16), 4, policy, family=family)
    assert batches.has_levels
    raw, whole = (batches.read(0, 0, raw=raw).images for raw in (True, False))
    looked_up = np.stack([batches.table[c][raw[:, c]] for c in range(3)], 1)
    np.testing.assert_array_equal(looked_up, whole)
    for other in (plain, replace(policy, erasing=Erasing())):
        assert not replace(batches, augmentation=other).has_levels


def test_without_a_policy_no_numbers_are_drawn_for_one(photograph):
    """Images of recipes without policy and erasing are what they were before there were any."""
    augmentation = Augmentation(flip=True, rotation=5.0, brightness=0.2)
    found = training_image(photograph, (SIDE, SIDE), augmentation, np.random.default_rng(2))
    random = np.random.default_rng(2)
    assert random.random() < 0.5  # which mirrors
    image = rotated(photograph[:, ::-1], random.uniform(-5, 5))
    change = colour_change(Augmentation(brightness=0.2), random)
    assert found.tobytes() == coloured(image, change).tobytes()
