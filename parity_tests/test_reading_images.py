"""From a file to a batch by the fast way: the bits are those of the plain way, written here."""

import os
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from efficientnet_rosetta.common._util.files import content
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.images.augment import INCEPTION_CROP, Augmentation, random_box
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.colours import (
    LUMINANCE,
    PRINCIPAL_COLOURS,
    PRINCIPAL_VALUES,
    colour_change,
    coloured,
)
from efficientnet_rosetta.common.images.datasets import Sample
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, Encoded, decode, load_image
from efficientnet_rosetta.common.images.erasing import Erasing
from efficientnet_rosetta.common.images.families import FAMILIES
from efficientnet_rosetta.common.images.mixing import Mixing
from efficientnet_rosetta.common.images.normalization import (
    IMAGENET,
    INCEPTION,
    LITE_PIXELS,
    RAW,
    level_table,
    normalised,
)
from efficientnet_rosetta.common.images.resize import resized
from efficientnet_rosetta.common.images.transforms import evaluation_image, training_image
from efficientnet_rosetta.common.training.recipes import get_recipe

SIZE = (32, 40)
SEED, EPOCH = 5, 2
# One of each rule of interpolation.
BY_RULE = {family.interpolation: family for family in FAMILIES.values()}.values()


# ------------------------------------------------------------------ the plain way


def plain_pixels(data):
    """Decoded at once, and an array from then on: (H, W, 3) of uint8."""
    with Image.open(BytesIO(data)) as found:
        found.load()
        image = ImageOps.exif_transpose(found)
    if image.mode.startswith("I"):
        grey = (np.asarray(image).astype(np.int64) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def plain_resized(pixels, box, size):
    image = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC, box)
    return np.array(image)


