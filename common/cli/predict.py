"""The command that shows images to a network: predict."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .._util.json_text import as_json
from .._util.one_line import one_line
from ..errors import FileError, UsageError
from .command import BAD_INPUT, app, say
from .options import (
    BackendOption,
    FamilyOption,
    FromOption,
    GivenDialect,
    JsonFlag,
    SizeOption,
    WeightsOption,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from rich.console import JustifyMethod

    from ..images.sources import Source
    from ..training.predict import Prediction

    Centres = tuple[np.ndarray, np.ndarray]  # rows and columns

BATCH = 32  # images at a time
NUMBERS = "numbers"
NARROWEST, WIDEST = 80, 10_000  # columns of a table
SHOWN = ("path", "classes", "labels", "wnids", "probabilities")  # of a prediction
CSV_HEAD = ("image", "rank", "class", "label", "wnid", "probability")


@app.command()
def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Image files, folders of them, http(s) addresses, or - for an image on standard "
            "input.",
            show_default=False,
        ),
    ],
    weights: WeightsOption,
    top: Annotated[int, typer.Option(help="Number of classes to print for each image.")] = 5,
    names: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|imagenet|numbers",
            help="Where the names of the classes come from: a JSON table such as "
            "class_indices.json, a text file with a name in each line, ImageNet's names, or "
            "numbers only. Default: as the weights, or files beside them, say.",
        ),
    ] = None,
    cam: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write pictures to this folder that show which parts of the image speak for each "
            "class (class activation maps).",
        ),
    ] = None,
    to_json: JsonFlag = False,
    to_csv: Annotated[
        bool, typer.Option("--csv", help="Print the result as CSV, a row for each class.")
    ] = False,
    batch: Annotated[int, typer.Option(help="Number of images to run at a time.")] = BATCH,
    backend: BackendOption = None,
    dialect: GivenDialect = None,
    image_size: SizeOption = None,
    family: FamilyOption = None,
    from_folder: FromOption = None,
) -> None:
    """Print the most likely classes of images.

    An image that cannot be read is reported on stderr and makes the exit status 2.  The other
    images are predicted nevertheless.
    """
    from ..images.sources import sources
    from ..training.activation import cell_centres, make_folder
    from ..training.predict import prepared

    if to_json and to_csv:
        raise UsageError("json and csv exclude one another; choose one", argument="csv")
    found = sources(images)
    predictor = prepared(
        weights,
        top=top,
        names=names,
        batch=batch,
        backend=backend,
        dialect=dialect,
        image_size=image_size,
        family=family,
    )
    if cam is not None:
        make_folder(cam)
    unreadable: dict[str, FileError] = {}
    rows = []

    def leave_out(source: Source, error: FileError) -> None:
        unreadable[str(source.name)] = error

    with _progress(len(found)) as done:
        for number, prediction in enumerate(predictor.predictions(found, leave_out, done)):
            row = _row(prediction)
            if cam is not None:
                row["maps"] = _save(cam, number, prediction, cell_centres(predictor.network))
            rows.append(row)  # without its arrays: there may be any number of images
    if not rows:
        _refuse(list(unreadable.values()))
    called = predictor.names
    if to_json:
        told = {
            "weights": weights,
            "names_from": called.source,
            "assumed": called.assumed,
            "images": rows,
            "unreadable": {name: error.problem for name, error in unreadable.items()},
        }
        typer.echo(as_json(told), nl=False)
    elif to_csv:
        typer.echo(_as_csv(rows), nl=False)
    else:
        _print_table(rows)
    if called.assumed:
        say(
            f"note: nothing names the {len(called.labels):,} classes of {weights}; they are "
            f"assumed to be those of {called.source} (--names {NUMBERS} prints numbers instead)",
            err=True,
        )
    _report(unreadable.values())


def _row(prediction: Prediction) -> dict[str, Any]:
    """What is printed of a prediction."""
    found = prediction.to_dict()
    return {name: found[name] for name in SHOWN}


def _save(folder: Path, number: int, prediction: Prediction, centres: Centres) -> list[str]:
    """Write the activation maps of an image; their names begin with its number and its own."""
    from ..images.sources import Source
    from ..training.activation import save_maps

    name = f"{number:03}-{Source(prediction.path).stem}"
    return list(map(str, save_maps(folder, name, prediction, centres)))


@contextmanager
def _progress(images: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, if that is a terminal, and what is told how many images are done."""
    console = Console(stderr=True)
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console.is_terminal and images > 1
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("", total=images)
        yield lambda done: bar.update(task, completed=done)


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("Image", "Class", "Probability"):
        justify: JustifyMethod = "right" if heading == "Probability" else "left"
        grid.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        pairs = zip(row["labels"], row["probabilities"], strict=True)
        for rank, (label, share) in enumerate(pairs):
            # Names of files and classes are printed as they are: brackets are no markup.
            image = "" if rank else one_line(row["path"])
            grid.add_row(Text(image), Text(one_line(label)), f"{share:.2%}")
    console = Console()
    # In a file, and for another program, a row is one line.
    width = max(console.width, NARROWEST) if console.is_terminal else WIDEST
    Console(width=width).print(grid)
    for row in rows:
        for path in row.get("maps", ()):
            say(path)


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A row for each class of each image, under a row of headings."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_HEAD)
    for row in rows:
        columns = (row[name] for name in SHOWN[1:])
        for rank, (number, label, wnid, share) in enumerate(zip(*columns, strict=True), 1):
            image = one_line(row["path"])
            table.writerow((image, rank, number, one_line(label), wnid or "", repr(share)))
    return text.getvalue()


def _refuse(unreadable: Sequence[FileError]) -> NoReturn:
    """End where no image could be read."""
    for error in unreadable[:-1]:
        say(f"rosetta: {error}", err=True)
    raise unreadable[-1]


def _report(unreadable: Collection[FileError]) -> None:
    """Say what could not be read, and end as with any other bad input."""
    for error in unreadable:
        say(f"rosetta: {error}", err=True)
    if unreadable:
        raise typer.Exit(BAD_INPUT)
