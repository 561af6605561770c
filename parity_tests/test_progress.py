"""How a training shows: rows above a bar on a terminal, and rows alone anywhere else."""

import os
import pty
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common.cli.progress import HEADINGS, TrainingBar
from efficientnet_rosetta.common.training.rows import Epoch, Step
from parity_tests.screen import drained, shown

EPOCHS, STEPS, BATCH = 3, 4, 32
COMMAND = """
from efficientnet_rosetta.common.cli import main
from parity_tests.peers.operators import declare
declare()  # Lightning's metrics import torchvision
main()
"""
TRAINING = SimpleNamespace(
    recipe=SimpleNamespace(batch=BATCH, epochs=EPOCHS), steps_per_epoch=STEPS
)


class Clock:
    """A second passes from one look to the next."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def follow(clock):
    """A training of three epochs, shown at every step, which rich does by the time."""
    with TrainingBar(clock) as bar:
        bar.start(TRAINING, 0)
        for epoch in range(EPOCHS):
            for number in range(STEPS):
                bar.step(Step(epoch * STEPS + number, epoch, 0.01, 2.5 - epoch))
                bar.bar.refresh()
            row = (0.5, 0.5, 1.0, 0.4, 0.5, 1.0, 0.01, 99.5, 0)
            bar.epoch(Epoch(epoch + 1, (epoch + 1) * STEPS, *row))


def on_a_terminal(work):
    """All that is written to a terminal that is both stdout and stderr."""
    mine, theirs = pty.openpty()
    written = []
    reader = threading.Thread(target=lambda: written.append(drained(mine)))
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        work(terminal)
    reader.join()
    os.close(mine)
    return written[0]


def numbers_of_rows(lines):
    return [line.split()[0] for line in lines if re.match(r" +\d+ +\d\.\d{4} ", line)]


def test_rows_stay_above_a_bar_that_goes(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def work(terminal):
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        follow(Clock())
        monkeypatch.undo()

    written = on_a_terminal(work)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written)
    # A step takes one second here, of which the first of an epoch is not counted.
    assert re.search(
        r"epoch 2/3 .*3/4 +loss 1\.5000 +rate 1\.00e-02 +32 images/s +0:00:0\d left", plain
    )
    assert "4/4 loss 0.5000" in plain
    assert "validating" in plain
    lines = shown(written)
    assert numbers_of_rows(lines) == ["1", "2", "3"]
    assert len(lines) == EPOCHS  # and no bar
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is back


def test_nothing_but_rows_is_written_elsewhere(capsys):
    follow(Clock())
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out
    assert numbers_of_rows(printed.out.splitlines()) == ["1", "2", "3"]
    assert printed.err == ""


def test_the_bar_changes_some_times_a_second():
    """However many steps there are; but the last one of an epoch is always shown."""
    bar = TrainingBar(clock := SteadyClock())
    bar.start(TRAINING, 0)
    looks = []
    bar.bar.update = lambda task, **values: looks.append(values["completed"])
    for number in range(STEPS):
        bar.step(Step(number, 0, 0.01, 1.0))
    assert looks == [1, STEPS]
    clock.now += 10
    bar.step(Step(STEPS, 1, 0.01, 1.0))
    assert looks == [1, STEPS, 1]


class SteadyClock:
    """No time passes."""

    now = 1.0

    def __call__(self):
        return self.now


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_real_training_shows_its_rows_once(backend, tmp_path):
    random = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(256, size=(40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    command = [
        *(sys.executable, "-c", COMMAND, "train", "--backend", backend),
        *("--data", tmp_path / "data", "--out", tmp_path / "run", "--epochs", 3, "--batch", 4),
        *("--width", 0.1, "--depth", 0.1, "--image-size", 32, "--workers", 0),
    ]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def work(terminal):
        words = list(map(str, command))
        subprocess.run(words, stdout=terminal, stderr=terminal, env=environment, check=True)

    written = on_a_terminal(work)
    assert "images/s" in written.replace(HEADINGS, "")
    lines = shown(written)
    assert numbers_of_rows(lines) == ["1", "2", "3"]
    start = lines.index(HEADINGS.rstrip())
    assert lines[start + 4].startswith("best: ")
    assert len(lines) == start + 5