def plain_normalised(image, normalization):
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    return ((image / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32)


def plain_evaluation(pixels, family):
    fitting = family.fit.fit(pixels.shape[:2], SIZE)
    image = resized(pixels, fitting.box, fitting.size, family.interpolation)
    top, left = fitting.corner
    kept = image[top : top + SIZE[0], left : left + SIZE[1]]
    return plain_normalised(kept, family.normalization)


def plain_training(pixels, place):
    random = np.random.default_rng([SEED, EPOCH, place])
    area, aspect = INCEPTION_CROP.crop_area, INCEPTION_CROP.crop_aspect
    image = plain_resized(pixels, random_box(pixels.shape[:2], area, aspect, random), SIZE)
    if random.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    return plain_normalised(image, IMAGENET)


# ------------------------------------------------------------------ the same bits


def noise(height, width, channels=3):
    shape = (height, width, channels)
    return np.random.default_rng(height).integers(0, 256, shape, dtype=np.uint8)


def encoded(image, kind="PNG", orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    image.save(file, kind, exif=exif)
    return file.getvalue()


def pictures():
    """Files of every kind, by name."""
    of_noise = {mode: Image.fromarray(noise(61, 47, 4)).convert(mode) for mode in ("L", "RGBA")}
    deep = np.random.default_rng(0).integers(0, 2**16, (45, 70), dtype=np.uint16)
    with Image.open(PHOTOGRAPH) as found:
        photograph = found.resize((97, 53))
    found = {
        "photograph.jpg": PHOTOGRAPH.read_bytes(),
        "grey.jpg": encoded(of_noise["L"], "JPEG"),
        "alpha.png": encoded(of_noise["RGBA"]),
        "cmyk.jpg": encoded(photograph.convert("CMYK"), "JPEG"),
        "palette.gif": encoded(photograph.quantize(40), "GIF"),
        "deep.png": encoded(Image.fromarray(deep)),
        "one.png": encoded(Image.fromarray(noise(1, 1))),
        "thin.png": encoded(Image.fromarray(noise(3, 90))),
    }
    for kind in ("JPEG", "TIFF"):
        for orientation in range(1, 9):
            name = f"turned-{orientation}.{kind.lower()}"
            found[name] = encoded(photograph, kind, orientation)
    return found


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, data in pictures().items():
        (folder / name).write_bytes(data)
    return [Sample(folder / name, 0) for name in pictures()]


@pytest.fixture(scope="module")
def plain(samples):
    return [plain_pixels(sample.path.read_bytes()) for sample in samples]


def test_files_of_every_kind_are_decoded_as_at_once(samples, plain):
    for sample, expected in zip(samples, plain, strict=True):
        assert np.array_equal(decode(sample.path.read_bytes(), "x"), expected), sample


def test_training_by_the_fast_way_has_the_bits_of_the_plain_one(samples, plain):
    batches = Batches(samples, SIZE, len(samples), INCEPTION_CROP, SEED)
    found = batches.read(EPOCH, 0).images
    for place, index in enumerate(batches.order(EPOCH)):
        expected = plain_training(plain[index], place)
        assert found[place].tobytes() == expected.tobytes(), samples[index]


@pytest.mark.parametrize("family", BY_RULE, ids=lambda family: family.name)
def test_evaluation_by_the_fast_way_has_the_bits_of_the_plain_one(samples, plain, family):
    found = Batches(samples, SIZE, len(samples), family=family).read(0, 0).images
    for image, pixels, sample in zip(found, plain, samples, strict=True):
        assert image.tobytes() == plain_evaluation(pixels, family).tobytes(), sample


def test_an_array_and_an_image_of_pillow_are_the_same(plain):
    """To whoever prepares one image, and not a batch."""
    for pixels in plain:
        image = Image.fromarray(pixels)
        evaluated = [evaluation_image(given, SIZE) for given in (pixels, image)]
        trained = [
            training_image(given, SIZE, INCEPTION_CROP, np.random.default_rng(1))
            for given in (pixels, image)
        ]
        for one, other in (evaluated, trained):
            assert one.tobytes() == other.tobytes()
    with pytest.raises(RosettaError, match=r"\(90, 3\) and mode L; it must be .* uint8"):
        evaluation_image(Image.new("L", (3, 90)), SIZE)


@pytest.mark.parametrize("normalization", [IMAGENET, INCEPTION, LITE_PIXELS, RAW])
def test_a_look_up_is_the_arithmetic(normalization):
    levels = np.arange(768, dtype=np.uint8).reshape(16, 16, 3)
    expected = plain_normalised(levels, normalization)
    for image in (levels, levels[:, ::-1], levels[::-1]):
        assert (
            normalised(image, normalization).tobytes()
            == plain_normalised(image, normalization).tobytes()
        )
    out = np.full((2, 3, 16, 16), np.nan, np.float32)
    assert normalised(levels, normalization, out[1]).base is out
    assert out[1].tobytes() == expected.tobytes()
    assert np.isnan(out[0]).all()
    with pytest.raises(ValueError, match="read-only"):
        level_table(normalization)[0, 0] = 1


def test_a_turned_tiff_is_turned_once(tmp_path):
    """Pillow turns it by itself."""
    pixels = noise(40, 64)
    (tmp_path / "turned.tif").write_bytes(encoded(Image.fromarray(pixels), "TIFF", 6))
    turned = np.rot90(pixels, -1)
    assert np.array_equal(decode((tmp_path / "turned.tif").read_bytes(), "x"), turned)
    expected = plain_normalised(turned, IMAGENET)
    np.testing.assert_allclose(load_image(tmp_path / "turned.tif", (64, 40)), expected, atol=1e-6)


def test_a_file_is_read_to_its_end(tmp_path, monkeypatch):
    """One that has grown since it was measured, or one whose size the system does not know."""
    path = tmp_path / "x"
    path.write_bytes(bytes(100))
    measure = type(path.stat())
    real = os.fstat
    monkeypatch.setattr("os.fstat", lambda number: measure([*real(number)[:6], 10, 0, 0, 0]))
    assert content(path, 1000) == bytes(100)
    with pytest.raises(RosettaError, match="more than 99 bytes"):
        content(path, 99)


# ------------------------------------------------------------------ levels


@pytest.mark.parametrize("augmentation", [None, INCEPTION_CROP, Augmentation(rotation=9.0)])
@pytest.mark.parametrize("family", ["official", "keras-hub", "timm-tf-ap"])
def test_levels_looked_up_are_the_images(samples, augmentation, family):
    batches = Batches(samples, SIZE, 4, augmentation, SEED, FAMILIES[family])
    assert batches.has_levels
    expected, found = batches.read(1, 1), batches.read(1, 1, raw=True)
    assert found.images.dtype == np.uint8
    assert found.labels.tolist() == expected.labels.tolist()
    channels = np.arange(3)[:, None, None]
    assert batches.table[channels, found.images].tobytes() == expected.images.tobytes()


def test_a_device_looks_up_the_same_bits(samples):
    from efficientnet_rosetta.torch_impl.reading import looked_up

    torch = pytest.importorskip("torch")
    batches = Batches(samples, SIZE, 3, INCEPTION_CROP, SEED)
    levels = torch.from_numpy(batches.read(0, 0, raw=True).images)
    expected = batches.read(0, 0).images
    for layout in (torch.contiguous_format, torch.channels_last):
        found = looked_up(levels.to(memory_format=layout), torch.tensor(batches.table))
        assert found.dtype == torch.float32
        assert found.numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"family": FAMILIES["tpu"]},
        {"augmentation": replace(INCEPTION_CROP, hue=0.1)},
        {"augmentation": replace(INCEPTION_CROP, erasing=Erasing())},
        {"augmentation": INCEPTION_CROP, "mixing": Mixing(0.2)},
    ],
    ids=["not rounded", "coloured", "erased", "mixed"],
)
def test_what_is_not_of_whole_levels_is_not_read_as_such(samples, options):
    batches = Batches(samples, SIZE, 4, **options)
    assert not batches.has_levels
    with pytest.raises(RosettaError, match="these images are no whole levels"):
        batches.read(0, 0, raw=True)


