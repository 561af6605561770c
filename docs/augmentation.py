"""Draws every operation of augmentation, and asks timm and torchvision what their levels mean.

python docs/augmentation.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, decode  # noqa: E402
from efficientnet_rosetta.common.images.erasing import Erasing, erase  # noqa: E402
from efficientnet_rosetta.common.images.mixing import Mixing, mixed  # noqa: E402
from efficientnet_rosetta.common.images.operations import LEVELS, OPERATIONS  # noqa: E402
from efficientnet_rosetta.common.images.policies import Change, changed  # noqa: E402
from parity_tests.peers.operators import declare  # noqa: E402

RESULT = HERE / "results" / "augmentation.json"
PICTURE = HERE / "pictures" / "augmentation.png"
PIXELS = 224  # of the images that torchvision's translations are given for
TILE, GAP, TEXT, COLUMNS = 120, 6, 20, 5  # of the picture, in pixels
INK = "#7b7b7b"  # to be read on white and on black: the picture has no ground of its own
# A level at which each operation is plainly seen; those that are milder above 5 are shown below.
SEEN = {"Posterize": 4, "Solarize": 5, "Color": 0, "Contrast": 1, "Brightness": 1}
USUAL = 8


def main() -> None:
    """Ask the libraries, keep what they say, and draw the picture."""
    RESULT.write_text(json.dumps(asked(), indent=1) + "\n")
    drawn(list(tiles())).save(PICTURE, optimize=True)


# ------------------------------------------------------------------ other libraries


def asked() -> dict[str, Any]:
    """Values by operation and level, without their signs."""
    declare()
    from timm.data.auto_augment import LEVEL_TO_ARG
    from torchvision.transforms import AutoAugment

    ours = {*OPERATIONS, "PosterizeOriginal", "TranslateXRel", "TranslateYRel"}
    space = AutoAugment()._augmentation_space(10, (PIXELS, PIXELS))
    return {
        "schema": 1,
        "command": "python docs/augmentation.py",
        "versions": {name: version(name) for name in ("timm", "torchvision")},
        "pixels": PIXELS,
        "timm": {
            name: [abs(convert(level, {"translate_const": 250})[0]) for level in range(11)]
            for name, convert in LEVEL_TO_ARG.items()
            if name in ours and convert is not None
        },
        "torchvision": {
            name: [round(value, 6) for value in values.tolist()]
            for name, (values, _) in space.items()
            if values.ndim
        },
    }


# ------------------------------------------------------------------ the picture


def tiles() -> Iterator[tuple[str, np.ndarray]]:
    """What is done, and what becomes of a part of the photograph (TILE, TILE, 3)."""
    picture = Image.fromarray(decode(PHOTOGRAPH.read_bytes(), PHOTOGRAPH.name))
    height = picture.height
    image, other = (
        np.asarray(picture.resize((TILE, TILE), Image.Resampling.BICUBIC, box))
        for box in ((90, 0, 90 + height, height), (330, 130, 600, height))
    )
    yield "as it is", image
    for name in OPERATIONS:
        level = SEEN.get(name, USUAL)
        # A translation or a square of the levels of AutoAugment would leave nothing of a tile.
        value = LEVELS["randaugment"][name].value(level)
        if name in ("TranslateX", "TranslateY", "Cutout"):
            value *= TILE / PIXELS
        yield name, changed(image, [Change(name, value, (0.5, 0.5))])
    normalised = np.stack([image, other]).transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.5
    random = np.random.default_rng(4)
    part = normalised[0].copy()
    erase(part, Erasing(1.0), random)
    yield "random erasing", _levels(part)
    for name, mixing in (("mixup", Mixing(mixup=1.0)), ("CutMix", Mixing(cutmix=1.0))):
        images, _, shares = mixed(normalised, np.arange(2), mixing, random)
        yield f"{name}, share {shares[0]:.2f}", _levels(images[0])


def _levels(image: np.ndarray) -> np.ndarray:
    """(3, H, W) from -0.5 to 0.5 as (H, W, 3) of uint8."""
    levels: np.ndarray = np.rint(255 * (image.transpose(1, 2, 0) + 0.5)).astype(np.uint8)
    return levels


def drawn(parts: list[tuple[str, np.ndarray]]) -> Image.Image:
    """All parts in rows, each below its name."""
    rows = -(-len(parts) // COLUMNS)
    across, down = TILE + GAP, TILE + GAP + TEXT
    sheet = Image.new("RGBA", (COLUMNS * across - GAP, rows * down - GAP))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (name, image) in enumerate(parts):
        top, left = (number // COLUMNS) * down, (number % COLUMNS) * across
        pen.text((left + TILE // 2, top + TEXT // 2), name, INK, font, "mm")
        sheet.paste(Image.fromarray(image), (left, top + TEXT))
    return sheet


if __name__ == "__main__":
    main()
