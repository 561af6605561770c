"""The site, built once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def sphinx(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """A strict build, as `make docs` does it, without the colours that CI=true would bring."""
    options = ("--no-color", "-q", "-E", "-W", "--keep-going", "-n", "-b", "html")
    command = [sys.executable, "-m", "sphinx", *options, str(source), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The built pages: those that `make docs-test` has just built, or built here from a copy."""
    if "ROSETTA_SITE" in os.environ:
        return (ROOT / os.environ["ROSETTA_SITE"]).resolve()
    copy = tmp_path_factory.mktemp("site") / "room"
    left_out = shutil.ignore_patterns(".*", "build", "runs", "__pycache__", "*.egg-info", "api")
    shutil.copytree(ROOT, copy, ignore=left_out)
    done = sphinx(copy / "docs", copy / "build")
    assert done.returncode == 0, done.stderr
    return copy / "build"
