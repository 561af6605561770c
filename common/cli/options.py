"""Options that several commands have, and how sizes and shares are printed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ..architectures import PRESETS
from ..catalogue.fetch import FOLDER
from ..network import DIALECTS
from .command import say

if TYPE_CHECKING:
    from ..backends.judgement import Verdict

# Exit statuses: 0 is proved, and 2 input that cannot be used.
DIFFERS = 1
NOT_RUN = 3  # the weights are proved, the outputs were not run
SKIPPED_SHOWN = 5  # images that could not be read
PATIENCE = 2.0  # seconds, after which a command says what it is doing

PresetArgument = Annotated[str, typer.Argument(help=f"One of: {', '.join(PRESETS)}.")]
DialectOption = Annotated[
    str | None,
    typer.Option(
        help=f"Rules for padding, epsilon and momentum of the library to imitate: "
        f"{', '.join(DIALECTS)}. Default: those of the network's own code."
    ),
]
GivenDialect = Annotated[
    str | None,
    typer.Option(
        "--dialect",
        help="The library whose rules for padding and epsilon the weights need, if the file does "
        f"not say: {', '.join(DIALECTS)}.",
    ),
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS", help="Side of the input image in pixels. Default: the preset's own."
    ),
]
WidthOption = Annotated[float | None, typer.Option(help="Width multiplier. Default: the preset's.")]
DepthOption = Annotated[float | None, typer.Option(help="Depth multiplier. Default: the preset's.")]
MiddleBlocksOption = Annotated[
    int | None,
    typer.Option(help="Number of blocks in the middle flow (Xception only). Default: 8."),
]
BackendOption = Annotated[
    str | None,
    typer.Option(help="Framework to use: torch or keras. Default: the one that is installed."),
]
KerasBackendOption = Annotated[
    str | None,
    typer.Option(
        help="Framework that Keras runs on: tensorflow, jax or torch. Default: what KERAS_BACKEND "
        "or Keras's own settings say."
    ),
]
FamilyOption = Annotated[
    str | None,
    typer.Option(
        help="Library whose image preprocessing to use (such as timm-tf-ap). Default: the one that "
        "the weights were trained with."
    ),
]
DataOption = Annotated[
    Path,
    typer.Option(
        metavar="DIR", help="Folder with a folder of images for each class, or with TFRecord files."
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=0, help="Number of processes (with Keras: threads) that read images.")
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write the result to this file as JSON."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def _offer(context: typer.Context, folder: Path | None) -> Path | None:
    """Let a folder take the place of the network, in this process and those that it starts."""
    if folder is not None:
        before = os.environ.get(FOLDER)
        os.environ[FOLDER] = str(folder.absolute())
        context.call_on_close(lambda: _put_back(before))
    return folder


def _put_back(before: str | None) -> None:
    if before is None:
        os.environ.pop(FOLDER, None)
    else:
        os.environ[FOLDER] = before


NetworkOption = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="PREFIX",
        help="Where a file holds several networks, use the one whose keys begin with this.",
    ),
]

REFERENCES = (
    "or the name of a published one: library:name, as `rosetta weights` lists them, "
    "hf-hub:owner/name, or an https address"
)
WeightsOption = Annotated[
    str,
    typer.Option(
        metavar="FILE", help=f"Checkpoint of any layout that `rosetta port` reads, {REFERENCES}."
    ),
]
# Seen to by its callback: what is fetched is fetched far below the commands.
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="DIR",
        callback=_offer,
        help="Folder with published files that you fetched elsewhere, under their file names or "
        "as a hub's tools leave them; then nothing is downloaded. "
        f"Default: ${FOLDER}, if that is set.",
    ),
]

RunFlag = Annotated[
    bool,
    typer.Option(
        "--run/--no-run",
        help="Run both files on the same images, and compare the outputs in float64.",
    ),
]


def end(verdict: Verdict) -> NoReturn:
    """Print what a check ended in as the last line, and say it in the exit status."""
    say(str(verdict))
    raise typer.Exit({"proved": 0, "differs": DIFFERS}.get(verdict.ending, NOT_RUN))


class Steps:
    """Prints what is done next on stderr, once the work has taken two seconds."""

    def __init__(self) -> None:
        self.step, self.late = "", False
        self.timer = threading.Timer(PATIENCE, self._ring)
        self.timer.daemon = True

    def __enter__(self) -> Steps:
        self.timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.timer.cancel()

    def __call__(self, step: str) -> None:
        self.step = step
        if self.late:
            self._print()

    def _ring(self) -> None:
        self.late = True
        self._print()

    def _print(self) -> None:
        if self.step:
            say(f"{self.step} ...", err=True)


def pixels(size: tuple[int, int]) -> str:
    """`224x224`"""
    return f"{size[0]}x{size[1]}"


def skipped_lines(skipped: Mapping[str, str]) -> Iterator[str]:
    """How many images were left out, and why the first of them were."""
    if skipped:
        images = "image" if len(skipped) == 1 else "images"
        yield f"left out: {len(skipped):,} {images} that cannot be read"
        yield from (f"  {reason}" for reason in list(skipped.values())[:SKIPPED_SHOWN])
