"""Starting and resuming a training run.  The answer of `rosetta.train`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

from .._util.atomic import written
from .._util.result import Result
from ..architectures import resolve
from ..backends.protocol import Trainer, require
from ..backends.registry import default_backend, get_backend
from ..catalogue.reference import label, parsed
from ..checkpoints.load import load, with_classes
from ..checkpoints.named import folder_names, indexed_names
from ..errors import DamagedFileError, FileError, UsageError, WeightsError, needs
from ..images.batches import Batches
from ..images.datasets import read_data
from ..images.families import FAMILIES
from ..images.family import Family
from ..images.usual import OFFICIAL
from ..network import Network
from ..weights.canonical import Weights, check
from ..weights.initial import initial
from ..weights.metadata import CLASS_NAMES, FAMILY, NORMALIZATION, SCHEMA, SCHEMA_KEY
from .interrupt import interruptible
from .plan import Training
from .recipes import get_recipe
from .run import BEST, LAST, SETTINGS, STATE, Epoch, Run

SCALING = ("width", "depth", "middle_blocks")  # of one architecture or another
CHANNELS = 3  # of images: red, green and blue
IMAGES = "images"  # of the settings: a checksum of what they are
RECIPE_VERSION = "recipe_version"  # of the settings


@dataclass(frozen=True)
class Options:
    """What determines a run besides its data, as `run.json` keeps it; None is the default.

    `precision`, `seed`, `freeze` and `held_out` have their defaults here, `recipe` and `preset` are
    "official" and "b0", or the preset of the weights.
    """

    preset: str | None = None
    width: float | None = None
    depth: float | None = None
    middle_blocks: int | None = None
    dialect: str | None = None
    recipe: str = "official"
    weights: str | None = None
    freeze: str = "0"
    classes: int | None = None
    image_size: int | None = None
    batch: int | None = None
    epochs: int | None = None
    precision: str = "float32"
    seed: int = 0
    held_out: float = 0.05
    family: str | None = None


@dataclass(frozen=True)
class TrainingResult(Result):
    """A training run that ended: its folder, its last epoch, and what could not be read."""

    folder: Path
    best_top1: float  # the share of validation images whose class was found, of the best epoch
    epochs: int
    weights: Path  # of the best epoch
    skipped: dict[str, str]  # images that were left out, and why


@dataclass(frozen=True)
class Watcher:
    """Who is told how a run goes on: at its start with the epochs that were done, and by epoch."""

    started: Callable[[Training, str, Path, int], None] = lambda training, backend, folder, done: (
        None
    )
    epoch: Callable[[Epoch], None] = lambda row: None
    progress: bool = False  # a bar of the framework's own


def train(
    data: str | Path | None = None,
    *,
    backend: str | None = None,
    preset: str | None = None,
    width: float | None = None,
    depth: float | None = None,
    middle_blocks: int | None = None,
    dialect: str | None = None,
    recipe: str | None = None,
    weights: str | Path | None = None,
    freeze: str | int | None = None,
    classes: int | None = None,
    image_size: int | None = None,
    batch: int | None = None,
    epochs: int | None = None,
    precision: str | None = None,
    seed: int | None = None,
    held_out: float | None = None,
    family: str | None = None,
    workers: int = 2,
    devices: int = 1,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    watcher: Watcher = Watcher(),
) -> TrainingResult:
    """Train a network by a recipe, on the same batches in either framework.

    `data` is a folder of images for each class, or of TFRecord shards.  `weights` is a checkpoint
    of any layout to start from, `freeze` what of it is not trained: "backbone", or the number of
    stages from the stem on.  `held_out` is the share of each class to validate on, where the folder
    has no split of its own.  The run is written into the folder `out`; `resume` continues the run
    in a folder, and only `data`, `backend`, `workers` and `devices` may be given with it.

    Raises:
        UsageError: an argument is unknown, outside its range, or the run's own.
        FileError: the data, the weights or the folder cannot be used.
        RosettaError: the loss was no number, or images could not be read.
        MissingDependencyError: the framework, or what its loop needs, is not installed.
        KeyboardInterrupt: the run was stopped; it can be resumed.
    """
    given = {
        "preset": preset,
        "width": width,
        "depth": depth,
        "middle_blocks": middle_blocks,
        "dialect": dialect,
        "recipe": recipe,
        "weights": None if weights is None else _kept(weights),
        "freeze": None if freeze is None else str(freeze),
        "classes": classes,
        "image_size": image_size,
        "batch": batch,
        "epochs": epochs,
        "precision": precision,
        "seed": seed,
        "held_out": held_out,
        "family": family,
    }
    given = {name: value for name, value in given.items() if value is not None}
    run, name, training, start = (
        _resumed(Path(resume), given, out, backend, data, workers, devices, watcher)
        if resume is not None
        else _created(given, out, backend, data, workers, devices, watcher)
    )
    framework = require(get_backend(name), Trainer, name)
    try:
        with run.alone():
            run.restore()
            _check_state(run, training)
            if run.first:
                watcher.started(training, name, run.folder, run.state.epochs if run.state else 0)
            with needs("training"), interruptible(run), written(run.folder):
                framework.fit(training, start, run, progress=watcher.progress)
    except Exception:
        if resume is None:
            run.discard()
        raise
    best, done = (run.state.best, run.state.epochs) if run.state else (math.nan, 0)
    return TrainingResult(run.folder, best, done, run.folder / BEST, dict(run.skipped))


def _kept(weights: str | Path) -> str:
    """What the settings of a run keep of its first weights: their path, or their name."""
    return str(Path(weights).resolve()) if parsed(weights) is None else str(weights)


# ------------------------------------------------------------------ a new run, or one to resume

Started = tuple[Run, str, Training, Weights]


def _created(
    given: dict[str, Any],
    out: str | Path | None,
    backend: str | None,
    data: str | Path | None,
    workers: int,
    devices: int,
    watcher: Watcher,
) -> Started:
    """The folder of a new run, and what is to be done in it."""
    if data is None:
        raise UsageError(
            "there is no data; name a folder of images, or of TFRecord shards", argument="data"
        )
    name = backend or default_backend()
    preset = given.get("preset") or (None if "weights" in given else "b0")
    options = Options(**{**given, "preset": preset})
    of = preset or label(options.weights or "")
    folder = Path("runs", f"{of}-{options.recipe}-{name}") if out is None else Path(out)
    training, start, class_indices = _plan(options, Path(data), workers, devices)
    require(get_backend(name), Trainer, name)  # or there would be a folder, and no run
    run = Run(folder, watcher.epoch, _seen(training.train.family, class_indices))
    where = {SCHEMA_KEY: SCHEMA, "backend": name, "data": str(Path(data).resolve())}
    images = {IMAGES: _images(training, Path(data))}
    version = {RECIPE_VERSION: training.recipe.version}
    settings = {**where, **asdict(options), **version, **_counts(training), **images}
    run.create(settings, class_indices)
    return run, name, training, start


def _resumed(
    folder: Path,
    given: dict[str, Any],
    out: str | Path | None,
    backend: str | None,
    data: str | Path | None,
    workers: int,
    devices: int,
    watcher: Watcher,
) -> Started:
    """A run to continue; only where it goes on may be another place."""
    run = Run(folder, watcher.epoch)
    taken = [*given, *([] if out is None else ["out"])]
    if taken:
        raise UsageError(
            f"{taken[0]} is that of the run in {folder}; leave it out", argument=taken[0]
        )
    settings = run.settings()
    # A run from before there was Xception lacks what scales that; one from before recipes had
    # versions follows the first.
    settings = {**dict.fromkeys(SCALING), RECIPE_VERSION: 1, **settings}
    _check_settings(folder / SETTINGS, settings)
    name = backend or settings["backend"]
    place = Path(settings["data"] if data is None else data)
    options = Options(**{field.name: settings[field.name] for field in fields(Options)})
    _check_version(folder / SETTINGS, settings)
    training, start, class_indices = _plan(options, place, workers, devices)
    _check_data(run, settings, place, training, class_indices)
    run.metadata = _seen(training.train.family, class_indices)
    return run, name, training, start


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Settings that lack something, or have it as something else, are reported as such.

    Raises:
        DamagedFileError: they do.
    """
    counts = dict.fromkeys(("train", "val", RECIPE_VERSION), int)
    hints = {"backend": str, "data": str, **counts, **get_type_hints(Options)}
    for name, hint in hints.items():
        if name not in settings or not _is(settings[name], get_args(hint) or (hint,)):
            said = f"is {settings[name]!r}" if name in settings else "is missing"
            raise DamagedFileError(path, f"{name} {said}; correct it, or start the run again")


