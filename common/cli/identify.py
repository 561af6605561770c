"""The command that says which published checkpoint a file is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import efficientnet_rosetta as rosetta

from .._util import json_text
from .command import app, say
from .options import JsonFlag, NetworkOption

SHOWN = 20  # published checkpoints


@app.command()
def identify(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint of any layout and format.")
    ],
    network: NetworkOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Say which published checkpoint a file is, if it is one.

    The file is recognised by its hash, where its library states one, or by its weights, in
    whatever layout, precision or wrapper these are.  Exit status: 0 if it is a published
    checkpoint, 1 if it is none of those that are known.
    """
    found = rosetta.identify(file, network=network)
    if as_json:
        typer.echo(json_text.as_json(found), nl=False)
    else:
        for one in found.published[:SHOWN]:
            say(f"{one.reference}: {one.how}")
        if len(found.published) > SHOWN:
            say(f"and {len(found.published) - SHOWN} more, which --json lists")
        if found.unread is not None:
            say(f"note: its weights were not compared: {found.unread}")
        if not found.published:
            say(
                f"{file}: no published checkpoint is known to be this file; of "
                f"{found.records} checkpoints, the hashes of {found.hashes} and the weights of "
                f"{found.fingerprints} are known and were compared"
            )
    if not found.published:
        raise typer.Exit(1)
