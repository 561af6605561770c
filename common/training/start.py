"""Starting and resuming a training run.  The answer of `rosetta.train`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .._util.atomic import written
from .._util.result import Result
from ..backends.protocol import Trainer, require
from ..backends.registry import (
    KERAS,
    default_backend,
    get_backend,
    keras_runs_on,
    on_keras,
    prefer_keras_on,
)
from ..catalogue.reference import label, parsed
from ..checkpoints.named import indexed_names
from ..errors import FileError, UsageError, WeightsError, needs
from ..weights.canonical import Weights, check
from ..weights.metadata import SCHEMA, SCHEMA_KEY
from .interrupt import interruptible
from .loggers import DEFAULT_LOGGERS, LOGGERS_KEY, chosen_loggers, kept_loggers
from .numbers import read_numbers
from .options import (
    RECIPE_VERSION,
    Options,
    Place,
    given_options,
    kept_options,
    lengthening,
    with_more_epochs,
)
from .plan import Training
from .preparing import check_compiled, in_order, planned, seen
from .recipe import Recipe
from .recipes import get_recipe, sized
from .run import BEST, LAST, SETTINGS, STATE, Epoch, Run, Step, Val

KERAS_BACKEND = "keras_backend"  # of the settings, where the backend is Keras
IMAGES = "images"  # of the settings: a checksum of what they are


@dataclass(frozen=True)
class TrainingResult(Result):
    """A training run that ended: its folder, its last epoch, and what could not be read."""

    folder: Path
    best_top1: float  # the share of validation images whose class was found, of the best epoch
    epochs: int
    weights: Path  # of the best epoch
    val: Val | None  # its scores on images that it was not chosen by, where there were such
    skipped: dict[str, str]  # images that were left out, and why


@dataclass(frozen=True)
class Watcher:
    """Who is told how a run goes on: at its start with the epochs that were done, by step and by
    epoch; and, before that, what is to be known about it.
    """

    started: Callable[[Training, str, Path, int], None] = lambda training, backend, folder, done: (
        None
    )
    epoch: Callable[[Epoch], None] = lambda row: None
    step: Callable[[Step], None] = lambda row: None
    note: Callable[[str], None] = lambda line: None


def train(
    data: str | Path | None = None,
    *,
    backend: str | None = None,
    keras_backend: str | None = None,
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
    set: Mapping[str, Any] | None = None,
    lr: float | None = None,
    patience: int | None = None,
    accumulate: int | None = None,
    class_weights: str | None = None,
    sampler: str | None = None,
    workers: int = 2,
    devices: int = 1,
    compile: bool = False,
    loggers: Sequence[str] | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    watcher: Watcher = Watcher(),
) -> TrainingResult:
    """Train a network by a recipe, on the same batches in either framework.

    `keras_backend` is what Keras is to run on, "tensorflow", "jax" or "torch"; it must be said
    before Keras is imported, which is bound to one from then on.

    `data` is a folder of images for each class, or of TFRecord shards.  `weights` is a checkpoint
    of any layout to start from, `freeze` what of it is not trained: "backbone", or the number of
    stages from the stem on.  `held_out` is the share of each class to validate on, where the folder
    has no split of its own.  The run is written into the folder `out`; `resume` continues the run
    in a folder, and only `epochs`, of which there may be more then, and what changes no number may
    be given with it: `data`, `backend`, `keras_backend`, `workers`, `devices`, `compile` and
    `loggers`.

    `set` has other numbers than the recipe's by name, as `rosetta recipe NAME` lists them; `lr`,
    `patience`, `accumulate`, `class_weights` and `sampler` are such numbers as well, where `lr` is
    the rate of a batch of any size.  Without `batch` it is the recipe's, or the largest power of
    two that the data and the memory allow.

    Raises:
        UsageError: an argument is unknown, outside its range, or the run's own.
        FileError: the data, the weights or the folder cannot be used.
        RosettaError: the loss was no number, or images could not be read.
        MissingDependencyError: the framework, or what its loop needs, is not installed.
        KeyboardInterrupt: the run was stopped; it can be resumed.
    """
    backend = on_keras(backend, keras_backend)
    given = given_options(
        set or {},
        lr,
        {
            "patience": patience,
            "accumulate": accumulate,
            "class_weights": class_weights,
            "sampler": sampler,
        },
        preset=preset,
        width=width,
        depth=depth,
        middle_blocks=middle_blocks,
        dialect=dialect,
        recipe=recipe if recipe is None else sized(recipe, preset),
        weights=None if weights is None else _kept(weights),
        freeze=None if freeze is None else str(freeze),
        classes=classes,
        image_size=image_size,
        batch=batch,
        epochs=epochs,
        precision=precision,
        seed=seed,
        held_out=held_out,
        family=family,
    )
    place = Place(
        data=None if data is None else Path(data),
        backend=backend,
        workers=workers,
        devices=devices,
        compile=compile,
        loggers=None if loggers is None else chosen_loggers(loggers),
    )
    started = (
        _resumed(Path(resume), given, out, place, watcher)
        if resume is not None
        else _created(given, out, place, watcher)
    )
    run, name, training = started.run, started.backend, started.training
    framework = require(get_backend(name), Trainer, name)
    try:
        with run.alone():
            run.restore()
            _check_state(run, training)
            if run.first:
                if started.before is not None:
                    run.change_settings(started.changes)
                _tell(started, watcher)
            with needs("training"), interruptible(run), written(run.folder):
                framework.fit(training, started.weights, run)
    except Exception:
        if resume is None:
            run.discard()
        raise
    best, done = (run.state.best, run.state.epochs) if run.state else (math.nan, 0)
    weights_file = run.folder / BEST
    return TrainingResult(run.folder, best, done, weights_file, run.val, dict(run.skipped))


def _tell(started: Started, watcher: Watcher) -> None:
    """Say what is to be known, and that it begins."""
    run, training = started.run, started.training
    done = run.state.epochs if run.state else 0
    for line in started.notes:
        watcher.note(line)
    if started.before is not None:
        watcher.note(lengthening(started.before, training, done))
    watcher.started(training, started.backend, run.folder, done)


def _kept(weights: str | Path) -> str:
    """What the settings of a run keep of its first weights: their path, or their name."""
    return str(Path(weights).resolve()) if parsed(weights) is None else str(weights)


# ------------------------------------------------------------------ a new run, or one to resume


@dataclass(frozen=True)
class Started:
    """A run that is ready to begin, or to go on.

    `before` is the recipe that it followed until it was given more epochs, if it was, and `changes`
    are those of its settings.
    """

    run: Run
    backend: str
    training: Training
    weights: Weights
    notes: tuple[str, ...] = ()
    before: Recipe | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def _created(
    given: dict[str, Any], out: str | Path | None, place: Place, watcher: Watcher
) -> Started:
    """The folder of a new run, and what is to be done in it."""
    if place.data is None:
        raise UsageError(
            "there is no data; name a folder of images, or of TFRecord shards", argument="data"
        )
    name = place.backend or default_backend()
    check_compiled(place.compile, name)
    preset = given.get("preset") or (None if "weights" in given else "b0")
    options = Options(**{**given, "preset": preset})
    options = replace(options, set=read_numbers(get_recipe(options.recipe), options.set))
    of = preset or label(options.weights or "")
    folder = Path("runs", f"{of}-{options.recipe}-{name}") if out is None else Path(out)
    plan = planned(options, place.data, place, new=True)
    training, class_indices = plan.training, plan.class_indices
    require(get_backend(name), Trainer, name)  # or there would be a folder, and no run
    metadata = seen(training.train.family, class_indices)
    run = Run(folder, watcher.epoch, metadata, watcher.step)
    run.loggers = DEFAULT_LOGGERS if place.loggers is None else place.loggers
    options = replace(options, batch=training.recipe.batch, warmup_epochs=plan.warmup_epochs)
    settings = {
        SCHEMA_KEY: SCHEMA,
        "backend": name,
        **({KERAS_BACKEND: keras_runs_on()} if name == KERAS else {}),
        "data": str(place.data.resolve()),
        **asdict(options),
        RECIPE_VERSION: training.recipe.version,
        LOGGERS_KEY: list(run.loggers),
        **_counts(training),
        IMAGES: _images(training, place.data),
    }
    run.create(settings, class_indices)
    return Started(run, name, training, plan.weights, plan.notes)


def _resumed(
    folder: Path, given: dict[str, Any], out: str | Path | None, place: Place, watcher: Watcher
) -> Started:
    """A run to continue; only where it goes on may be another place, and its end further away."""
    run = Run(folder, watcher.epoch, stepped=watcher.step)
    epochs = given.pop("epochs", None)
    taken = [*given, *([] if out is None else ["out"])]
    if taken:
        name = next(iter(given["set"])) if taken[0] == "set" else taken[0]
        raise UsageError(f"{name} is that of the run in {folder}; leave it out", argument=taken[0])
    settings = run.settings()
    options = kept_options(folder / SETTINGS, settings)
    longer = with_more_epochs(folder, options, epochs)
    name = place.backend or settings["backend"]
    prefer_keras_on(settings.get(KERAS_BACKEND))
    check_compiled(place.compile, name)
    data = Path(settings["data"]) if place.data is None else place.data
    plan = planned(longer, data, place)
    _check_data(run, settings, data, plan.training, plan.class_indices)
    run.metadata = seen(plan.training.train.family, plan.class_indices)
    run.loggers = (
        kept_loggers(folder / SETTINGS, settings) if place.loggers is None else place.loggers
    )
    changes = {} if longer is options else {**settings, **asdict(longer)}
    before = None if longer is options else options.as_recipe()
    return Started(run, name, plan.training, plan.weights, plan.notes, before, changes)


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
    minival = training.minival
    return {
        "train": len(training.train.samples),
        "val": len(training.val.samples),
        "minival": 0 if minival is None else len(minival.samples),
    }


def _check_data(
    run: Run,
    settings: dict[str, Any],
    data: Path,
    training: Training,
    class_indices: dict[str, int],
) -> None:
    """A run goes on with the data that it began with, or its epochs would be other ones."""
    if indexed_names(run.folder / LAST) != in_order(class_indices):
        raise FileError(data, "has other classes than the run began with", argument="data")
    counts = _counts(training)
    # A run from before there was a minival has none.
    began = {part: settings.get(part, 0) for part in counts}
    held = ""
    if any((counts["minival"], began["minival"])):
        held = f"; held out of them are {counts['minival']:,}, and were {began['minival']:,}"
    if began != counts:
        raise FileError(
            data,
            f"has {counts['train']:,} images to train on and {counts['val']:,} to validate on, "
            f"where the run began with {began['train']:,} and {began['val']:,}{held}",
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
    minival = () if training.minival is None else (training.minival,)
    for batches in (training.train, training.val, *minival):
        for sample in batches.samples:
            digest.update(repr(sample.described(data)).encode())
    return digest.hexdigest()
