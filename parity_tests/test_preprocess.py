"""From an image file to an array, and from there to what each family of weights sees.

The libraries themselves are asked in peers/test_transforms.py.
"""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common.architectures import PRESETS
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUT_NAMES, LAYOUTS
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.augment import Augmentation
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, decode, load_image
from efficientnet_rosetta.common.images.families import FAMILIES, family_of
from efficientnet_rosetta.common.images.fitting import CropFirst, Interpolation, Squash
from efficientnet_rosetta.common.images.normalization import (
    IMAGENET,
    IMAGENET_MEAN,
    IMAGENET_STD,
    INCEPTION,
    Normalization,
    normalised,
)
from efficientnet_rosetta.common.images.transforms import evaluation_image, training_image
from efficientnet_rosetta.common.images.usual import OFFICIAL
from efficientnet_rosetta.common.training.recipes import get_recipe

# What an interpolation makes of pixels, between 0 and 255 and otherwise as it is.
LEVELS = Normalization((0.0,), (1 / 255,))
RULES = {
    f"{how.rules} {how.kernel}{' antialiased' * how.antialias}": how
    for how in dict.fromkeys(family.interpolation for family in FAMILIES.values())
}


def saved(tmp_path, array, name="image.png", **options):
    path = tmp_path / name
    Image.fromarray(array).save(path, **options)
    return path


