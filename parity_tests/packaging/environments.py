"""Environments that hold this project's wheel and chosen distributions, and nothing else.

They are made without a network: the distributions are linked from the environment that the tests
run in, with what they require themselves, as `pip install` would have put them there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
NAME = "efficientnet-rosetta"
SITE = Path(sysconfig.get_path("purelib"))


def sources(folder: Path) -> Path:
    """A copy of what git would check out: building leaves files beside the sources."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def built(what: str, folder: Path) -> Path:
    """The wheel, or the sdist, of the checkout."""
    source, out = sources(folder / "source"), folder / "out"
    out.mkdir()
    program = f"from setuptools import build_meta; build_meta.build_{what}({str(out)!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (made,) = out.iterdir()
    return made


def required(extra: str = "") -> set[str]:
    """Names of the distributions that an extra needs, with what they need in their turn."""
    return _closure(_requirements(distribution(NAME), {extra}))


def _closure(queue: list[Requirement]) -> set[str]:
    """Names of the distributions that are required, with what they need in their turn."""
    found: set[str] = set()
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name == NAME:
            queue += _requirements(distribution(NAME), requirement.extras)
        elif name not in found:
            try:
                queue += _requirements(distribution(name), requirement.extras)
            except PackageNotFoundError:  # not for this platform, or built in
                continue
            found.add(name)
    return found


def _requirements(found: Distribution, extras: Iterable[str]) -> list[Requirement]:
    """What a distribution requires here, with some of its extras."""
    parsed = [Requirement(text) for text in found.requires or ()]
    wanted = {"", *extras}
    return [
        requirement
        for requirement in parsed
        if requirement.marker is None
        or any(requirement.marker.evaluate({"extra": extra}) for extra in wanted)
    ]


@cache
def _top_level(name: str) -> tuple[str, ...]:
    """What a distribution has put into site-packages."""
    files = distribution(name).files or ()
    return tuple(sorted({file.parts[0] for file in files if file.parts[0] != ".."}))


class Environment:
    """A Python with the wheel of this project and what some extras of it require."""

    def __init__(self, folder: Path, wheel: Path, *extras: str):
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin" / "python"
        self.site = Path(
            sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
        )
        self._link(set().union(required(), *(required(extra) for extra in extras)))
        self.pip("install", "--no-deps", "--no-index", str(wheel))

    def add(self, name: str) -> None:
        """Have another distribution, and what it requires."""
        self._link({name} | _closure(_requirements(distribution(name), ())))

    def _link(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            for entry in _top_level(name):
                link = self.site / entry
                if not link.exists() and (SITE / entry).exists():
                    link.symlink_to(SITE / entry)

    def pip(self, *arguments: str) -> None:
        """Run the pip of the tests' own environment on this one."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run its Python, which knows nothing of the checkout."""
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        return subprocess.run(
            [str(self.python), *arguments],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "100"},
        )

    def rosetta(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the command that the wheel has installed."""
        return self.run(str(self.python.with_name("rosetta")), *map(str, arguments), cwd=cwd)

    def succeeds(self, *arguments: object, cwd: Path) -> str:
        """What the command prints, if it ends well."""
        done = self.rosetta(*arguments, cwd=cwd)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refuses(self, *arguments: object, cwd: Path) -> str:
        """The line that the command ends with, if it ends as for bad input."""
        done = self.rosetta(*arguments, cwd=cwd)
        assert done.returncode == 2, f"{arguments}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        (line,) = done.stderr.splitlines()
        return line
