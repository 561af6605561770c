"""The fixture `parity` as a test has it, and sessions of pytest in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from efficientnet_rosetta.common.guard.fixture import Asked, Parity

PLUGIN = "efficientnet_rosetta.common.guard.plugin"
ROOT = Path(__file__).parents[2]


def fixture_of(folder, test="test_mine.py::test_they_agree", *, marked=None, notes=None, **asked):
    """The fixture of a test in a folder; what it notes is appended to a list."""
    noted = [] if notes is None else notes
    path = folder / test.partition("::")[0]
    return Parity(test, path, Asked(**asked), marked or {}, noted.append)


def session(folder, *options, plugins=()):
    """Run the tests of a folder with the plugin, and no other than those named."""
    named = [word for plugin in (*plugins, PLUGIN) for word in ("-p", plugin)]
    # The plugin of this checkout, whichever is installed.
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *named, *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def images(batch=2, side=8, seed=0):
    """Noise as images (N, 3, side, side)."""
    noise = np.random.default_rng(seed).standard_normal((batch, 3, side, side))
    return noise.astype(np.float32)


def means(x):
    """A program that anybody may write: (N, C, H, W) -> (N, C)."""
    return np.square(x).mean((2, 3))
