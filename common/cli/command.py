"""The command `rosetta` as a whole: its commands are registered here by those who import this."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

import efficientnet_rosetta as rosetta

from .._util.atomic import leaving_nothing_behind
from .._util.one_line import one_line
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
    for stream in (sys.stdout, sys.stderr):  # of any encoding, as a terminal may have another
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with leaving_nothing_behind():
            app()
    except (RosettaError, MemoryError, OSError) as error:
        if os.environ.get(DEBUG):
            raise
        _give_up(_line(error))


def _give_up(line: str) -> None:
    """Say a line on stderr, if that can be said, and end."""
    with suppress(OSError):
        say(f"rosetta: {line}", err=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # Python would try once more at the end, and report that in its own way
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(BAD_INPUT)


def say(line: object, err: bool = False) -> None:
    """Print a line, whatever names from outside are in it: as they are, without line ends."""
    typer.echo(one_line(str(line)), err=err)


def _line(error: RosettaError | MemoryError | OSError) -> str:
    """What is wrong and what to do, with the option that changes it."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory for this ({error or 'no details'})"
    if isinstance(error, OSError) and not isinstance(error, RosettaError):
        why = error.strerror or error
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO):
            return f"what there is to say cannot be printed ({why}); send it to another place"
        return f"{error.filename or 'a file'}: {why}"
    option = "" if error.argument is None else f" (--{error.argument.replace('_', '-')})"
    return f"{error}{option}"


def _print_version(requested: bool) -> None:
    if requested:
        say(f"rosetta {rosetta.__version__}")
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