def _check_version(path: Path, settings: Mapping[str, Any]) -> None:
    """A run goes on by the recipe that it began with, or its batches and steps were others.

    Raises:
        FileError: the recipe is another version of itself by now.
    """
    recipe, began = get_recipe(settings["recipe"]), settings[RECIPE_VERSION]
    if recipe.version != began:
        raise FileError(
            path,
            f"began with version {began} of recipe {recipe.name}, which is version "
            f"{recipe.version} here; start another run, or continue it with the release of this "
            "program that it began with",
        )


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether a value of JSON is of one of some types; every whole number is a float too."""
    if isinstance(value, bool):
        return False
    if float in kinds and isinstance(value, int | float):
        return math.isfinite(value)
    return isinstance(value, kinds)


def _check_state(run: Run, training: Training) -> None:
    """A state belongs to its run, or there would be nothing to train, or something else.

    Raises:
        FileError: it does not.
    """
    if run.state is None:
        return
    path, state, last = run.folder / STATE, run.state, training.recipe.epochs
    if not 0 < state.epochs <= last:
        raise FileError(path, f"is the state after epoch {state.epochs} of {last}; remove it")
    shapes = training.network.tensors
    for weights in (state.model, *([state.average] if state.average else [])):
        try:
            check(shapes, weights)
        except WeightsError as error:
            raise FileError(path, f"{error}") from error


def _counts(training: Training) -> dict[str, int]:
    return {"train": len(training.train.samples), "val": len(training.val.samples)}


def _check_data(
    run: Run,
    settings: dict[str, Any],
    data: Path,
    training: Training,
    class_indices: dict[str, int],
) -> None:
    """A run goes on with the data that it began with, or its epochs would be other ones."""
    if indexed_names(run.folder / LAST) != _in_order(class_indices):
        raise FileError(data, "has other classes than the run began with", argument="data")
    counts = _counts(training)
    if any(settings[part] != count for part, count in counts.items()):
        raise FileError(
            data,
            f"has {counts['train']:,} images to train on and {counts['val']:,} to validate on, "
            f"where the run began with {settings['train']:,} and {settings['val']:,}",
            argument="data",
        )
    if settings.get(IMAGES) not in (None, _images(training, data)):
        raise FileError(
            data,
            "has other images than the run began with, or under other names; put those back, or "
            "start another run",
            argument="data",
        )


def _images(training: Training, data: Path) -> str:
    """A checksum of the names, the sizes and the classes of all images, in their order."""
    digest = hashlib.sha256()
    for batches in (training.train, training.val):
        for sample in batches.samples:
            digest.update(repr(sample.described(data)).encode())
    return digest.hexdigest()


# ------------------------------------------------------------------ what is to be done


def _plan(
    options: Options, data: Path, workers: int, devices: int
) -> tuple[Training, Weights, dict[str, int]]:
    """What the options of a run come to: the training, its first weights and its classes."""
    recipe = get_recipe(options.recipe)
    for name, value in (("batch", options.batch), ("epochs", options.epochs)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1", argument=name)
    batch, epochs = options.batch or recipe.batch, options.epochs or recipe.epochs
    recipe = replace(recipe, batch=batch, epochs=epochs)
    if recipe.name == "finetune" and not options.weights:
        raise UsageError(
            "recipe finetune starts from trained weights; name them", argument="weights"
        )
    seed = options.seed
    for name, given, least in (("seed", seed, 0), ("workers", workers, 0), ("devices", devices, 1)):
        if given < least:
            raise UsageError(f"{name} is {given}; it must be at least {least}", argument=name)
    found = read_data(data, options.held_out, seed, options.classes)
    if not found.val:
        raise FileError(
            data, "has no images to validate on; hold out a larger share", argument="held_out"
        )
    network, start, family = _start(options, found.classes)
    batches = partial(Batches, seed=seed, family=family, classes=len(found.classes))
    training = Training(
        network,
        recipe,
        batches(found.train, network.resolution, recipe.batch, recipe.augmentation),
        batches(found.val, network.resolution, recipe.batch),
        freeze=options.freeze,
        seed=seed,
        precision=options.precision,
        workers=workers,
        devices=devices,
    )
    return training, start, found.class_indices


def _start(options: Options, classes: tuple[str, ...]) -> tuple[Network, Weights, Family]:
    """The network to train, its first weights, and how it is to see images."""
    scaling = {name: value for name in SCALING if (value := getattr(options, name)) is not None}
    if not options.weights:
        given = {**scaling, **({"dialect": options.dialect} if options.dialect else {})}
        network = resolve(
            options.preset or "b0",
            resolution=options.image_size,
            num_classes=len(classes),
            **given,
        )
        return network, initial(network, options.seed), named_family(options.family) or OFFICIAL
    if scaling:
        first = next(iter(scaling))
        raise UsageError(f"{first} is that of the weights; leave it out", argument=first)
    found = load(options.weights, dialect=options.dialect, resolution=options.image_size)
    if found.network.in_channels != CHANNELS:
        raise FileError(found.path, f"takes {found.network.in_channels} channels, and not RGB")
    if options.preset not in (None, found.network.name):
        raise FileError(found.path, f"holds {found.network.name}, not {options.preset}")
    family = named_family(options.family) or found.preprocessing
    # A new classifier where the weights have none, or one of other classes, as far as is known.
    names = folder_names(found.path, found.metadata) or classes
    if found.network.num_classes == len(classes) and names == classes:
        return found.network, found.weights, family
    head = with_classes(found.network, found.weights, len(classes), options.seed)
    return head.network, head.weights, family


def named_family(name: str | None) -> Family | None:
    """A family of preprocessing by its name; None if none is named.

    Raises:
        UsageError: there is no such family.
    """
    if name is not None and name not in FAMILIES:
        raise UsageError(f"unknown preprocessing {name!r}; choose from {', '.join(FAMILIES)}")
    return FAMILIES[name] if name is not None else None


def _seen(family: Family, class_indices: dict[str, int]) -> dict[str, str]:
    """What files of weights say of the images that they were trained on, and of their classes."""
    names = _in_order(class_indices)
    said = {NORMALIZATION: family.normalization.to_json(), FAMILY: family.name}
    if names == tuple(map(str, range(len(names)))):  # as of shards, which name none
        return said
    return {**said, CLASS_NAMES: json.dumps(names)}


def _in_order(class_indices: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(class_indices, key=class_indices.__getitem__))
