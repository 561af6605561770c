"""Running a module of this package in a Python process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import efficientnet_rosetta

# TensorFlow reads its log level when it is imported.
SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def run_module(
    module: str, argument: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a module by its full name with one argument, and capture what it prints.

    The folder where the user stands is not searched for modules (-P): something in it may have
    the name of one that the frameworks need.
    """
    package = str(Path(efficientnet_rosetta.__file__).parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-P", "-m", module, argument],
        capture_output=True,
        text=True,
        env={**os.environ, **SETTINGS, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})},
    )


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process failed: what it said last, or the signal that ended it."""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"ended by signal {-done.returncode}"