# ------------------------------------------------------------------ colours


def in_turn(image, augmentation, random):
    """One change after another, in float64."""
    if augmentation.hue is not None:
        angle = 2 * np.pi * random.uniform(-augmentation.hue, augmentation.hue)
        axis = np.full(3, 3**-0.5)  # Rodrigues' formula
        turned = image * np.cos(angle) + np.cross(axis, image) * np.sin(angle)
        turned += axis * (image @ axis)[..., None] * (1 - np.cos(angle))
        image = turned + ((image - turned) @ LUMINANCE)[..., None]
    if augmentation.saturation is not None:
        grey = (image @ LUMINANCE)[..., None]
        image = grey + random.uniform(*augmentation.saturation) * (image - grey)
    if augmentation.brightness is not None:
        image = image * random.uniform(1 - augmentation.brightness, 1 + augmentation.brightness)
    if augmentation.pca_noise is not None:
        coefficients = random.normal(0, augmentation.pca_noise, 3) * PRINCIPAL_VALUES
        image = image + 255 * (PRINCIPAL_COLOURS @ coefficients)
    return np.clip(image, 0, 255)


@pytest.mark.parametrize("parts", [("hue",), ("saturation",), ("brightness",), ("pca_noise",), ()])
def test_all_colours_at_once_are_one_after_another(parts):
    everything = get_recipe("cosine").augmentation
    chosen = {part: getattr(everything, part) for part in parts}
    augmentation = Augmentation(**chosen) if parts else everything
    image = noise(40, 30)
    for seed in range(5):
        change = colour_change(augmentation, np.random.default_rng(seed))
        found = coloured(image, change, IMAGENET)
        expected = in_turn(image.astype(np.float64), augmentation, np.random.default_rng(seed))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, plain_normalised(expected, IMAGENET), atol=2e-6)
        assert found.tobytes() == coloured(image, change, IMAGENET).tobytes()
    whole = coloured(image.astype(np.float64) + 0.25, change, RAW)  # of rules that do not round
    assert np.abs(whole - coloured(image, change, RAW)).max() > 0.01
    assert (whole >= 0).all()
    assert (whole <= 255).all()


