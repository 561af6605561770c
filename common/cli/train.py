"""The command that trains networks: train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import efficientnet_rosetta as rosetta

from ..architectures import PRESETS
from .command import app, say
from .options import (
    REFERENCES,
    BackendOption,
    FamilyOption,
    FromOption,
    GivenDialect,
    SizeOption,
    WorkersOption,
    pixels,
    skipped_lines,
)
from .progress import HEADINGS, TrainingBar

if TYPE_CHECKING:
    from ..training.plan import Training

INTERRUPTED = 130  # exit status, as shells have it


@app.command()
def train(
    backend: BackendOption = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"Network to train: {', '.join(PRESETS)}. Default: b0."),
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Width multiplier. Default: the preset's.")
    ] = None,
    depth: Annotated[
        float | None, typer.Option(help="Depth multiplier. Default: the preset's.")
    ] = None,
    middle_blocks: Annotated[
        int | None,
        typer.Option(help="Number of blocks in the middle flow (Xception only). Default: 8."),
    ] = None,
    dialect: GivenDialect = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with a folder of images for each class, or with TFRecord files.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="One that `rosetta recipe` lists. Default: official.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help=f"Start from this checkpoint, of any layout, {REFERENCES}."
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            metavar="backbone|N",
            help="Leave weights as they are: all but the classifier, or the first N stages.",
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            help="Number of classes in TFRecord files; 1001 keeps ImageNet's background class."
        ),
    ] = None,
    image_size: SizeOption = None,
    batch: Annotated[
        int | None, typer.Option(help="Images in a step, on all devices together.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs. Default: the recipe's.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Arithmetic: float32 or bfloat16. Default: float32.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the weights, the images' order and the split. Default: 0."),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            help="Share of each class to validate on, if DIR has no train and val. Default: 0.05."
        ),
    ] = None,
    family: FamilyOption = None,
    workers: WorkersOption = 2,
    devices: Annotated[
        int, typer.Option(help="Number of GPUs to use; with PyTorch, of processes.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the run. Default: a name below runs/."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Continue the run in this folder.")
    ] = None,
    from_folder: FromOption = None,
) -> None:
    """Train a network by a published recipe; both frameworks see the same batches.

    Writes best.safetensors and last.safetensors (the moving average of the weights where the
    recipe has one), class_indices.json, epochs.csv, steps.csv and TensorBoard's logs.
    """
    from ..training.processes import process
    from ..training.start import Watcher

    place: list[Path] = []
    bar = TrainingBar()

    def started(training: Training, name: str, folder: Path, done: int) -> None:
        place.append(folder)
        for line in _start_lines(training, name, folder, done):
            say(line)
        bar.start(training, done)

    watcher = Watcher(started, bar.epoch, bar.step) if process()[0] == 0 else Watcher()
    try:
        with bar:
            done = rosetta.train(
                data,
                backend=backend,
                preset=preset,
                width=width,
                depth=depth,
                middle_blocks=middle_blocks,
                dialect=dialect,
                recipe=recipe,
                weights=weights,
                freeze=freeze,
                classes=classes,
                image_size=image_size,
                batch=batch,
                epochs=epochs,
                precision=precision,
                seed=seed,
                held_out=held_out,
                family=family,
                workers=workers,
                devices=devices,
                out=out,
                resume=resume,
                watcher=watcher,
            )
    except KeyboardInterrupt:
        where = f"; continue with: rosetta train --resume {place[0]}" if place else ""
        say(f"stopped{where}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if process()[0] == 0:
        for line in skipped_lines(done.skipped):
            say(line)
        say(f"best: {done.best_top1:.2%} top-1, {done.weights}")


def _start_lines(training: Training, backend: str, folder: Path, done: int) -> Iterator[str]:
    network, recipe = training.network, training.recipe
    yield (
        f"{folder}: {network.title} with {network.num_classes} classes at "
        f"{pixels(network.resolution)} pixels in {backend}, recipe {recipe.name}, "
        f"{len(training.train.samples):,} images to train on and {len(training.val.samples):,} to "
        f"validate on, {training.steps_per_epoch:,} steps of {recipe.batch} images in an epoch"
    )
    if done:
        yield f"continuing after epoch {done}"
    yield HEADINGS
