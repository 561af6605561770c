"""The policies and operations of timm and torchvision beside ours.

Where the definition is the same, the values are, bit for bit: other libraries' random numbers are
replaced by ours.  Every difference that the page of augmentation names is shown here.
"""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, decode
from efficientnet_rosetta.common.images.operations import FILL, LEVELS, OPERATIONS
from efficientnet_rosetta.common.images.policies import (
    AUTOAUGMENT_PAPER,
    AUTOAUGMENT_V0,
    Change,
    changed,
)
from parity_tests.given import Given, give
from parity_tests.peers import operators

operators.declare()

from timm import data as timm_data  # noqa: E402
from timm.data import auto_augment as timm_policies  # noqa: E402
from torchvision.transforms import autoaugment as torchvision_policies  # noqa: E402

SIDE = 96
AS_HERE = {
    "img_mean": FILL,
    "interpolation": Image.Resampling.NEAREST,
    "translate_const": 250,
}
VALUELESS = {"AutoContrast", "Equalize", "Invert"}
# Of operations of ours: what timm calls the one of the same definition.
IN_TIMM = {"autoaugment-paper": {"Posterize": "PosterizeOriginal"}}
SHARED = [name for name in OPERATIONS if name != "Cutout"]  # timm erases at random instead


@pytest.fixture(scope="module")
def photograph():
    picture = Image.fromarray(decode(PHOTOGRAPH.read_bytes(), PHOTOGRAPH.name))
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def once(image, operation, value):
    return changed(image, [Change(operation, value, (0.5, 0.5))])


# ------------------------------------------------------------------ the lists


def rows_of(subpolicies, levels=True):
    """Operation, probability and level of both steps, without the levels that have no meaning."""
    return [
        tuple((o, p, level if levels or o not in VALUELESS else None) for o, p, level in pair)
        for pair in subpolicies
    ]


def of_timm(name):
    policy = timm_policies.auto_augment_policy(name)
    return [
        tuple((op.name.removesuffix("Original"), op.prob, op.magnitude) for op in pair)
        for pair in policy
    ]


def test_the_papers_list_is_that_of_timm_and_of_torchvision():
    assert rows_of(AUTOAUGMENT_PAPER.subpolicies) == of_timm("original")
    policy = torchvision_policies.AutoAugment(torchvision_policies.AutoAugmentPolicy.IMAGENET)
    assert rows_of(AUTOAUGMENT_PAPER.subpolicies, levels=False) == policy.policies


def test_v0_is_that_of_timm_but_for_the_translation():
    ours, theirs = rows_of(AUTOAUGMENT_V0.subpolicies), of_timm("v0")
    different = [place for place, pair in enumerate(ours) if pair != theirs[place]]
    assert different == [15]
    assert ours[15][1] == ("TranslateY", 0.8, 9)
    assert theirs[15][1] == ("TranslateYRel", 0.8, 9)
    # Of the height here: .405 of it there, 225 pixels here.
    assert timm_policies.LEVEL_TO_ARG["TranslateYRel"](9, {})[0] in (0.405, -0.405)
    assert LEVELS["autoaugment-v0"]["TranslateY"].value(9) == 225


def test_randaugment_has_timms_operations_and_cutout_and_torchvisions_but_for_three():
    theirs = {name.removesuffix("Rel") for name in timm_policies._RAND_TRANSFORMS}
    assert set(OPERATIONS) - theirs == {"Cutout"}
    space = torchvision_policies.RandAugment()._augmentation_space(31, (224, 224))
    assert set(OPERATIONS) ^ set(space) == {"Cutout", "Invert", "SolarizeAdd", "Identity"}


# ------------------------------------------------------------------ levels


def in_timm(levels, operation, level, **options):
    """A value of timm's, without its sign."""
    convert = timm_policies.LEVEL_TO_ARG[IN_TIMM.get(levels, {}).get(operation, operation)]
    return abs(convert(level, {**AS_HERE, **options})[0])


@pytest.mark.parametrize("levels", LEVELS)
def test_values_are_timms_but_for_what_timm_cannot_do(levels):
    options = {"translate_const": 100} if levels == "randaugment" else {}
    different = {}
    for name, rule in LEVELS[levels].items():
        if name in VALUELESS | {"Cutout"}:
            continue
        for level in (*range(11), 20 / 3, 25 / 3):
            ours, theirs = rule.value(level), in_timm(levels, name, level, **options)
            if ours != theirs:
                different[name, level] = ours, theirs
    none = {("Posterize", level): (1, 0) for level in (0, 1, 2)}
    assert different == ({} if levels == "autoaugment-paper" else none)


