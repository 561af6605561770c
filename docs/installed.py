"""Writes docs/results/installed.json: what each extra has on disk, with all that it requires.

For the ways to install that docs/use/install.md names it also writes how long pip works: this
installs them once more, in the same versions, into a folder that is then removed.

python docs/installed.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).parent
RESULT = HERE / "results" / "installed.json"
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]


WAYS = ("core", "all")  # without an extra, and with what networks need


def main() -> None:
    """Measure the environment that this runs in, which has all extras."""
    packages = {"core": required(PROJECT["dependencies"], set())}
    for extra, requirements in PROJECT["optional-dependencies"].items():
        packages[extra] = required(requirements, set()) - packages["core"]
    sizes = {name: megabytes(names) for name, names in packages.items()}
    seconds = {way: seconds_of(packages["core"] | packages[way]) for way in WAYS}
    found = {
        "command": "python docs/installed.py",
        "torch": version("torch"),
        "megabytes": sizes,
        "seconds": seconds,
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def required(requirements: Iterable[str], found: set[str]) -> set[str]:
    """Names of all that is required, directly or not; what is not installed here is left out."""
    for text in requirements:
        wanted = Requirement(text)
        extras = ("", *wanted.extras)
        name = wanted.name.lower().replace("_", "-")
        if name == PROJECT["name"]:
            for extra in wanted.extras:
                required(PROJECT["optional-dependencies"][extra], found)
            continue
        try:
            needed = [Requirement(one) for one in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue
        if name in found and not wanted.extras:
            continue
        found.add(name)
        for one in needed:
            if is_needed(one, extras):
                one.marker = None
                required([str(one)], found)
    return found


def is_needed(requirement: Requirement, extras: Iterable[str]) -> bool:
    """Whether it belongs to this system, and to one of these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def megabytes(names: Iterable[str]) -> int:
    """What the files of these have together, in millions of bytes."""
    files = [file.locate() for name in names for file in distribution(name).files or ()]
    return round(sum(Path(str(file)).stat().st_size for file in files if file.exists()) / 1e6)


def seconds_of(names: Iterable[str]) -> int:
    """Processor time that pip takes to install these, however fast they arrive."""
    wanted = [f"{name}=={version(name)}" for name in sorted(names)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*pip, *wanted], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
