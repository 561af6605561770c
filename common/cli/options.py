"""Options that several commands have, and how sizes and shares are printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..architectures import PRESETS
from ..network import DIALECTS

DIFFERS = 1  # exit status

PresetArgument = Annotated[str, typer.Argument(help=f"One of: {', '.join(PRESETS)}.")]
DialectOption = Annotated[
    str,
    typer.Option(
        help=f"Rules for padding, epsilon and momentum of the library to imitate: "
        f"{', '.join(DIALECTS)}."
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
BackendOption = Annotated[
    str | None,
    typer.Option(help="Framework to use: torch or keras. Default: the one that is installed."),
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


def pixels(size: tuple[int, int]) -> str:
    """`224x224`"""
    return f"{size[0]}x{size[1]}"
