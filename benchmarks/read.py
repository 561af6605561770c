"""Images that are read a second by our batches and by torchvision's transforms, as ratios.

    python benchmarks/read.py [--images 16 2] [--rounds 24] [--json FILE]

Both read the same JPEG files, cut out a part of random area and aspect, resize it to 224 pixels by
Pillow's bicubic kernel, flip and normalise it, and stack the batch: that is all of `crop`.  `paper`
and `official` have the AutoAugment of their recipes as well, beside which torchvision has one list
only, that of the paper, and `cosine` rotates and changes colours, by `RandomRotation` and
`ColorJitter`.  The photographs are made of the one that is shipped: at the size of most of
ImageNet's, and at that of a camera of 12 megapixels.

All take turns in one process, on one thread, in rounds that have other random numbers each; times
are those of the processor, and medians over the rounds.  `ratio` is torchvision's time over that of
a row in the same round, above 1 where the row is faster; that of `decoding alone` is what nobody
who decodes whole images can reach.  Absolute times mean nothing beyond the machine they were
measured on.  The exit status is 1 where a ratio of GOALS is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from turns import Program, seconds_of

from efficientnet_rosetta.common.images.augment import INCEPTION_CROP, Augmentation
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.datasets import Sample
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.images.normalization import IMAGENET
from efficientnet_rosetta.common.training.recipes import get_recipe

sys.path.insert(0, str(Path(__file__).parents[1]))  # for parity_tests, which is not installed

Turn = Callable[[int], None]  # reads a batch with the random numbers of a round

SIZE = 224  # pixels
SMALL, LARGE = (375, 500), (3000, 4000)  # height and width
GRAIN = 3.0  # levels of noise, as of a sensor: the files are then as long as those of a camera
QUALITY = 90  # of JPEG
COPIES = 4  # files of each shape, which differ in their grain
WORKS = {
    "crop": INCEPTION_CROP,
    "paper": get_recipe("paper").augmentation,
    "official": get_recipe("official").augmentation,
    "cosine": get_recipe("cosine").augmentation,
}
# The least ratios, by work and by whether the photographs are those of a camera.
GOALS = {(work, large): 1.2 for work in ("crop", "paper", "official") for large in (False, True)}
GOALS |= {("cosine", False): 1.3, ("cosine", True): 1.2}
SCALED_GOAL = 3.0
OURS, SCALED = "ours", "ours, scaled decoding"
THEIRS, DECODING = "torchvision", "decoding alone"


def main() -> None:
    """Measure each work at each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs=2, type=int, default=[16, 2], help="a turn, by size")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--json", type=Path, help="write the ratios there")
    arguments = parser.parse_args()
    print(f"{arguments.rounds} rounds, one thread, milliseconds of the processor an image")
    print(f"{'work':<10}{'photograph':<13}{'by':<24}{'ms':>8}{'ratio':>7}")
    rows, missed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for shape, images in zip((SMALL, LARGE), arguments.images, strict=True):
            paths = photographs(Path(folder), shape)
            chosen = [paths[number % COPIES] for number in range(images)]
            for work, augmentation in WORKS.items():
                turns = turns_of(augmentation, chosen, is_large=shape == LARGE)
                programs = {name: numbered(turn) for name, turn in turns.items()}
                seconds = seconds_of(programs, arguments.rounds, clock=time.process_time)
                rows += report(work, f"{shape[1]} x {shape[0]}", seconds, images)
                goals = {OURS: GOALS.get((work, shape == LARGE), 0.0), SCALED: SCALED_GOAL}
                missed += [row for row in rows[-len(seconds) + 1 :] if is_missed(row, goals)]
    if arguments.json:
        command = f"python benchmarks/read.py --json {arguments.json}"
        content = {"schema": 1, "command": command, "rows": rows}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    raise SystemExit(1 if missed else 0)


def is_missed(row: dict[str, object], goals: dict[str, float]) -> bool:
    """Whether a row is below the ratio that is asked of it."""
    return float(str(row["ratio"])) < goals.get(str(row["by"]), 0.0)