# ------------------------------------------------------------------ scaled decoding


SCALED = replace(INCEPTION_CROP, scaled_decoding=True)


@pytest.fixture(scope="module")
def large():
    """Of odd sides, as an image: red rises to the right, green downwards, both from 0 to 255."""
    rows, columns = np.mgrid[:602, :803]
    return Image.fromarray(
        np.stack([columns * 255 / 802, rows * 255 / 601, 0 * rows + 90], 2).astype(np.uint8)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_at_a_reduced_scale_shows_the_same_part(large, orientation):
    """Its colours say where: 8 pixels of the whole image are 2.5 or 3.4 levels."""
    data = encoded(large, "JPEG", orientation)
    pixels = decode(data, "x")
    height, width = pixels.shape[:2]
    assert Encoded(data, "x").shape == (height, width)
    box, size = (0.3 * width, 0.1 * height, width, 0.9 * height), (16, 16)
    image, inside = Encoded(data, "x").part(box, size)
    assert (image.height, image.width) == (-(-height // 8), -(-width // 8))
    how = FAMILIES["official"].interpolation
    found, expected = resized(image, inside, size, how), resized(pixels, box, size, how)
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert np.abs(found.astype(int) - expected).mean() < 0.3


@pytest.mark.parametrize(
    ("side", "scale"),
    [(64, 1), (127, 1), (128, 2), (255, 2), (256, 4), (511, 4), (512, 8), (700, 8)],
)
def test_a_part_keeps_twice_the_pixels_that_are_wanted(large, side, scale):
    data = encoded(large, "JPEG")
    image, box = Encoded(data, "x").part((10, 20, 10 + side, 20 + side), (32, 32))
    assert (image.height, image.width) == (-(-602 // scale), -(-803 // scale))
    assert box[2] - box[0] >= min(side, 64)
    if scale == 1:
        assert box == (10, 20, 10 + side, 20 + side)


def test_scaled_decoding_changes_large_jpegs_only(large, samples, tmp_path):
    """By the same random numbers; the others keep every bit."""
    (tmp_path / "large.jpg").write_bytes(encoded(large, "JPEG"))
    (tmp_path / "large.png").write_bytes(encoded(large))
    small = next(sample for sample in samples if sample.path.name == "grey.jpg")
    found = [Sample(tmp_path / "large.jpg", 0), Sample(tmp_path / "large.png", 0), small]
    exact, scaled = (
        Batches(found, SIZE, 3, augmentation, SEED) for augmentation in (INCEPTION_CROP, SCALED)
    )
    before, after = exact.read(0, 0), scaled.read(0, 0)
    pairs = zip(before.images, after.images, strict=True)
    same = [one.tobytes() == other.tobytes() for one, other in pairs]
    assert same == [index != 0 for index in exact.order(0)]
    assert np.abs(before.images - after.images).max() < 1
    assert after.images.tobytes() == scaled.read(0, 0).images.tobytes()


def test_a_jpeg_that_is_cut_off_is_left_out_at_any_scale(large, tmp_path):
    data = encoded(large, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "whole.jpg").write_bytes(data)
    found = [Sample(tmp_path / name, 0) for name in ("cut.jpg", "whole.jpg")]
    whole = Batches(found[1:], SIZE, 1, SCALED, SEED)
    both = Batches(found, SIZE, 2, SCALED, SEED)
    read = both.read(0, 0)
    assert list(read.skipped) == [str(found[0].path)]
    # What takes its place is what it would have been there: some random numbers were used up.
    assert read.images[0].tobytes() == whole.read(0, 0).images[0].tobytes()
