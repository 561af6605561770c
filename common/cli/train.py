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
    DepthOption,
    FamilyOption,
    FromOption,
    GivenDialect,
    KerasBackendOption,
    MiddleBlocksOption,
    SizeOption,
    WidthOption,
    WorkersOption,
    pixels,
    skipped_lines,
)
from .progress import HEADINGS, TrainingBar

if TYPE_CHECKING:
    from ..training.plan import Training

INTERRUPTED = 130  # exit status, as shells have it
ARITHMETIC = "float32, bfloat16, float16 or float64"


@app.command()
def train(
    backend: BackendOption = None,
    keras_backend: KerasBackendOption = None,
    preset: Annotated[
        str | None,
        typer.Option(help=f"Network to train: {', '.join(PRESETS)}. Default: b0."),
    ] = None,
    width: WidthOption = None,
    depth: DepthOption = None,
    middle_blocks: MiddleBlocksOption = None,
    dialect: GivenDialect = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with a folder of images for each class, or with TFRecord files.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe that `rosetta recipe` lists, or v2 or v2-paper, whose size --preset "
            "chooses. Default: official."
        ),
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
            help="Part that is not trained: everything except the classifier (backbone), or the "
            "first N stages.",
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
        int | None,
        typer.Option(
            help="Images in a step, on all devices together. Default: the recipe's, or fewer where "
            "the data or the memory are too small for it."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Number of epochs. Default: the recipe's. With --resume, more of them than before."
        ),
    ] = None,
    numbers: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a number of the recipe; `rosetta recipe NAME` lists all of them. The "
            "option can be repeated.",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Learning rate, which is not scaled to the batch. Default: the recipe's, which is "
            "scaled if the recipe says so."
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="EPOCHS",
            help="Stop after this many epochs without a better top-1. Default: never, unless the "
            "recipe does.",
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            metavar="PARTS",
            help="Go through each batch in this many equal parts, which needs less memory and adds "
            "up their gradients. Default: the recipe's, mostly 1.",
        ),
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(
            metavar="balanced",
            help="Weigh the loss so that every class counts alike, however few images it has. "
            "Default: every image counts alike.",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="balanced",
            help="Show every class equally often, however few images it has. Default: show every "
            "image once an epoch.",
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help=f"Arithmetic: {ARITHMETIC}. Default: float32.")
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
        int, typer.Option(help="Number of GPUs to use (with PyTorch: of processes).")
    ] = 1,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the network first (PyTorch only; Keras always compiles)."
        ),
    ] = False,
    logger: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Report the epochs to tensorboard, wandb (Weights & Biases), mlflow, csv or none. "
            "The option can be repeated. Default: tensorboard.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the run. Default: a new one in runs/."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Continue the run in this folder.")
    ] = None,
    from_folder: FromOption = None,
) -> None:
    """Train a network by a published recipe; both frameworks see the same batches.

    The folder of the run then holds best.safetensors and last.safetensors (the moving average of
    the weights, if the recipe has one), class_indices.json, epochs.csv, steps.csv, and
    TensorBoard's logs unless --logger says otherwise.
    """
    from ..training.options import assigned
    from ..training.processes import process
    from ..training.start import Watcher

    place: list[Path] = []
    bar = TrainingBar()

    def started(training: Training, name: str, folder: Path, done: int) -> None:
        place.append(folder)
        for line in _start_lines(training, name, folder, done):
            say(line)
        bar.start(training, done)

    watcher = Watcher(started, bar.epoch, bar.step, say) if process()[0] == 0 else Watcher()
    try:
        with bar:
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
                set=assigned(numbers or ()),
                lr=lr,
                patience=patience,
                accumulate=accumulate,
                class_weights=class_weights,
                sampler=sampler,
                workers=workers,
                devices=devices,
                compile=compile,
                loggers=logger,
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
        if (val := done.val) is not None:
            say(
                f"val: {val.top1:.2%} top-1, {val.top5:.2%} top-5 on {val.images:,} images that "
                "played no part in choosing it"
            )


def _start_lines(training: Training, backend: str, folder: Path, done: int) -> Iterator[str]:
    network, recipe = training.network, training.recipe
    yield (
        f"{folder}: {network.title} with {network.num_classes} classes at "
        f"{pixels(network.resolution)} pixels in {backend}, recipe {recipe.name}, "
        f"{len(training.train.samples):,} images to train on and "
        f"{len(training.selection.samples):,} to validate on, "
        f"{training.steps_per_epoch:,} steps of {recipe.batch} images in an epoch"
        f"{_warmup(training)}"
    )
    if training.minival is not None:
        yield (
            "the images to validate on are held out of train and choose the best epoch; at the end "
            f"its weights are scored on the {len(training.val.samples):,} images of val"
        )
    if done:
        yield f"continuing after epoch {done}"
    yield HEADINGS


def _warmup(training: Training) -> str:
    """How long the rate is warmed up, where that is shorter than by the recipe, or than the run."""
    from ..training.recipes import get_recipe

    steps, recipe = training.steps_per_epoch, get_recipe(training.recipe.name)
    wanted = recipe.warmup_epochs + recipe.warmup_steps / steps
    taken = training.phases[0].optimization.rate.warmup / steps
    if taken >= training.recipe.epochs:
        return f", all of them in the warm-up, which takes {taken:.3g} epochs"
    if taken < wanted:
        epochs = "1 epoch" if taken == 1 else f"{taken:.3g} epochs"
        return f", warmed up for {epochs} instead of the recipe's {wanted:.3g}"
    return ""
