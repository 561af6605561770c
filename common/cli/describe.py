"""The commands that describe: table, recipe and layouts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..architectures import scaled
from . import tables
from .command import app, say
from .options import (
    DepthOption,
    MiddleBlocksOption,
    PresetArgument,
    SizeOption,
    WidthOption,
    pixels,
)

TABLE_WIDTH = 106  # that of L2, and of Xception
LAYOUTS_WIDTH = 150


@app.command()
def table(
    preset: PresetArgument = "b0",
    width: WidthOption = None,
    depth: DepthOption = None,
    middle_blocks: MiddleBlocksOption = None,
    size: SizeOption = None,
) -> None:
    """Print the stages of a network like the table of the paper, with parameters and cost."""
    from ..counting import count, count_stages

    network = scaled(preset, width, depth, middle_blocks, resolution=size)
    costs = count_stages(network)
    grid = Table(
        title=f"{network.title}: {tables.scaling(network.scaling)}, dropout {network.dropout:g}",
        caption="Resolution: input of the stage. Parameters: trainable, 1,000 classes. "
        "MACs: multiply-accumulates.",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("#", "Operator"):
        grid.add_column(heading, no_wrap=True)
    for heading in ("Resolution", "Channels", "Layers", "Stride", "Parameters", "MACs"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for number, sections in network.stages.items():
        cost = costs[number]
        row = tables.stage_row(sections)
        grid.add_row(
            str(number),
            row.operator,
            pixels(row.input_size),
            str(row.channels),
            str(row.layers),
            str(row.stride),
            f"{cost.trainable:,}",
            f"{cost.macs:,}",
        )
    total = count(network)
    grid.add_section()
    grid.add_row("", "total", *[""] * 4, f"{total.trainable:,}", f"{total.macs:,}")
    Console(width=max(Console().width, TABLE_WIDTH)).print(grid)


@app.command()
def recipe(
    name: Annotated[
        str | None, typer.Argument(help="The recipe to print. Without it, all are listed.")
    ] = None,
) -> None:
    """Print a training recipe: every number, the source it comes from, and what can be set."""
    from ..training.recipes import RECIPES, get_recipe

    if name is None:
        for known in RECIPES.values():
            say(f"{known.name:<12}{known.summary}")
        return
    found = get_recipe(name)
    grid = Table(title=found.summary, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("Item", "Value", "Source"):
        grid.add_column(heading, overflow="fold", no_wrap=heading == "Item")
    for row in tables.recipe_rows(found):
        grid.add_row(*row)
    Console(width=max(Console().width, TABLE_WIDTH)).print(grid)
    say("rosetta train --set NAME=VALUE takes:")
    for number, allowed in tables.number_rows(found):
        say(f"  {number:<40} {allowed}")


@app.command()
def layouts() -> None:
    """List the checkpoint layouts: the library, its models, file formats and dialects.

    A layout is one library's way of naming and arranging the weights.  A dialect is its rules for
    padding, epsilon and momentum.
    """
    from ..checkpoints.layouts import LAYOUTS

    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in tables.LAYOUT_HEADINGS:
        grid.add_column(heading, no_wrap=heading in ("Layout", "Library", "Sizes"))
    for row in tables.layout_rows(LAYOUTS):
        grid.add_row(*row)
    Console(width=max(Console().width, LAYOUTS_WIDTH)).print(grid)
