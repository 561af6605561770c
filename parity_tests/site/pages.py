"""The pages of the site as text: their blocks, what they name, and running what they show."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from efficientnet_rosetta.common.checkpoints.run_files import NotRun, run_here
from efficientnet_rosetta.common.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if "api" not in path.relative_to(DOCS).parts  # made by the build
)
NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
NOT_RUN_STATUS = 3
NOT_RUN = NotRun("running both files of a port has tests of its own, test_outputs.py")
# What a page trains at full size is trained here on a few small images, for one epoch.
TRAINED = {"--epochs": "1", "--image-size": "32"}
SCALED = {"--width": "0.25", "--depth": "0.5"}  # where it does not start from given weights
SMALLER = {"--batch": {"2048": "4", "32": "4", "16": "64"}}  # of two kinds of images, and of digits


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line it begins at."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """`use/port.md`"""
    return str(page.relative_to(DOCS))


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page but for directives, whose names are in braces."""
    language, first, lines = None, 0, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if language is None:
            if line.startswith("```"):
                language, first, lines = line[3:].strip(), number, []
        elif line == "```":
            if "{" not in language:
                yield Block(page, first, language, "".join(f"{line}\n" for line in lines))
            language = None
        else:
            lines.append(line)
    assert language is None, f"{page}:{first} is not closed"


def named(role: str) -> Iterator[tuple[Path, str]]:
    """What pages write in a role: {role}`this`."""
    for page in PAGES:
        for found in re.findall(rf"\{{{role}\}}`([^`]+)`", page.read_text()):
            yield page, " ".join(found.split())


# ------------------------------------------------------------------ commands


def commands(block: Block) -> Iterator[str]:
    """The commands of a block, each on one line; a text in quotes may go over several of them."""
    begun = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        begun = f"{begun} {line}".strip()
        try:
            words = shlex.split(begun, comments=True)
        except ValueError:  # a quotation that is not closed
            continue
        if words:
            yield begun
        begun = ""
    assert not begun, f"{block}: {begun}"


def shown(block: Block) -> list[tuple[str, list[str]]]:
    """Every command of a console with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def rosetta(arguments: list[str]) -> tuple[int, list[str]]:
    """Run the command in this process: its exit status, and the lines a terminal would show."""
    shown = io.StringIO()
    with (
        patch.object(sys, "argv", ["rosetta", *arguments]),
        # What it says of its progress depends on how long the work takes.
        patch("efficientnet_rosetta.common.cli.options.PATIENCE", threading.TIMEOUT_MAX),
        contextlib.redirect_stdout(shown),
        contextlib.redirect_stderr(shown),
        pytest.raises(SystemExit) as done,
    ):
        main()
    return done.value.code or 0, shown.getvalue().splitlines()


@contextlib.contextmanager
def outputs_here() -> Iterator[None]:
    """Ports run their files in this process, which has imported the frameworks already."""
    with patch("efficientnet_rosetta.common.checkpoints.port.compare_runs", run_here):
        yield


@contextlib.contextmanager
def without_outputs() -> Iterator[None]:
    """Ports and comparisons of files that run neither of the two."""
    rooms = "efficientnet_rosetta.common.checkpoints"
    with (
        patch(f"{rooms}.port.compare_runs", lambda *_, **__: NOT_RUN),
        patch(f"{rooms}.verify.compare_runs", lambda *_, **__: NOT_RUN),
    ):
        yield


def run(line: str, folder: Path) -> None:
    """Run a command of a page in a folder, which is the current one.

    Programs that start others, on several machines or in an environment of their own, are stood for
    by what they start: torchrun and TF_CONFIG have tests of their own, in loops/test_processes.py.
    """
    words = shlex.split(line, comments=True)
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[0] == "torchrun":
        words = words[words.index("rosetta)") :]
        words[0] = "rosetta"
    if words[0] == "rosetta":
        with without_outputs():
            status, printed = rosetta(_small(words[1:]))
        differs = (1,) if "--force" in words else ()  # and is written nevertheless
        assert status in (0, NOT_RUN_STATUS, *differs), "\n".join(printed)
    elif words[:2] == ["python", "examples/emoji.py"]:
        assert (folder / words[2]).is_dir()  # it downloads, and has tests of its own
    elif words[0] == "python":
        with patch.object(sys, "argv", words[1:]):
            runpy.run_path(str(ROOT / words[1]), run_name="__main__")
    elif words[0] == "make":  # CI runs it; here, that there is such a target
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif words[:2] == ["pip", "install"]:
        _install(words[2:], folder)
    else:
        raise AssertionError(f"nothing here runs {line!r}")


KERAS_ON = "--keras-backend"


def _small(arguments: list[str]) -> list[str]:
    """A training of one epoch on small images; any other command as it is."""
    if arguments[0] != "train":
        return arguments
    found = list(arguments)
    if KERAS_ON in found:  # which this process has chosen: loops/test_keras_elsewhere.py
        place = found.index(KERAS_ON)
        del found[place : place + 2]
    scaled = {} if "--weights" in found else SCALED
    for option, value in {**TRAINED, **scaled}.items():
        if option in found:
            found[found.index(option) + 1] = value
        else:
            found += [option, value]
    for option, values in SMALLER.items():
        if option in found:
            place = found.index(option) + 1
            found[place] = values.get(found[place], found[place])
    return found


def _install(arguments: list[str], folder: Path) -> None:
    """What pip would install from a copy of this checkout, without asking any index."""
    copy = folder / "checkout"
    if not copy.exists():  # another command of the page has made it
        copy.mkdir()
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, copy)
        parts = ("efficientnet_rosetta", "common", "torch_impl", "keras_impl", "parity_tests")
        for part in parts:
            left_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, copy / part, ignore=left_out)
    offline = ["--dry-run", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, *arguments],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Would install efficientnet-rosetta" in done.stdout
    assert "does not provide the extra" not in done.stderr


def check_output(expected: list[str], printed: list[str]) -> None:
    """The same lines, in which measured numbers may be off by half, and `...` is anything.

    Whole numbers are counts and sizes, and are the same.
    """
    assert len(expected) == len(printed), "\n".join(printed)
    for line, found in zip(expected, printed, strict=True):
        pattern = re.sub(NUMBER, lambda _: "\0", line)
        pattern = re.escape(pattern).replace("\0", f"({NUMBER})").replace(r"\.\.\.", ".*")
        match = re.fullmatch(pattern, found)
        assert match, f"{line!r} is not {found!r}"
        for said, is_now in zip(re.findall(NUMBER, line), match.groups(), strict=True):
            whole = re.fullmatch(r"[-+]?\d+", said)
            assert is_now == said or not whole, found
            assert float(is_now) == pytest.approx(float(said), rel=0.5), found


def session(block: Block, names: dict[str, object]) -> None:
    """Run a session of Python, which prints what it is said to; `...` is anything."""
    test = doctest.DocTestParser().get_doctest(
        block.text, names, str(block), str(block), block.line
    )
    assert test.examples, block
    test.globs = names  # and not a copy, so that the next session knows them
    wrong: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    runner.run(test, out=wrong.append, clear_globs=False)
    assert not wrong, "".join(wrong)


def in_folder(folder: Path) -> patch.dict:
    """An environment in which child processes find this project wherever they are started."""
    return patch.dict(os.environ, {"PYTHONPATH": str(ROOT), "HOME": str(folder)})
