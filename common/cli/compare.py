"""The command that compares any two programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import efficientnet_rosetta as rosetta

from .command import app, say
from .options import REFERENCES, FromOption, GivenDialect, JsonFile, end

if TYPE_CHECKING:
    from ..parity.compare import Compared


@app.command()
def compare(
    first: Annotated[
        str,
        typer.Argument(
            help=f"An ONNX file, a Python function (module:function), a checkpoint, {REFERENCES}."
        ),
    ],
    second: Annotated[str, typer.Argument(help="Another one; it need not be of the same kind.")],
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="An image, or a batch of images as .npy. Default: the built-in photograph.",
        ),
    ] = None,
    dialect: GivenDialect = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Largest difference of an output that is allowed, in standard deviations of the "
            "first program's output. Default: 1e-11 for two checkpoints, which are run in float64, "
            "1e-4 for others, and more where rounding is seen to cause more."
        ),
    ] = None,
    after: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Start both programs behind these values, one of each, from the first's value."
        ),
    ] = None,
    from_folder: FromOption = None,
    json_file: JsonFile = None,
) -> None:
    """Run two programs on the same images, and find the first operation in which they differ.

    Operations are matched by what they compute, not by their names.  The last line says what is
    proved.  Exit status: 0 if the outputs agree, 1 if they differ, 3 if rounding may be all that
    they differ by and nothing can be said, 2 if a program cannot be run.
    """
    from .._util.atomic import replacing
    from .._util.json_text import as_json

    with ExitStack() as stack:
        # Opened before the work: a folder that is not there is reported at once.
        report = stack.enter_context(replacing(json_file)) if json_file else None
        found = rosetta.compare(
            first, second, input=input_file, dialect=dialect, tolerance=tolerance, after=after
        )
        for line in _compare_lines(found):
            say(line)
        if found.resume is not None and after is None:
            options = [] if input_file is None else ["--input", str(input_file)]
            options += [] if dialect is None else ["--dialect", dialect]
            options += [] if tolerance is None else ["--tolerance", f"{tolerance:g}"]
            options += [] if from_folder is None else ["--from", str(from_folder)]
            command = ["rosetta", "compare", first, second, *options, "--after", *found.resume]
            say(f"  run only the rest again: {shlex.join(command)}")
        if report:
            report.write_text(as_json(found), encoding="utf-8")
    end(found.verdict)


def _compare_lines(found: Compared) -> Iterator[str]:
    """What two programs are, whether they agree, and if not, where they part."""
    from ..backends.align import operation_sentences

    for name, kind in zip(found.names, found.kinds, strict=True):
        yield f"{name}: {kind}"
    shape = "x".join(map(str, found.shape))
    yield (
        f"{found.output} ({shape}) {'agrees' if found.agree else 'DIFFERS'}: largest error "
        f"{found.error:.1e} standard deviations, allowed {found.tolerance:.0e}; "
        f"{len(found.pairs)} operations agree"
    )
    if found.divergence is not None:
        yield (
            "  the error appears at once"
            if found.jump
            else "  the error grows from operation to operation, as rounding errors do"
        )
        yield from (f"  {sentence}" for sentence in operation_sentences(found.divergence))
    if found.tensors is not None:
        listed = f"; the first of them is {found.tensors[0]}" if found.tensors else ""
        yield f"  {len(found.tensors)} tensors of the two files differ{listed}"
