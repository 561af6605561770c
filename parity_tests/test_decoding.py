"""Every kind of image is read as RGB, upright, or refused in one line."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from efficientnet_rosetta.common.errors import UnreadableImageError
from efficientnet_rosetta.common.images.datasets import (
    Sample,
)
from efficientnet_rosetta.common.images.decode import decode
from efficientnet_rosetta.common.images.transparency import transparency


def read(path):
    return decode(*Sample(path, 0).read()[:1], str(path))


def gradient(height=48, width=64):
    """No two pixels alike, red rising to the right and green downwards."""
    rows, columns = np.mgrid[:height, :width]
    blue = np.full((height, width), 90)
    return np.stack([columns * 3, rows * 4, blue], 2).astype(np.uint8)


def test_every_kind_of_image_becomes_rgb(tmp_path):
    pixels = gradient()
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    kinds = {
        "rgb.png": image,
        "grey.png": image.convert("L"),
        "bits.png": image.convert("1"),
        "palette.gif": image.quantize(64),
        "cmyk.jpg": image.convert("CMYK"),
        "alpha.png": image.convert("RGBA"),
        "deep.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "deep.tif": Image.fromarray(grey.astype(np.uint16) * 257),
    }
    for name, kind in kinds.items():
        kind.save(tmp_path / name)
        found = read(tmp_path / name)
        assert (found.shape, found.dtype) == (pixels.shape, np.uint8), name
    assert np.array_equal(read(tmp_path / "rgb.png"), pixels)
    assert np.array_equal(read(tmp_path / "alpha.png"), pixels)
    for name in ("grey.png", "deep.png", "deep.tif"):
        assert np.array_equal(read(tmp_path / name), np.repeat(grey[..., None], 3, 2)), name
    assert np.abs(read(tmp_path / "cmyk.jpg").astype(int) - pixels).mean() < 8


def test_what_is_transparent_is_black(tmp_path):
    clear = Image.fromarray(np.dstack([gradient(), np.zeros((48, 64), np.uint8)]))
    clear.save(tmp_path / "clear.png")
    assert not read(tmp_path / "clear.png").any()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_images_are_told_of_opaque_ones(tmp_path, mode):
    """A channel that says nothing, as many programs write it, leaves nothing out."""
    for name, lowest in (("clear", 254), ("opaque", 255)):
        alpha = np.full((48, 64), 255, np.uint8)
        alpha[5, 7] = lowest
        image = Image.fromarray(np.dstack([gradient(), alpha]))
        if mode == "P":  # of which one colour is transparent, or none
            image, options = image.convert("P"), {} if lowest == 255 else {"transparency": 3}
            image.putpixel((7, 5), 3)
        else:
            image, options = image.convert(mode), {}
        image.save(tmp_path / f"{name}.png", **options)
    clear, opaque = (Sample(tmp_path / f"{name}.png", 0) for name in ("clear", "opaque"))
    broken = Sample(tmp_path / "broken.png", 0)
    broken.path.write_bytes(b"no image")
    line = "of 4 images that were looked at have transparent parts, which are read on black"
    assert transparency([opaque, clear, broken, clear]).startswith(f"2 {line}")
    assert transparency([opaque, broken]) == ""
    assert transparency([]) == ""


def test_some_of_many_images_are_looked_at_for_transparency(tmp_path):
    Image.new("RGBA", (2, 2)).save(tmp_path / "clear.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "photograph.jpg")
    clear, photograph = Sample(tmp_path / "clear.png", 0), Sample(tmp_path / "photograph.jpg", 0)
    assert transparency([photograph, clear] * 1000).startswith("63 of 63 images")


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (200, 10)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert (read(tmp_path / "two.gif") == 200).all()


def test_a_photograph_is_turned_upright(tmp_path):
    image = Image.fromarray(gradient())
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read(tmp_path / "turned.png"), np.rot90(gradient(), -1))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_whatever_the_exif_says_is_no_reason_to_stop(tmp_path):
    """Damage in it leaves the image as it is; that in a decoder, of any kind, is one line."""
    image = Image.fromarray(gradient())
    exif = image.getexif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    whole = (tmp_path / "turned.jpg").read_bytes()
    start, end = whole.index(b"Exif"), whole.index(b"maker") + 5
    random = np.random.default_rng(0)
    outcomes = set()
    for _ in range(2000):
        damaged = bytearray(whole)
        for place in random.integers(start + 6, end, 3):
            damaged[place] = random.integers(256)
        try:
            outcomes.add(decode(bytes(damaged), "damaged").shape)
        except UnreadableImageError:
            outcomes.add("unreadable")
    assert outcomes >= {(48, 64, 3), (64, 48, 3)}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_are_those_of_pillow(tmp_path, orientation):
    image = Image.fromarray(gradient())
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(read(tmp_path / "turned.png"), expected)


def test_what_cannot_be_read_is_one_line(tmp_path):
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(255, size=(64, 64, 3), dtype=np.uint8)).save(
        whole
    )
    broken = {
        "cut.jpg": whole.read_bytes()[:600],
        "head.jpg": whole.read_bytes()[:30],
        "text.png": b"no image",
        "empty.png": b"",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError, match=f"{name}: cannot be read as an image") as e:
            read(tmp_path / name)
        assert "\n" not in str(e.value)
        assert "0x" not in str(e.value)  # the address of an object
    with pytest.raises(UnreadableImageError):
        read(tmp_path / "nothing.png")
