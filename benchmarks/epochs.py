"""A whole epoch with its readers: ours as the command runs it, and a plain loop of timm's parts."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from contenders import SIDE, Setting, models, step_program, timms_bookkeeping, waiting
from turns import Row, rows

from parity_tests.peers import operators

READERS = 14  # processes that read images for the loop
PHOTOGRAPHS, COPIES = 256, 25  # JPEGs for the loop, and under how many names each is


def loop(setting: Setting) -> list[Row]:
    """A whole epoch with readers: ours as the command runs it, and a plain loop of timm's parts."""
    workers = READERS if setting.on_gpu else 2
    count, side, batch = (PHOTOGRAPHS, SIDE, 128) if setting.on_gpu else (32, 64, 16)
    with tempfile.TemporaryDirectory() as folder:
        operators.declare()  # before anything imports torchvision
        images = make_images(Path(folder, "images"), count, COPIES if setting.on_gpu else 8)
        times = {"ours": our_epoch(Path(folder), images, side, batch, workers, setting)}
        times["timm"] = timms_epoch(images / "train", side, batch, workers, setting)
    return rows("an image of an epoch, with readers", times, {"timm": 1.2})


def make_images(root: Path, count: int, copies: int) -> Path:
    """JPEGs of 500 x 375 pixels in two classes, most of them further names of the first ones."""
    from PIL import Image

    from efficientnet_rosetta.common.images.decode import PHOTOGRAPH

    random = np.random.default_rng(0)
    with Image.open(PHOTOGRAPH) as found:
        photograph = found.convert("RGB").resize((700, 525))
    for split, times in (("train", copies), ("val", 1)):
        for number in range(count):
            label = root / split / str(number % 2)
            label.mkdir(parents=True, exist_ok=True)
            left, top = random.integers(0, 200), random.integers(0, 150)
            first = label / f"{number}-0.jpg"
            photograph.crop((left, top, left + 500, top + 375)).save(first, quality=90)
            for copy in range(1, times):
                os.link(first, label / f"{number}-{copy}.jpg")
    return root


def our_epoch(
    folder: Path, images: Path, side: int, batch: int, workers: int, setting: Setting
) -> float:
    """Milliseconds an image in the last of three epochs of the command."""
    import efficientnet_rosetta as rosetta
    from efficientnet_rosetta.common.training.run import EPOCHS, read_table

    rosetta.train(
        images,
        backend="torch",
        recipe="cosine",
        image_size=side,
        batch=batch,
        epochs=3,
        precision="bfloat16" if setting.on_gpu else "float32",
        workers=workers,
        out=folder / "run",
    )
    return 1000 / read_table(folder / "run" / EPOCHS)[-1]["images_per_second"]


def timms_epoch(images: Path, side: int, batch: int, workers: int, setting: Setting) -> float:
    """Milliseconds an image in the last of three epochs of a plain loop."""
    import torch

    model = models(setting, training=True)["timm"].to(memory_format=torch.channels_last)
    import timm.data
    from torchvision.datasets import ImageFolder

    content = timm.data.create_transform(
        (3, side, side), is_training=True, interpolation="bicubic", color_jitter=0.3
    )
    loader = torch.utils.data.DataLoader(
        ImageFolder(images, content),
        batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=setting.on_gpu,
        persistent_workers=True,
    )
    bookkeeping = timms_bookkeeping(model)
    for _ in range(3):
        done, began = 0, 0.0
        for pixels, labels in loader:
            began = began or time.perf_counter()
            pixels = pixels.to(setting.device, non_blocking=True)
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            labels = labels.to(setting.device, non_blocking=True)
            step_program(model, bookkeeping, pixels, labels, setting)()
            done += batch
        waiting(setting)()
        seconds = time.perf_counter() - began
    return 1000 * seconds / done
