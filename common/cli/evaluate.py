"""The command that measures networks: evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

import efficientnet_rosetta as rosetta

from .._util.one_line import one_line
from .command import app, say
from .options import (
    BackendOption,
    DataOption,
    FamilyOption,
    FromOption,
    GivenDialect,
    JsonFlag,
    KerasBackendOption,
    SizeOption,
    WeightsOption,
    WorkersOption,
    skipped_lines,
)

if TYPE_CHECKING:
    from ..training.evaluate import Evaluation
    from ..training.judging import ClassScore

BATCH = 32  # images at a time
SHOWN = 30  # classes
WIDTH = 100  # columns of a table in a file
NOTHING = "-"  # a share of nothing


@app.command()
def evaluate(
    weights: WeightsOption,
    data: DataOption,
    backend: BackendOption = None,
    keras_backend: KerasBackendOption = None,
    dialect: GivenDialect = None,
    image_size: SizeOption = None,
    batch: Annotated[int, typer.Option(help="Number of images to run at a time.")] = BATCH,
    held_out: Annotated[
        float,
        typer.Option(
            help="Use only the images that a training run with the same --held-out did not train "
            "on. Default: all images."
        ),
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="The --seed of the training run whose held-out images to use.")
    ] = 0,
    confusion: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Write the confusion matrix (how many images of each class were taken for each) "
            "to this file, as numbers (.csv) or as a picture (.png). The option can be repeated.",
        ),
    ] = None,
    worst: Annotated[
        int,
        typer.Option(
            metavar="N", help="Also print the N images whose true class was found least probable."
        ),
    ] = 0,
    family: FamilyOption = None,
    workers: WorkersOption = 2,
    from_folder: FromOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure the accuracy of weights on a folder of images, overall and for each class.

    If the folder has train and val, the images of val are used.
    """
    from .._util.atomic import replacing
    from ..training.judging import writer

    with ExitStack() as stack:
        # Opened before the work: what cannot be written is reported at once.
        files = [
            (writer(path), stack.enter_context(replacing(path)))
            for path in dict.fromkeys(confusion or ())
        ]
        found = rosetta.evaluate(
            weights,
            data,
            backend=backend,
            keras_backend=keras_backend,
            dialect=dialect,
            image_size=image_size,
            batch=batch,
            held_out=held_out,
            seed=seed,
            family=family,
            workers=workers,
            worst=worst,
        )
        names = [score.name for score in found.classes]
        for write, path in files:
            write(path, found.confusion, names)
    if as_json:
        from .._util import json_text

        told = {**found.to_dict(), "skipped": len(found.skipped), "confusion": found.confusion}
        typer.echo(json_text.as_json(told), nl=False)
        return
    say(
        f"{found.images:,} images: top-1 {found.top1:.2%}, top-5 {found.top5:.2%}, "
        f"cross-entropy {found.loss:.4f}"
    )
    for line in skipped_lines(found.skipped):
        say(line)
    _print_tables(found)


def _print_tables(found: Evaluation) -> None:
    """The classes, those of the least recall where they are many, and the worst images."""
    console = Console()
    wide = console if console.is_terminal else Console(width=WIDTH)
    shown: Sequence[ClassScore] = found.classes
    if len(shown) > SHOWN:
        told = [score for score in shown if score.recall is not None]
        shown = sorted(told, key=lambda score: (score.recall, score.name))[:SHOWN]
    wide.print(_table(("Class", "Images", "Precision", "Recall"), map(_class_row, shown)))
    if left := len(found.classes) - len(shown):
        say(f"{left:,} more classes have a better recall, or no images (--json prints all)")
    if found.worst:
        rows = (
            (image.path, image.true, image.predicted, f"{image.probability:.2%}")
            for image in found.worst
        )
        wide.print(_table(("Image", "Class", "Taken for", "Probability"), rows))


def _class_row(score: ClassScore) -> tuple[str, ...]:
    return score.name, f"{score.images:,}", _share(score.precision), _share(score.recall)


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2%}"


def _table(headings: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Table:
    """Names as they are, in which brackets are no markup, and numbers to the right."""
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    numbers = ("Images", "Precision", "Recall", "Probability")
    for heading in headings:
        right = heading in numbers
        grid.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(one_line(cell)) for cell in row))
    return grid
