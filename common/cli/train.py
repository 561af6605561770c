"""The commands that train networks and measure them: train and evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import efficientnet_rosetta as rosetta

from ..architectures import PRESETS
from .command import app, say
from .options import (
    REFERENCES,
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
    pixels,
)

if TYPE_CHECKING:
    from ..training.plan import Training
    from ..training.run import Epoch

INTERRUPTED = 130  # exit status, as shells have it
BATCH = 32  # images at a time, in evaluation
SHOWN = 5  # images that could not be read


@app.command()
def train(
    backend: BackendOption = None,
    keras_backend: KerasBackendOption = None,
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
    from ..training.start import Watcher

    place: list[Path] = []

    def started(training: Training, name: str, folder: Path, done: int) -> None:
        place.append(folder)
        _print_start(training, name, folder, done)

    watcher = Watcher(started, _print_epoch, progress=Console(stderr=True).is_terminal)
    try:
        done = rosetta.train(
            data,
            backend=backend,
            keras_backend=keras_backend,
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
    from ..training.processes import process

    if process()[0] == 0:
        for line in _skipped_lines(done.skipped):
            say(line)
        say(f"best: {done.best_top1:.2%} top-1, {done.weights}")


def _print_start(training: Training, backend: str, folder: Path, done: int) -> None:
    network, recipe = training.network, training.recipe
    say(
        f"{folder}: {network.title} with {network.num_classes} classes at "
        f"{pixels(network.resolution)} pixels in {backend}, recipe {recipe.name}, "
        f"{len(training.train.samples):,} images to train on and {len(training.val.samples):,} to "
        f"validate on, {training.steps_per_epoch:,} steps of {recipe.batch} images in an epoch"
    )
    if done:
        say(f"continuing after epoch {done}")
    say(
        f"{'epoch':>6}{'loss':>9}{'top-1':>8}{'top-5':>8}{'val loss':>10}{'top-1':>8}{'top-5':>8}"
        f"{'rate':>10}{'images/s':>10}"
    )


def _print_epoch(row: Epoch) -> None:
    from ..training.processes import process

    if process()[0]:
        return
    say(
        f"{row.epoch:>6}{row.loss:>9.4f}{row.top1:>8.2%}{row.top5:>8.2%}{row.val_loss:>10.4f}"
        f"{row.val_top1:>8.2%}{row.val_top5:>8.2%}{row.learning_rate:>10.2e}"
        f"{row.images_per_second:>10.1f}"
    )


def _skipped_lines(skipped: Mapping[str, str]) -> Iterator[str]:
    if skipped:
        yield f"left out: {len(skipped):,} images that cannot be read"
        yield from (f"  {reason}" for reason in list(skipped.values())[:SHOWN])


@app.command()
def evaluate(
    weights: WeightsOption,
    data: DataOption,
    backend: BackendOption = None,
    keras_backend: KerasBackendOption = None,
    dialect: GivenDialect = None,
    image_size: SizeOption = None,
    batch: Annotated[int, typer.Option(help="Images at a time.")] = BATCH,
    held_out: Annotated[
        float,
        typer.Option(
            help="Use only the share of DIR that a training run with this --held-out did not "
            "train on. Default: all images."
        ),
    ] = 0.0,
    seed: Annotated[
        int, typer.Option(help="The --seed of the training run whose held-out images to use.")
    ] = 0,
    family: FamilyOption = None,
    workers: WorkersOption = 2,
    from_folder: FromOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure the accuracy of weights on a folder of images.

    Where the folder has train and val, the images of val are used.
    """
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
    )
    if as_json:
        from .._util import json_text

        typer.echo(json_text.as_json({**found.to_dict(), "skipped": len(found.skipped)}), nl=False)
        return
    say(
        f"{found.images:,} images: top-1 {found.top1:.2%}, top-5 {found.top5:.2%}, "
        f"cross-entropy {found.loss:.4f}"
    )
    for line in _skipped_lines(found.skipped):
        say(line)