def photographs(folder: Path, shape: tuple[int, int]) -> list[Path]:
    """JPEG files of the shipped photograph at a shape (height, width), each with other grain."""
    with Image.open(PHOTOGRAPH) as found:
        pixels = np.asarray(found.resize(shape[::-1], Image.Resampling.BICUBIC), np.float32)
    paths = [folder / f"{shape[1]}-{copy}.jpg" for copy in range(COPIES)]
    for copy, path in enumerate(paths):
        grain = np.random.default_rng(copy).standard_normal(pixels.shape, np.float32)
        levels = np.clip(np.rint(pixels + GRAIN * grain), 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(path, quality=QUALITY)
    return paths


def numbered(turn: Turn) -> Program:
    """A turn with a number of its own each time, the same as that of the others' in a round."""
    numbers = itertools.count()
    return lambda: turn(next(numbers))


def report(
    work: str, photograph: str, seconds: dict[str, list[float]], images: int
) -> list[dict[str, object]]:
    """Print the rows of a work and a size; the ratios, for JSON."""
    rows: list[dict[str, object]] = []
    for name, found in seconds.items():
        pairs = zip(seconds[THEIRS], found, strict=True)
        ratio = statistics.median(theirs / own for theirs, own in pairs)
        milliseconds = 1000 * statistics.median(found) / images
        print(f"{work:<10}{photograph:<13}{name:<24}{milliseconds:>8.2f}{ratio:>7.2f}", flush=True)
        if name != THEIRS:
            said = {"work": work, "photograph": photograph}
            rows.append({**said, "by": name, "ratio": round(ratio, 3)})
    return rows


def turns_of(augmentation: Augmentation, paths: list[Path], is_large: bool) -> dict[str, Turn]:
    """Who does a work on files, and how; what is not large is decoded at its own scale."""
    turns = {OURS: ours(augmentation, paths)}
    if is_large:
        turns[SCALED] = ours(replace(augmentation, scaled_decoding=True), paths)
    return turns | {THEIRS: torchvision_turn(augmentation, paths), DECODING: decoding(paths)}


def ours(augmentation: Augmentation, paths: list[Path]) -> Turn:
    """Our batches, as a loop has them."""
    samples = [Sample(path, 0) for path in paths]
    batches = Batches(samples, (SIZE, SIZE), len(samples), augmentation)

    def turn(number: int) -> None:
        batches.read(number, 0)

    return turn


def torchvision_turn(augmentation: Augmentation, paths: list[Path]) -> Turn:
    """Its loader of folders of images, its transforms of Pillow images, and a stack of them."""
    import torch

    from parity_tests.peers import operators

    operators.declare()
    from torchvision import transforms
    from torchvision.datasets.folder import default_loader
    from torchvision.transforms import InterpolationMode

    torch.set_num_threads(1)
    steps: list[object] = [
        transforms.RandomResizedCrop(
            SIZE, augmentation.crop_area, interpolation=InterpolationMode.BICUBIC
        ),
        transforms.RandomHorizontalFlip(),
    ]
    if augmentation.policy is not None:
        steps.append(transforms.AutoAugment(transforms.AutoAugmentPolicy.IMAGENET))
    if augmentation.rotation is not None:
        steps.append(transforms.RandomRotation(augmentation.rotation, InterpolationMode.BILINEAR))
    if augmentation.hue is not None:
        steps.append(
            transforms.ColorJitter(
                brightness=augmentation.brightness,
                saturation=augmentation.saturation,
                hue=augmentation.hue,
            )
        )
    steps += [transforms.ToTensor(), transforms.Normalize(IMAGENET.mean, IMAGENET.std)]
    transform = transforms.Compose(steps)

    def turn(number: int) -> None:
        torch.manual_seed(number)
        torch.stack([transform(default_loader(path)) for path in paths])

    return turn


def decoding(paths: list[Path]) -> Turn:
    """Pillow, and nothing else."""

    def turn(number: int) -> None:
        for path in paths:
            with Image.open(path) as image:
                image.load()

    return turn


if __name__ == "__main__":
    main()
