"""One situation, from the file that a library writes to the result that another one runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from parity_tests.situations import targets
from parity_tests.situations.making import Make, images

# Of float32: the largest error over the root mean square of what is right.  A mistake in padding,
# epsilon or any tensor is a hundred times larger (pitfalls are measured in docs/results).
LIMIT = 1e-3
CHOOSING = ("raw", "network")  # options that say which weights of a file are meant
# How the last line of `rosetta port` begins, and its exit status.
PROVED = ("proved", 0)
NOT_RUN = ("weights proved, outputs not run", 3)  # of networks that no program of ours has


@dataclass(frozen=True)
class Situation:
    """What somebody has and wants, and how it must end."""

    name: str
    have: str  # in the words of the page
    thread: str  # where people ask about it, owner/repository#number; empty for a documented form
    make: Make
    file: str
    # What `inspect` must find; no layout where the file must be refused.
    layout: str = ""
    preset: str = "b0"
    classes: int | None = None
    channels: int = 3
    maps: bool = False  # it ends before its last convolution
    head: str = ""  # what stands behind the features, for the page
    # What `port` must do.
    to: str = ""  # nothing, where it must refuse
    dialect: str | None = None  # that is given, where the file does not say it
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[str, ...] = ()  # words of the refusal: of the file, or of a port without options
    scale: float = 1  # that an exporter folded into the first kernel: of the images for the result
    limit: float = LIMIT
    slow: bool = False

    @property
    def ending(self) -> tuple[str, int]:
        """How a port with its proof must end."""
        return NOT_RUN if self.maps else PROVED

    @property
    def options_shown(self) -> str:
        """The options that the port needs, as they are typed."""
        flags = []
        for name, value in self.options.items():
            flag = f"--{name.replace('_', '-')}"
            flags.append(flag if value is True else f"{flag} {value}")
        return " ".join(flags)


@dataclass(frozen=True)
class Found:
    """What became of a situation."""

    layout: str = ""
    preset: str = ""
    classes: int | None = None
    refusal: str = ""  # what was said
    error: float | None = None  # of the target library's outputs, from the source library's
    ending: str = ""  # of `rosetta port` with its proof, where that was run


def judged(situation: Situation, folder: Path, prove: Callable[..., str] | None = None) -> Found:
    """Make the file, inspect it, port it, and run the result in its library.

    `prove` runs the port with its own proof as well, and says how that ended.

    Raises:
        AssertionError: something is not as the situation expects it.
    """
    given = images(situation.channels)
    path = folder / situation.file
    truth = situation.make(path, given)
    if not situation.layout:
        return Found(refusal=_refusal(situation, lambda: rosetta.inspect(path)))
    chosen = {name: situation.options[name] for name in CHOOSING if name in situation.options}
    found = rosetta.inspect(path, dialect=situation.dialect, **chosen)
    # The name of a graph's layout ends in the version of its exporter.
    names = {re.sub(r" \d[\d.+a-z]*$", "", name) for name in found.layouts}
    assert situation.layout in names, found.layouts
    assert (found.preset, found.in_channels) == (situation.preset, situation.channels)
    assert found.num_classes == situation.classes
    result = folder / f"ported{targets.SUFFIXES.get(situation.to, '.pth')}"
    refusal = ""
    if situation.refused:
        to = situation.to or "timm-tf"
        bare = {"dialect": situation.dialect, "run": False}
        refusal = _refusal(situation, lambda: rosetta.port(path, result, to, **bare))
        assert not result.exists()
    error, ending = None, ""
    if situation.to:
        options = {"dialect": situation.dialect, **situation.options}
        rosetta.port(path, result, situation.to, **options, run=False)
        error = _error(situation, result, given, truth)
        if prove is not None:
            result.unlink()
            ending = prove(path, result, situation)
    return Found(
        layout=situation.layout,
        preset=found.preset,
        classes=found.num_classes,
        refusal=refusal,
        error=error,
        ending=ending,
    )


def _refusal(situation: Situation, call: Callable[[], object]) -> str:
    with pytest.raises(RosettaError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    for words in situation.refused:
        assert words in said, said
    return said.partition(": ")[2]


def _error(situation: Situation, result: Path, given: np.ndarray, truth: np.ndarray) -> float:
    headless = situation.options.get("drop_head") or situation.classes is None
    network = resolve(
        situation.preset,
        num_classes=None if headless else situation.classes,
        in_channels=situation.channels,
    )
    ours = targets.run(
        situation.to, result, network, given * np.float32(situation.scale), situation.maps
    )
    assert ours.shape == truth.shape
    error = float(np.abs(ours - truth).max() / np.sqrt(np.square(truth, dtype=np.float64).mean()))
    assert error < situation.limit, error
    return error


def proof(path: Path, result: Path, situation: Situation) -> str:
    """Port as a person types it, and what the command ends in.

    Raises:
        AssertionError: that is not as it must be.
    """
    options = situation.options_shown.split()
    if situation.dialect:
        options += ["--dialect", situation.dialect]
    done = CliRunner().invoke(app, ["port", str(path), str(result), "--to", situation.to, *options])
    ending, status = situation.ending
    assert done.exit_code == status, done.output
    last = done.stdout.splitlines()[-1]
    assert last.startswith(ending), last
    return last
