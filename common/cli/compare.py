"""The command that compares any two programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import efficientnet_rosetta as rosetta

from ..errors import RosettaError
from ..guard.contract import CONTRACT
from .command import app, say
from .options import REFERENCES, FromOption, GivenDialect, JsonFile, end

if TYPE_CHECKING:
    from ..guard.finding import Apart, Finding

# What stands below the options.
FUNCTIONS = (
    f"Functions of your own: {CONTRACT}. Without --input, a function is given inputs of the shapes "
    "that the other program states, or else the built-in photograph, (1, 3, 224, 224), with values "
    "from 0 to 1. module:name may also be a model of PyTorch or Keras."
)


@app.command(epilog=FUNCTIONS)
def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="An ONNX file, a SavedModel, a .tflite, .keras or .pt2 file, TorchScript, a "
            f"Python function or model (module:name), a checkpoint, {REFERENCES}."
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(help="The program to compare it with, which may be of another kind."),
    ],
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="PATH",
            help="What to run the programs on: an image, a folder of images, an array as .npy, or "
            "several arrays by name as .npz. Default: inputs of the shapes that the programs "
            "state, or the built-in photograph if they state none.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Order of the axes of the images that the programs take: NCHW or NHWC, or one "
            "for each program: NCHW,NHWC. Default: as the programs state."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the inputs that are made.")] = 0,
    dialect: GivenDialect = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Largest difference of an output that is allowed, in standard deviations of the "
            "first program's output. Default: as much as rounding changes these programs on these "
            "inputs, which is measured, and at least 1e-11 in float64 and 1e-4 in float32."
        ),
    ] = None,
    atol: Annotated[
        float | None,
        typer.Option(
            help="Largest difference that is allowed, in the output's own units, instead of "
            "--tolerance."
        ),
    ] = None,
    after: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Start both programs right after these two values, one of each program, and give "
            "both the value that the first one has there."
        ),
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write a report to this file as HTML."),
    ] = None,
    json_file: JsonFile = None,
    from_folder: FromOption = None,
) -> None:
    """Run two programs on the same inputs, and find the first operation in which they differ.

    Operations are matched by what they compute, not by their names.  The last line says what is
    proved.  Exit status: 0 if the outputs agree, 1 if they differ, 3 if neither can be said (for
    example because rounding may explain the whole difference), 2 if a program cannot be run.
    """
    from .._util.atomic import replacing
    from .._util.json_text import as_json
    from ..guard.recognise import importing_from_here

    with ExitStack() as stack:
        stack.enter_context(importing_from_here())  # what a function imports when it is called
        # Opened before the work: a folder that is not there is reported at once.
        data, page = (
            stack.enter_context(replacing(path)) if path else None
            for path in (json_file, report_file)
        )
        with _saying_where():
            found = rosetta.compare(
                first,
                second,
                input=input_file,
                layout=_layouts(layout),
                seed=seed,
                dialect=dialect,
                tolerance=tolerance,
                atol=atol,
                after=after,
            )
        for line in _compare_lines(found):
            say(line)
        command = None
        if found.resume is not None and after is None:
            options = {
                "--input": input_file,
                "--layout": layout,
                "--seed": seed or None,
                "--dialect": dialect,
                "--tolerance": tolerance,
                "--atol": atol,
                "--from": from_folder,
            }
            command = _command(first, second, options, found.resume)
            say(f"  run only the rest again: {command}")
        if data:
            data.write_text(as_json(found), encoding="utf-8")
        if page:
            from ..guard.report import html

            page.write_text(html([found], " and ".join(found.names), command), encoding="utf-8")
    end(found.verdict)


@contextmanager
def _saying_where() -> Iterator[None]:
    """Add to an error which line of the user's own code it comes from, where it does."""
    from ..guard.origin import origin

    try:
        yield
    except RosettaError as error:
        error.args = (f"{error}{origin(error)}",)
        raise


def _layouts(said: str | None) -> str | tuple[str | None, str | None] | None:
    """The order of axes for both programs, or for each of them."""
    if said is None or "," not in said:
        return said
    first, _, second = said.partition(",")
    return first or None, second or None


def _command(
    first: str, second: str, options: Mapping[str, object], resume: tuple[str, str]
) -> str:
    """What runs the same programs from where they part."""
    said = [
        text
        for name, value in options.items()
        if value is not None
        for text in (name, f"{value:g}" if isinstance(value, float) else str(value))
    ]
    return shlex.join(["rosetta", "compare", first, second, *said, "--after", *resume])


def _compare_lines(found: Finding) -> Iterator[str]:
    """What two programs are, whether they agree, and if not, where they part."""
    from ..guard.message import details

    for name, kind, precision in zip(found.names, found.kinds, found.precisions, strict=True):
        yield f"{name}: {kind}, in {precision}"
    for output in found.outputs:
        yield _output_line(output, found)
    yield from (f"  {line}" for line in details(found))


def _output_line(output: Apart, found: Finding) -> str:
    said = "agrees" if output.agrees else "DIFFERS" if output.differs else "is not compared"
    shape = "x".join(map(str, output.shape))
    line = (
        f"{output.output} ({shape}) {said}: largest error {output.error:.1e} standard deviations, "
        f"allowed {output.allowed:.0e}"
    )
    if output is found.worst:
        line += f"; {len(found.pairs)} operations agree"
    return line
