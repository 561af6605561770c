"""Commands in this process, and runs whose epochs are of one step that computes nothing."""

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.training.rows import Epoch, Step
from efficientnet_rosetta.common.training.state import State


def run(*arguments):
    """What the command prints, if it ends well."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def refused(*arguments):
    """The line that bad input gets."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, RosettaError), done.output + repr(done.exception)
    line = str(done.exception)
    assert "\n" not in line
    return line


def two_classes(root):
    """A folder of six images of each of two classes."""
    random = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(256, size=(9 + number, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def short_loop(monkeypatch, note):
    """Have PyTorch's loop make one epoch of one step; what is noted of each training.

    `note` is given it, and how many epochs were done before.
    """
    found = []

    def fit(training, weights, run):
        done = run.state.epochs if run.state else 0
        found.append(note(training, done))
        run.step(Step(done, done, 0.1, 1.0))
        row = Epoch(done + 1, done + 1, 1.0, 0.5, 1.0, 1.0, 0.5, 1.0, 0.1, 10.0, 0)
        state = State(done + 1, 0.5, weights, weights, {"momentum": weights, "square": weights})
        run.end_epoch(row, training.network, weights, lambda best: state)

    monkeypatch.setattr(get_backend("torch"), "fit", fit)
    return found