@pytest.mark.parametrize("magnitude", [15, 20, 28])
def test_beyond_10_only_timms_cap_of_solarize_add_differs(magnitude):
    """With `mmax`; without it timm has nothing above 10."""
    found = {
        name
        for name, rule in LEVELS["randaugment"].items()
        if name not in VALUELESS | {"Cutout"}
        and rule.value(magnitude) != in_timm("randaugment", name, magnitude, translate_const=100)
    }
    expected = {"SolarizeAdd"} if magnitude > 11 else set()
    assert found == expected | ({"Posterize"} if magnitude > 22 else set())  # 11 bits there


# What torchvision has at the same level (bin) of AutoAugment, 0 to 9, at 224 pixels.
OF_TORCHVISION = {
    "Posterize": [8, 8, 7, 7, 6, 6, 5, 5, 4, 4],
    "Solarize": [255 - 255 * level / 9 for level in range(10)],
    "Rotate": [30 * level / 9 for level in range(10)],
    "ShearX": [0.3 * level / 9 for level in range(10)],
    "Color": [0.9 * level / 9 for level in range(10)],
    "Contrast": [0.9 * level / 9 for level in range(10)],
    "Sharpness": [0.9 * level / 9 for level in range(10)],
    "TranslateY": [150 / 331 * 224 * level / 9 for level in range(10)],
}


@pytest.mark.parametrize("operation", OF_TORCHVISION)
def test_torchvision_has_other_values_at_the_same_level(operation):
    policy = torchvision_policies.AutoAugment()
    space, signed = policy._augmentation_space(10, (224, 224))[operation]
    np.testing.assert_allclose(space.numpy(), OF_TORCHVISION[operation], rtol=1e-5)
    assert signed == (operation not in ("Posterize", "Solarize"))
    ours = [
        LEVELS["autoaugment-v0" if operation == "TranslateY" else "autoaugment-paper"][
            operation
        ].value(level)
        for level in range(10)
    ]
    theirs = space.numpy()
    if operation in ("Posterize", "Solarize"):  # stronger with the level there, milder here
        assert np.all(np.diff(ours) >= 0)
        assert np.all(np.diff(theirs) <= 0)
    elif operation in ("Rotate", "ShearX"):
        np.testing.assert_allclose(theirs, np.array(ours) * 10 / 9, rtol=1e-5)
    elif operation == "TranslateY":
        assert ours[9] == 225 > 2 * theirs[9]
    else:  # 1 plus or minus this there; one factor from 0.1 to 1.72 here
        assert ours[0] == pytest.approx(0.1)
        assert theirs[0] == 0


# ------------------------------------------------------------------ operations


@pytest.mark.parametrize("operation", SHARED)
def test_an_operation_is_timms_bit_for_bit(operation, photograph):
    """At every value of every level, and both signs."""
    values = {
        rules[operation].value(level)
        for rules in LEVELS.values()
        for level in range(0, 21, 4)
        if operation in rules
    }
    if OPERATIONS[operation].signed:
        values |= {-value for value in values}
    picture = Image.fromarray(photograph)
    options = {"fillcolor": FILL, "resample": Image.Resampling.NEAREST}
    for value in values:
        theirs = timm_policies.NAME_TO_OP[operation]
        given = () if operation in VALUELESS else (value,)
        np.testing.assert_array_equal(
            once(photograph, operation, value), np.asarray(theirs(picture, *given, **options))
        )
    assert values


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        *((name, [0]) for name in sorted(VALUELESS)),
        ("Posterize", [1, 4, 7, 8]),
        ("Solarize", [0, 76, 204, 256]),
        ("Rotate", [-27, 0, 3, 24]),
        ("ShearX", [-0.27, 0.15]),
        ("ShearY", [-0.12, 0.21]),
        ("TranslateX", [-90, 30]),
        ("TranslateY", [-45, 225]),
        ("Color", [0.1, 0.82, 1.72]),
        ("Contrast", [0.28, 1.54]),
        ("Brightness", [0.1, 1.9, 3.7]),
        ("Sharpness", [0.1, 1.36]),
    ],
)
def test_an_operation_is_torchvisions_of_a_picture(operation, values, photograph):
    """Its factors are counted from 1, and a positive translation goes the other way."""
    for value in values:
        magnitude = value
        if operation in ("Color", "Contrast", "Brightness", "Sharpness"):
            magnitude = value - 1.0
        elif operation.startswith("Translate"):
            magnitude = -value
        nearest = torchvision_policies.InterpolationMode.NEAREST
        theirs = torchvision_policies._apply_op(
            Image.fromarray(photograph), operation, magnitude, nearest, list(FILL)
        )
        np.testing.assert_array_equal(once(photograph, operation, value), np.asarray(theirs))


