"""Trainings of small networks on real scans, in this process and in others."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.datasets import read_folder
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.recipes import get_recipe
from efficientnet_rosetta.common.training.run import STEPS, Run, read_table
from efficientnet_rosetta.common.weights.calibration import calibrated

BACKENDS = ("torch", "keras")
BATCH, CLASSES = 8, 3
IMAGES = 120  # of which every sixth is held out
# One thread each: many small processes on few cores wait for each other's otherwise.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
COMMAND = [sys.executable, "-m", "parity_tests.loops.short"]
ROOT = Path(__file__).parents[2]
DEADLINE = 1200  # seconds that end a hang: ten times what the slowest needs on a quiet machine
ROSETTA = str(Path(sys.executable).with_name("rosetta"))


def scans(root, count):
    """Images of 8 x 8, as many of each of three classes."""
    digits = load_digits(n_class=CLASSES)
    for number in range(count):
        path = root / ("zero", "one", "two")[digits.target[number]] / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((digits.images[number] * 255 / 16).astype(np.uint8)).save(path)


def network(size=32, **options):
    """Small, and with nothing dropped unless it is asked for."""
    options = {"dropout": 0.0, "drop_path_rate": 0.0, "num_classes": CLASSES, **options}
    return resolve("b0", width=0.25, resolution=size, **options)


def training(folder, net=None, recipe="official", epochs=1, changes=None, **options):
    """A training in float64, of 12 steps an epoch if the folder is the usual one."""
    found, net = read_folder(folder, 1 / 6), net or network()
    chosen = replace(get_recipe(recipe), batch=BATCH, epochs=epochs, **(changes or {}))
    seed = options.get("seed", 0)
    return Training(
        net,
        chosen,
        Batches(found.train, net.resolution, BATCH, chosen.augmentation, seed, classes=CLASSES),
        Batches(found.val, net.resolution, BATCH, classes=CLASSES),
        **{"precision": "float64", **options},
    )


def with_minival(plan, images=7):
    """The same, but for so many images to validate on that choose the best epoch instead."""
    samples = plan.val.samples
    held, val = (replace(plan.val, samples=part) for part in (samples[:images], samples[images:]))
    return replace(plan, minival=held, val=val)


def fitted(backend, plan, path, weights=None):
    """A run in a folder, new or continued."""
    run = Run(path)
    path.mkdir(parents=True, exist_ok=True)
    run.restore()
    get_backend(backend).fit(plan, weights or calibrated(plan.network), run)
    return run


class Interrupting(Run):
    """A run that is interrupted after some epochs."""

    def __init__(self, folder, epochs):
        super().__init__(folder, self.interrupt)
        self.epochs = epochs
        self.restore()

    def interrupt(self, row):
        if row.epoch == self.epochs:
            raise KeyboardInterrupt


def losses(path):
    return np.array([row["loss"] for row in read_table(path / STEPS)])


def arguments(folder, backend, out, *further, epochs, workers=0):
    """A training with everything random in it."""
    return [
        *("train", "--backend", backend, "--width", "0.25", "--batch", "8"),
        *("--image-size", "32", "--data", str(folder), "--held-out", str(1 / 6)),
        *("--epochs", str(epochs)),
        *("--workers", str(workers), "--out", str(out), *further),
    ]


def rosetta(*arguments, prefix=(), group=False, program=None, **environment):
    """The command, in a process of its own, or in a group of its own with those that it starts."""
    return subprocess.Popen(
        [*COMMAND[:1], *prefix, *COMMAND[1:], str(program or ROSETTA), *arguments],
        env={**ENVIRONMENT, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=group,
        # As at a terminal: what is started in the background of a script ignores Ctrl-C.
        preexec_fn=heed_interruptions,
    )


def heed_interruptions():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished(process):
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, out + err
    return out
