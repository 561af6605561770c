"""From an image file to an array."""

import numpy as np
import pytest
from PIL import Image

from common.errors import RosettaError
from common.preprocess import IMAGENET_MEAN, IMAGENET_STD, PHOTOGRAPH, load_image


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