def test_torchvision_cuts_a_translation_to_whole_pixels(photograph):
    """By 45.6 it takes the place of the nearest pixel here, and of the 45th there."""
    picture, nearest = Image.fromarray(photograph), torchvision_policies.InterpolationMode.NEAREST
    theirs = torchvision_policies._apply_op(picture, "TranslateY", -45.6, nearest, list(FILL))
    np.testing.assert_array_equal(once(photograph, "TranslateY", 45), np.asarray(theirs))
    np.testing.assert_array_equal(
        once(photograph, "TranslateY", 45.6), once(photograph, "TranslateY", 46)
    )


@pytest.mark.parametrize("factor", [0.1, 0.28, 1.5, 1.9])
def test_color_of_the_released_code_is_one_level_away_at_most(factor, photograph):
    """It cuts what TensorFlow's grey is, where Pillow rounds."""
    image = tf.constant(photograph)
    grey = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))
    first, second = (tf.cast(part, tf.float32) for part in (grey, image))
    theirs = tf.cast(tf.clip_by_value(first + factor * (second - first), 0.0, 255.0), tf.uint8)
    ours = once(photograph, "Color", factor).astype(int)
    assert np.abs(ours - theirs.numpy().astype(int)).max() == 1


def test_a_shear_of_the_released_code_is_half_a_pixel_from_pillows(photograph):
    """Its origin is the middle of the first pixel; at most .15 pixels at the largest level."""
    picture, slope = Image.fromarray(photograph), 0.27
    theirs = picture.transform(
        picture.size,
        Image.Transform.AFFINE,
        (1, slope, -slope / 2, 0, 1, 0),
        Image.Resampling.NEAREST,
        fillcolor=FILL,
    )
    ours = once(photograph, "ShearX", slope)
    assert 0.01 < (ours != np.asarray(theirs)).mean() < 0.2


@pytest.mark.parametrize(("side", "grey"), [(128, 64), (192, 144), (224, 196), (300, 255)])
def test_contrast_of_the_released_code_blends_towards_another_grey(side, grey, photograph):
    """It sums up a histogram, which is the number of pixels, where the mean was meant."""
    picture = Image.fromarray(photograph).resize((side, side))
    levels = tf.cast(tf.image.rgb_to_grayscale(np.asarray(picture)), tf.int32)
    counts = tf.histogram_fixed_width(levels, [0, 255], 256)
    theirs = tf.clip_by_value(tf.reduce_sum(tf.cast(counts, tf.float32)) / 256, 0.0, 255.0)
    assert int(theirs) == grey
    mean = np.asarray(picture.convert("L")).mean()
    ours = once(np.asarray(picture), "Contrast", 0.0)
    assert np.unique(ours).tolist() == [int(mean + 0.5)]
    assert abs(grey - mean) > 20


# ------------------------------------------------------------------ differences in the policies


def test_timms_v0_cannot_do_its_sub_policy_of_zero_bits(photograph):
    """Level 2 is no bit at all: Pillow refuses it, and the released code keeps one on a CPU."""
    step = AUTOAUGMENT_V0.subpolicies[22][0]
    assert (step.operation, step.level) == ("Posterize", 2)
    with pytest.raises(ValueError, match="bits must be between"):
        timm_policies.AugmentOp("Posterize", 1.0, 2)(Image.fromarray(photograph))
    ours = once(photograph, "Posterize", LEVELS["autoaugment-v0"]["Posterize"].value(2))
    assert np.unique(ours).tolist() == [0, 128]


