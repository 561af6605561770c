"""The command `rosetta` as a whole: its commands are registered here by those who import this."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import efficientnet_rosetta as rosetta

from ..errors import RosettaError

DEBUG = "ROSETTA_DEBUG"  # of the environment: show where an error comes from
BAD_INPUT = 2  # exit status

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Describe EfficientNet and Xception once, build them in PyTorch and in Keras, move weights "
        "between libraries, and prove that nothing changed.  Exit status 2 means that the input "
        "cannot be used; the message says why."
    ),
)


def main() -> None:
    """Run the command; bad input is one line on stderr and exit status 2."""
    try:
        app()
    except (RosettaError, MemoryError) as error:
        if os.environ.get(DEBUG):
            raise
        typer.echo(f"rosetta: {_line(error)}", err=True)
        sys.exit(BAD_INPUT)


def _line(error: RosettaError | MemoryError) -> str:
    """What is wrong and what to do, with the option that changes it."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory for this ({error or 'no details'})"
    option = "" if error.argument is None else f" (--{error.argument.replace('_', '-')})"
    return f"{error}{option}"


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"rosetta {rosetta.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