def test_one_colour_is_normalised_by_channel(tmp_path):
    pixels = np.full((40, 60, 3), (255, 0, 128), np.uint8)
    image = load_image(saved(tmp_path, pixels), (32, 48))
    assert image.shape == (3, 32, 48)
    expected = (np.array([1, 0, 128 / 255]) - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(image, np.broadcast_to(expected[:, None, None], image.shape))


def test_the_centre_is_cropped_and_not_squeezed(tmp_path):
    pixels = np.zeros((32, 96, 3), np.uint8)
    pixels[:, 32:64] = 255
    image = load_image(saved(tmp_path, pixels), (32, 32))
    assert (image > 0).all()


def test_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 255  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    image = load_image(saved(tmp_path, pixels, exif=exif), (32, 32))
    assert (image[:, :, 24:] > 0).all()
    assert (image[:, :, :8] < 0).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.fromarray(pixels).convert(mode).save(path)
    assert load_image(path, (32, 32)).shape == (3, 32, 32)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
def test_what_is_transparent_or_of_16_bits_is_seen_as_in_a_batch(tmp_path, mode):
    random = np.random.default_rng(0)
    if mode == "I;16":
        image = Image.fromarray(random.integers(2**16, size=(32, 32), dtype=np.uint16))
    else:
        image = Image.fromarray(random.integers(256, size=(32, 32, 4), dtype=np.uint8))
        image = image.convert(mode)
    image.save(tmp_path / "image.png")
    levels = decode((tmp_path / "image.png").read_bytes(), "image.png")
    expected = normalised(levels)
    np.testing.assert_allclose(
        load_image(tmp_path / "image.png", (32, 32)), expected, rtol=1e-5, atol=1e-6
    )


def test_the_photograph_is_a_photograph():
    image = load_image(PHOTOGRAPH, (224, 224))
    assert 0.3 < image.std() < 2
    neighbours = np.corrcoef(image[:, :, 1:].ravel(), image[:, :, :-1].ravel())[0, 1]
    assert neighbours > 0.9  # unlike noise


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "cannot be read as an image"),
        (b"not an image", "cannot be read as an image"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "image.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RosettaError) as caught:
        load_image(path, (32, 32))
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_truncated_image_is_named(tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(PHOTOGRAPH.read_bytes()[:2000])
    with pytest.raises(RosettaError, match="cannot be read as an image"):
        load_image(path, (32, 32))


# ------------------------------------------------------------------ families of weights


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def resized(pixels, size, how):
    """Levels (h, w, 3), of the whole image."""
    family = replace(OFFICIAL, fit=Squash(), interpolation=how, normalization=LEVELS)
    return evaluation_image(pixels, size, family).transpose(1, 2, 0)


def test_what_this_project_trains_with_is_what_it_was():
    """By hand: of 100 x 60 at 28 pixels, 0.875 of the shorter side is 52.5."""
    pixels = noise(100, 60)
    image = Image.fromarray(pixels).resize(
        (28, 28), Image.Resampling.BICUBIC, (3.75, 23.75, 56.25, 76.25)
    )
    expected = (np.asarray(image) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    expected = expected.transpose(2, 0, 1).astype(np.float32)
    assert evaluation_image(pixels, (28, 28)).tobytes() == expected.tobytes()
    assert OFFICIAL is FAMILIES["official"]


def test_every_layout_has_a_family_and_every_family_a_layout():
    assert {family.layout for family in FAMILIES.values()} == set(LAYOUT_NAMES)
    for layout in LAYOUTS:
        for preset in layout.presets:
            architecture = PRESETS[preset].name
            later = "" if architecture == "efficientnet" else f"-{architecture.replace('_', '-')}"
            family = family_of((layout.name,), None, architecture, preset)
            if layout.name == "canonical":
                assert family is OFFICIAL
            else:
                assert family.name.startswith(layout.name + later)
                assert (family.layout, family.architecture) == (layout.name, architecture)
                assert not family.presets or preset in family.presets
            assert layout.normalization in (None, family.normalization)


def test_what_a_file_states_wins_over_its_layout():
    own = Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert family_of(("canonical",), own) == replace(OFFICIAL, normalization=own)
    assert family_of(("timm-tf", "timm"), None) is FAMILIES["timm-tf"]
    assert family_of(("timm-tf", "timm"), IMAGENET) is FAMILIES["timm-tf"]
    assert family_of(("timm-tf", "timm"), INCEPTION) is FAMILIES["timm-tf-ap"]
    assert family_of(("timm",), INCEPTION) is FAMILIES["timm-ra4"]
    assert family_of(("tpu",), INCEPTION) is FAMILIES["tpu-advprop"]


@pytest.mark.parametrize(
    ("layouts", "normalization", "message"),
    [
        (("mine",), None, "no transforms are known of layout 'mine'; choose from canonical, tpu"),
        ((), None, "no transforms are known of layout ''"),
        (("timm",), Normalization((0.5,) * 4, (0.5,) * 4), "red, green and blue"),
        (("timm",), Normalization((0.5,) * 3, (0.5, 0.0, 0.5)), "divides by zero"),
        (("timm",), Normalization((float("nan"),), (0.5,)), "is not finite"),
    ],
)
def test_what_has_no_family_is_one_line(layouts, normalization, message):
    with pytest.raises(RosettaError, match=message) as caught:
        family_of(layouts, normalization)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8, 3)),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_are_no_pixels_is_one_line(pixels):
    with pytest.raises(RosettaError, match=r"must be \(height, width, 3\) of uint8"):
        evaluation_image(pixels, (8, 8))
    with pytest.raises(RosettaError, match=r"must be \(height, width, 3\) of uint8"):
        training_image(pixels, (8, 8), Augmentation(), np.random.default_rng(0))


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_takes_any_image_at_any_size(name):
    augmentation = Augmentation(crop_area=(0.01, 0.2))
    for pixels in (noise(1, 1), noise(3, 70), noise(90, 64)):
        for size in ((32, 32), (40, 24)):
            random = np.random.default_rng(0)
            for found in (
                evaluation_image(pixels, size, FAMILIES[name]),
                training_image(pixels, size, augmentation, random, FAMILIES[name]),
            ):
                assert (found.shape, found.dtype) == ((3, *size), np.float32)
                assert np.isfinite(found).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_trains_on_its_own_interpolation_and_normalization(name):
    family, pixels = FAMILIES[name], noise(48, 48)
    plain = training_image(pixels, (40, 40), Augmentation(), np.random.default_rng(0), family)
    whole = evaluation_image(pixels, (40, 40), replace(family, fit=Squash()))
    assert plain.tobytes() == whole.tobytes()
    randoms = np.random.default_rng(1), np.random.default_rng(1)
    everything = get_recipe("cosine").augmentation
    found = training_image(pixels, (40, 40), everything, randoms[0], family)
    same_numbers = training_image(pixels, (40, 40), everything, randoms[1])
    assert (found.shape, found.dtype) == (same_numbers.shape, np.float32)
    assert randoms[0].random() == randoms[1].random()  # whoever trains, the same parts are seen
    levels = (found.transpose(1, 2, 0) * family.normalization.std + family.normalization.mean) * 255
    others = (same_numbers.transpose(1, 2, 0) * IMAGENET_STD + IMAGENET_MEAN) * 255
    assert np.corrcoef(levels.ravel(), others.ravel())[0, 1] > 0.5


def test_advprop_sees_from_minus_one_to_one():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    names = ("tpu-advprop", "timm-tf-ap", "efficientnet-pytorch-advprop", "efficientnet-jax-ap")
    for name in names:
        found = evaluation_image(pixels, (32, 32), FAMILIES[name])
        assert found[:, :, 0].min() == found[:, :, 0].max() == -1
        assert found[:, :, -1].min() == found[:, :, -1].max() == 1


def test_a_graph_that_normalises_is_fed_what_its_weights_are_not():
    family, pixels = FAMILIES["keras-applications"], noise(70, 90)
    raw = evaluation_image(pixels, (32, 32), replace(family, normalization=family.fed))
    outside = evaluation_image(pixels, (32, 32), family)
    assert raw.max() > 200
    mean, std = (values[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    np.testing.assert_allclose(outside, (raw / 255 - mean) / std, atol=1e-5)
    fed = [f.layout for f in FAMILIES.values() if f.fed != f.normalization]
    assert set(fed) == {family.layout}


# ------------------------------------------------------------------ what is cut off


@pytest.mark.parametrize(
    ("name", "size", "box"),
    [
        # 240 / (240 + 34) of 401 is 351.2, and 25 of the 50 rows left go before.
        ("tpu", 240, (125, 25, 476, 376)),
        # 240 / (240 + 32) of 401 is 353.8; of 48 and 248 left, a half each.
        ("tpu-paper", 240, (124, 24, 477, 377)),
        # 300 / 332 of 401 is 362.3; of 39 rows left, 20 before.
        ("tpu-paper", 300, (120, 20, 482, 382)),
        ("kecam", 224, (100, 0, 501, 401)),
        ("transformers", 224, (0, 0, 601, 401)),
        ("torchvision", 288, (0, 0, 601, 401)),
    ],
)
def test_what_is_cut_before_resizing(name, size, box):
    assert FAMILIES[name].fit.fit((401, 601), (size, size)).box == box


@pytest.mark.parametrize(
    ("name", "size", "edge"),
    [
        ("torchvision", 224, 256),
        ("torchvision", 240, 256),
        ("torchvision", 300, 320),
        ("torchvision", 600, 600),
        ("torchvision", 112, 128),  # of which it has no weights
        ("torchvision-b1-v2", 240, 255),
        ("timm", 256, 292),
        ("timm-test", 288, 288),
        ("timm-ra4", 224, 248),
        ("timm-tf", 300, 331),
        ("timm-tf", 456, 488),
        ("efficientnet-pytorch", 380, 380),
    ],
)
def test_what_is_resized_before_it_is_cut(name, size, edge):
    fitting = FAMILIES[name].fit.fit((500, 1001), (size, size))
    width = edge * 1001 // 500
    assert fitting.size == (edge, width)
    assert fitting.corner == (round((edge - size) / 2), round((width - size) / 2))


@pytest.mark.parametrize("size", [32, 64, 96, 160, 222])
@pytest.mark.parametrize("name", FAMILIES)
def test_small_sizes_lose_no_larger_share_than_published_ones(name, size):
    """A padding of 32 pixels, as some have it, would leave a quarter of the image at 32."""
    shares = []
    for side in (size, 224):
        fitting = FAMILIES[name].fit.fit((4000, 4000), (side, side))
        left, _, right, _ = fitting.box
        shares.append((right - left) / 4000 * side / fitting.size[0])
    small, published = shares
    assert small == pytest.approx(published, abs=1 / size)  # a pixel, by rounding


def test_something_is_left_of_one_pixel():
    assert FAMILIES["tpu-paper"].fit.fit((1, 1), (224, 224)).box == (0, 0, 1, 1)


def test_a_size_that_is_no_square_is_cut_to_its_aspect():
    left, top, right, bottom = CropFirst().fit((100, 100), (40, 20)).box
    assert (right - left, bottom - top) == (50, 100)
    fitting = FAMILIES["timm-test"].fit.fit((100, 100), (40, 20))
    assert (fitting.size, fitting.corner) == ((40, 40), (0, 10))
    assert FAMILIES["transformers"].fit.fit((7, 9), (40, 20)).size == (40, 20)


# ------------------------------------------------------------------ interpolation


@pytest.mark.parametrize("how", RULES.values(), ids=RULES)
def test_the_same_size_is_the_same_image_and_one_colour_stays_one(how):
    pixels = noise(21, 34)
    np.testing.assert_allclose(resized(pixels, (21, 34), how), pixels, atol=1e-4)
    grey = np.full((50, 35, 3), 77, np.uint8)
    for size in ((20, 60), (70, 10)):
        np.testing.assert_allclose(resized(grey, size, how), 77, atol=1e-4)


@pytest.mark.parametrize("how", RULES.values(), ids=RULES)
def test_an_image_turned_around_is_resized_alike_but_by_tensorflow_1(how):
    """Its pixels are points at the upper left of where all others have them."""
    pixels = noise(40, 64)
    found = resized(pixels, (20, 32), how)
    turned = resized(pixels[::-1, ::-1], (20, 32), how)[::-1, ::-1]
    # Pillow and Keras round, and the nearest of two is not nearest from the other side.
    tolerance = {"pillow": 1.01, "keras": 1.01}.get(how.rules, 0.01)
    alike = np.abs(found - turned).max() <= tolerance
    assert alike == (how.rules != "tensorflow1" and how.kernel != "nearest")


def test_tensorflow_1_keeps_every_pixel_of_an_image_made_twice_as_large():
    pixels = noise(9, 12)
    found = resized(pixels, (18, 24), Interpolation("tensorflow1"))
    np.testing.assert_allclose(found[::2, ::2], pixels, atol=1e-4)
    # Half way between two pixels of four, a = -0.75 has weights -3/32, 19/32, 19/32 and -3/32.
    row = pixels[4, :, 0].astype(float)
    halves = (19 * (row[1:-2] + row[2:-1]) - 3 * (row[:-3] + row[3:])) / 32
    np.testing.assert_allclose(found[8, 3:-4:2, 0], halves, atol=1e-3)


def test_who_keeps_between_0_and_255():
    edge = np.zeros((16, 32, 3), np.uint8)
    edge[:, 16:] = 255
    overshoots = {
        name
        for name, how in RULES.items()
        if resized(edge, (40, 80), how).max() > 256 or resized(edge, (40, 80), how).min() < -1
    }
    assert overshoots == {"tensorflow1 bicubic", "tensorflow bicubic antialiased"}


def test_who_antialiases():
    """Stripes of one pixel are grey to whoever looks at all pixels."""
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[:, ::2] = 254
    contrast = {
        name: float(np.ptp(resized(stripes, (17, 17), how)[8, 3:-3])) for name, how in RULES.items()
    }
    kernels = ("tensorflow1 bicubic", "tensorflow bilinear", "keras-layer bicubic")
    unfiltered = {*kernels, "keras-layer bilinear"}
    sharp = {*unfiltered, "pillow nearest antialiased"}
    assert {name for name, found in contrast.items() if found > 100} == sharp
    assert all(found < 60 for name, found in contrast.items() if name not in sharp)


def test_a_spline_goes_through_every_pixel():
    """Of scikit-image: made larger by an odd factor, the middle pixels are the old ones."""
    pixels = noise(11, 8)
    found = resized(pixels, (33, 24), Interpolation("scikit-image"))
    np.testing.assert_allclose(found[1::3, 1::3], pixels, atol=1e-4)