def test_what_the_released_code_makes_of_two_levels_in_tensorflow(photograph):
    """No bits are one, as here; a threshold of 256 becomes 0, where here nothing is inverted."""
    image = tf.constant(photograph)
    none = tf.bitwise.left_shift(tf.bitwise.right_shift(image, 8), 8)
    np.testing.assert_array_equal(once(photograph, "Posterize", 1), none)
    np.testing.assert_array_equal(tf.where(image < 256, image, 255 - image), 255 - photograph)
    value = LEVELS["autoaugment-v0"]["Solarize"].value(10)
    np.testing.assert_array_equal(once(photograph, "Solarize", value), photograph)


def test_timm_interpolates_by_coin_and_fills_with_the_mean_and_torchvision_with_black():
    both = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
    for interpolation, resample in (("random", both), ("bicubic", Image.Resampling.BICUBIC)):
        transform = timm_data.create_transform(
            224, is_training=True, auto_augment="v0", interpolation=interpolation
        )
        found = [t for t in transform.transforms if isinstance(t, timm_policies.AutoAugment)]
        step = found[0].policy[0][0]
        assert step.kwargs == {"fillcolor": (124, 116, 104), "resample": resample}
        assert step.hparams["translate_const"] == int(0.45 * 224)
    theirs = torchvision_policies.AutoAugment()
    assert theirs.fill is None  # which is black
    assert theirs.interpolation is torchvision_policies.InterpolationMode.NEAREST


def test_magnitude_9_is_not_the_same_strength():
    """9 of 10 in timm and here, 9 of 30 in torchvision, where timm also leaves every other out."""
    space = torchvision_policies.RandAugment()._augmentation_space(31, (224, 224))
    theirs = {name: float(space[name][0][9]) for name in ("Rotate", "ShearX", "Color", "Posterize")}
    assert theirs == pytest.approx({"Rotate": 9, "ShearX": 0.09, "Color": 0.27, "Posterize": 7})
    rules = LEVELS["randaugment"]
    ours = {name: rules[name].value(9) for name in theirs}
    assert ours == pytest.approx({"Rotate": 27, "ShearX": 0.27, "Color": 1.72, "Posterize": 3})
    transform = timm_policies.rand_augment_transform("rand-m9-mstd0.5", {})
    assert {step.prob for step in transform.ops} == {0.5}
    assert {step.magnitude_std for step in transform.ops} == {0.5}


def test_color_of_level_0_is_nearly_grey_here_and_nothing_in_torchvision(photograph):
    """Sub-policies 11 and 20 of the paper."""
    ours = once(photograph, "Color", LEVELS["autoaugment-paper"]["Color"].value(0))
    space, _ = torchvision_policies.AutoAugment()._augmentation_space(10, (SIDE, SIDE))["Color"]
    theirs = once(photograph, "Color", 1 + float(space[0]))
    np.testing.assert_array_equal(theirs, photograph)
    assert np.ptp(ours.astype(int), 2).mean() < 0.15 * np.ptp(photograph.astype(int), 2).mean()


def test_a_policy_of_timm_makes_the_same_image_of_the_same_draws(photograph, monkeypatch):
    """All sub-policies of both lists, but for the two that timm has otherwise, in three ways."""
    picture = Image.fromarray(photograph)
    for ours, name in ((AUTOAUGMENT_PAPER, "original"), (AUTOAUGMENT_V0, "v0")):
        theirs = timm_policies.AutoAugment(timm_policies.auto_augment_policy(name, AS_HERE))
        for place, pair in enumerate(ours.subpolicies):
            if ours is AUTOAUGMENT_V0 and place in (15, 22):
                continue
            for chances, signs in (
                ((0, 0), (0.2, 0.7)),
                ((0.5, 0.7), (0.7, 0.2)),
                ((0.9, 0.1),) * 2,
            ):
                choice = (place + 0.5) / 25
                draws = [
                    choice,
                    *(d for c, s in zip(chances, signs, strict=True) for d in (c, s, 0, 0)),
                ]
                changes = ours.chosen(Given(*draws))
                give(monkeypatch, timm_policies, *in_timms_order(choice, pair, chances, signs))
                expected = np.asarray(theirs(picture))
                np.testing.assert_array_equal(changed(photograph, changes), expected)


def in_timms_order(choice, pair, chances, signs):
    """What timm draws: nothing for a probability of 1, and the upper half for a negative sign."""
    yield choice
    for step, chance, sign in zip(pair, chances, signs, strict=True):
        if step.probability < 1:
            # It applies an operation where we do not only at the probability itself.
            yield chance if chance != step.probability else 1.0
        if chance < step.probability and OPERATIONS[step.operation].signed:
            yield 1 - sign
