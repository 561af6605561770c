"""The commands that train and use networks; `common/cli.py` registers them."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from common.architectures import PRESETS, resolve
from common.errors import RosettaError, needs_extra
from common.spec import DIALECTS, Network

if TYPE_CHECKING:
    from common.backend import Backend
    from common.preprocess import Family
    from common.training import Epoch, Run, Training
    from common.weights import Weights

EVALUATED = 32  # images at a time
INTERRUPTED = 130  # exit status, as shells have it
STDERR = 2  # the descriptor
FAMILY = "family"  # key of the metadata of weights that were trained here
CHANNELS = 3  # of images: red, green and blue
SCALING = ("width", "depth", "middle_blocks")  # of one architecture or another
FROM_THE_RUN = (
    *("preset", *SCALING, "dialect", "recipe", "weights", "freeze", "classes"),
    *("image_size", "batch", "epochs", "precision", "seed", "held_out", "family", "out"),
)

WeightsOption = Annotated[
    Path, typer.Option(metavar="FILE", help="Of any layout that `rosetta port` reads.")
]
DataOption = Annotated[
    Path, typer.Option(metavar="DIR", help="A folder of images for each class, or TFRecord shards.")
]
BackendOption = Annotated[
    str | None, typer.Option(help="torch or keras; by default the one that is installed.")
]
DialectOption = Annotated[
    str | None, typer.Option(help="Where the weights do not say: " + ", ".join(DIALECTS))
]
SizeOption = Annotated[
    int | None, typer.Option(metavar="PIXELS", help="Side of the image; the network's by default.")
]
WorkersOption = Annotated[
    int, typer.Option(min=0, help="Processes (Keras: threads) that read images.")
]
FamilyOption = Annotated[
    str | None,
    typer.Option(help="Whose transforms of images, such as timm-tf-ap; by default the weights'."),
]


# ------------------------------------------------------------------ rosetta train


def train(
    backend: BackendOption = None,
    preset: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(PRESETS)}; b0 by default.")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Another width than the preset's.")] = None,
    depth: Annotated[float | None, typer.Option(help="Another depth than the preset's.")] = None,
    middle_blocks: Annotated[int | None, typer.Option(help="Of Xception; 8 by default.")] = None,
    dialect: DialectOption = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder of images for each class, or TFRecord shards."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="One of `rosetta recipe`; official by default.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Start from these, of any layout that port reads."),
    ] = None,
    freeze: Annotated[
        str | None, typer.Option(metavar="backbone|N", help="All but the classifier, or N stages.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Of shards: 1001 has a background.")] = None,
    image_size: SizeOption = None,
    batch: Annotated[int | None, typer.Option(help="Images a step, on all devices.")] = None,
    epochs: Annotated[int | None, typer.Option(help="The recipe's by default.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights, the images, the split.")] = None,
    held_out: Annotated[
        float | None, typer.Option(help="Share to validate on, of a folder that is not split.")
    ] = None,
    family: FamilyOption = None,
    workers: WorkersOption = 2,
    devices: Annotated[int, typer.Option(help="GPUs, or with PyTorch processes, to use.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="runs/... by default.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Continue the run in this folder.")
    ] = None,
) -> None:
    """Train a network by a recipe, on the same batches in either framework.

    Writes best.safetensors and last.safetensors (the moving average where the recipe has one),
    class_indices.json, epochs.csv, steps.csv and TensorBoard's logs.
    """
    given = {name: value for name, value in locals().items() if name in FROM_THE_RUN}
    from common.training import Run

    if resume is None:
        settings = _settings(given, backend, data)
        run = Run(settings["out"], _print_epoch)
        training, start, class_indices = _plan(settings, workers, devices)
        framework = _framework(settings["backend"])
        run.create({**settings, **_counts(training)}, class_indices)
    else:
        run = Run(resume, _print_epoch)
        settings = _continued(run, given, backend, data)
        with _damaged(resume):
            training, start, class_indices = _plan(settings, workers, devices)
            _check_data(run, settings, training, class_indices)
        framework = _framework(settings["backend"])
    run.metadata = _seen(training.train.family)
    run.restore()
    name = settings["backend"]
    if run.first:
        _print_start(training, name, run.folder, run.state.epochs if run.state else 0)
    try:
        with needs_extra(f"{name},train"), interruptible(run):
            framework.fit(training, start, run, progress=Console(stderr=True).is_terminal)
    except RosettaError:
        if resume is None:
            run.discard()
        raise
    except KeyboardInterrupt:
        typer.echo(f"stopped; go on with: rosetta train --resume {run.folder}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if run.first:
        _print_end(run)


@contextmanager
def interruptible(run: Run) -> Iterator[None]:
    """Ctrl-C ends a run after the step that it makes, and at once when it comes again.

    No framework expects to be interrupted just anywhere: TensorFlow fails with an `AssertionError`
    where that happens as it makes a graph, and what is raised in `__del__`, or in a callback of the
    garbage collector, Python itself prints and ignores.  Where Ctrl-C is ignored, as it is for a
    job in the background of a script, it stays so.
    """
    here = os.getpid()

    def ask(number: int, frame: FrameType | None) -> None:
        if os.getpid() != here:
            return  # a process that reads images; the one that trains ends it
        if run.stopping:
            signal.default_int_handler(number, frame)
        run.stopping = True
        # Not through Python's files: what is interrupted may be writing to them.
        end_of_a_bar = b"\n" if os.isatty(STDERR) else b""
        os.write(STDERR, end_of_a_bar + b"stopping after this step; Ctrl-C again stops at once\n")

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, ask)
    try:
        yield
    except RosettaError:
        raise
    except Exception:
        # It came twice, or another process of this run was the first to stop.
        if run.stopping:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _settings(given: dict[str, Any], backend: str | None, data: Path | None) -> dict[str, Any]:
    """The options of a new run as JSON keeps them, with what is not given filled in."""
    if data is None:
        raise RosettaError("--data is missing; name a folder of images, or of TFRecord shards")
    recipe = given["recipe"] or "official"
    preset = given["preset"] or (None if given["weights"] else "b0")
    name = backend or _installed()
    label = preset or given["weights"].stem
    defaults = {
        "recipe": recipe,
        "preset": preset,
        "freeze": "0",
        "precision": "float32",
        "seed": 0,
        "held_out": 0.05,
        "out": Path("runs", f"{label}-{recipe}-{name}"),
    }
    chosen = {**given, **{k: v for k, v in defaults.items() if given[k] is None}}
    chosen = {k: str(v) if isinstance(v, Path) else v for k, v in chosen.items()}
    if chosen["weights"]:
        chosen["weights"] = str(Path(chosen["weights"]).resolve())
    return {"schema": 1, "backend": name, "data": str(data.resolve()), **chosen}


def _continued(
    run: Run, given: dict[str, Any], backend: str | None, data: Path | None
) -> dict[str, Any]:
    """The settings of a run to continue; only where it goes on may be another place."""
    taken = [name for name, value in given.items() if value is not None]
    if taken:
        option = taken[0].replace("_", "-")
        raise RosettaError(f"--{option} is the run's in {run.folder}; leave it out")
    moved = {"backend": backend, "data": None if data is None else str(data.resolve())}
    return {**run.settings(), **{name: value for name, value in moved.items() if value is not None}}


@contextmanager
def _damaged(folder: Path) -> Iterator[None]:
    """Settings that lack something, or have it as something else, are reported as such."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise RosettaError(
            f"{folder}: its settings are damaged ({error!r}); start the run again"
        ) from None


def _counts(training: Training) -> dict[str, int]:
    return {"train": len(training.train.samples), "val": len(training.val.samples)}


def _check_data(
    run: Run, settings: dict[str, Any], training: Training, class_indices: dict[str, int]
) -> None:
    """A run goes on with the data that it began with, or its epochs would be other ones."""
    from common.training import LAST, class_names

    if class_names(run.folder / LAST) != sorted(class_indices, key=class_indices.__getitem__):
        raise RosettaError(f"{settings['data']}: has other classes than the run began with")
    counts = _counts(training)
    if any(settings[part] != count for part, count in counts.items()):
        raise RosettaError(
            f"{settings['data']}: has {counts['train']:,} and {counts['val']:,} images, where the "
            f"run began with {settings['train']:,} and {settings['val']:,}"
        )


def _plan(
    settings: dict[str, Any], workers: int, devices: int
) -> tuple[Training, Weights, dict[str, int]]:
    """What the settings of a run come to: the training, its first weights and its classes."""
    from common.data import Batches, read_data
    from common.recipe import get_recipe
    from common.training import Training

    try:
        recipe = get_recipe(settings["recipe"])
    except ValueError as error:
        raise RosettaError(str(error)) from None
    chosen = {name: settings[name] for name in ("batch", "epochs") if settings[name] is not None}
    for name, value in chosen.items():
        if value < 1:
            raise RosettaError(f"--{name} is {value}; it must be at least 1")
    recipe = replace(recipe, **chosen)
    if recipe.name == "finetune" and not settings["weights"]:
        raise RosettaError("recipe finetune starts from trained weights; name them with --weights")
    seed = settings["seed"]
    if seed < 0 or workers < 0 or devices < 1:
        raise RosettaError(
            f"seed is {seed}, workers {workers} and devices {devices}; at least 0, 0 and 1 are "
            "needed"
        )
    found = read_data(settings["data"], settings["held_out"], seed, settings["classes"])
    if not found.val:
        raise RosettaError(f"{settings['data']}: has no images to validate on; raise --held-out")
    network, start, family = _start(settings, found.classes)
    options = {"seed": seed, "family": family, "classes": len(found.classes)}
    training = Training(
        network,
        recipe,
        Batches(found.train, network.resolution, recipe.batch, recipe.augmentation, **options),
        Batches(found.val, network.resolution, recipe.batch, **options),
        freeze=settings["freeze"],
        seed=seed,
        precision=settings["precision"],
        workers=workers,
        devices=devices,
    )
    return training, start, found.class_indices


def _start(settings: dict[str, Any], classes: tuple[str, ...]) -> tuple[Network, Weights, Family]:
    """The network to train, its first weights, and how it is to see images."""
    from common.preprocess import OFFICIAL
    from common.weights import initial

    given = {
        name: settings[name]
        for name in (*SCALING, "dialect")
        if settings.get(name) is not None  # a run from before there was Xception lacks its own
    }
    if not settings["weights"]:
        try:
            network = resolve(
                settings["preset"],
                resolution=settings["image_size"],
                num_classes=len(classes),
                **given,
            )
        except ValueError as error:
            raise RosettaError(str(error)) from None
        family = _family(settings["family"]) or OFFICIAL
        return network, initial(network, settings["seed"]), family
    shape = [name.replace("_", "-") for name in SCALING if name in given]
    if shape:
        raise RosettaError(f"--{shape[0]} is that of the weights; leave it out")
    path = Path(settings["weights"])
    network, weights, family = _read(path, settings["dialect"], settings["image_size"])
    if settings["preset"] not in (None, network.name):
        raise RosettaError(f"{path}: holds {network.name}, not {settings['preset']}")
    network, weights = _with_classes(path, network, weights, classes, settings["seed"])
    return network, weights, _family(settings["family"]) or family


def _with_classes(
    path: Path, network: Network, weights: Weights, classes: tuple[str, ...], seed: int
) -> tuple[Network, Weights]:
    """A new classifier where the weights have none, or one of other classes, as far as is known."""
    from common.training import class_names
    from common.weights import changed, initial

    names = class_names(path) or classes
    if network.num_classes == len(classes) and tuple(names) == classes:
        return network, weights
    network = changed(network, num_classes=len(classes))
    fresh = initial(network, seed)
    return network, {
        name: fresh[name] if name.startswith("classifier.") else weights[name]
        for name in network.tensors
    }


def _print_start(training: Training, backend: str, folder: Path, done: int) -> None:
    network, recipe = training.network, training.recipe
    typer.echo(
        f"{folder}: {network.title} of {network.num_classes} classes at "
        f"{'x'.join(map(str, network.resolution))} pixels in {backend}, recipe {recipe.name}, "
        f"{len(training.train.samples):,} images to train on and {len(training.val.samples):,} to "
        f"validate on, {training.steps_per_epoch:,} steps of {recipe.batch} images an epoch"
    )
    if done:
        typer.echo(f"going on after epoch {done}")
    typer.echo(
        f"{'epoch':>6}{'loss':>9}{'top-1':>8}{'top-5':>8}{'val loss':>10}{'top-1':>8}{'top-5':>8}"
        f"{'rate':>10}{'images/s':>10}"
    )


def _print_epoch(row: Epoch) -> None:
    from common.training import process

    if process()[0]:
        return
    typer.echo(
        f"{row.epoch:>6}{row.loss:>9.4f}{row.top1:>8.2%}{row.top5:>8.2%}{row.val_loss:>10.4f}"
        f"{row.val_top1:>8.2%}{row.val_top5:>8.2%}{row.learning_rate:>10.2e}"
        f"{row.images_per_second:>10.1f}"
    )


def _print_end(run: Run) -> None:
    from common.training import BEST

    for line in _skipped_lines(run.skipped):
        typer.echo(line)
    best = run.state.best if run.state else math.nan
    typer.echo(f"best: {best:.2%} top-1, {run.folder / BEST}")


def _skipped_lines(skipped: dict[str, str], shown: int = 5) -> Iterator[str]:
    if skipped:
        yield f"left out: {len(skipped):,} images that cannot be read"
        yield from (f"  {reason}" for reason in list(skipped.values())[:shown])


# ------------------------------------------------------------------ rosetta evaluate


def evaluate(
    weights: WeightsOption,
    data: DataOption,
    backend: BackendOption = None,
    dialect: DialectOption = None,
    image_size: SizeOption = None,
    batch: Annotated[int, typer.Option(help="Images at a time.")] = EVALUATED,
    held_out: Annotated[
        float, typer.Option(help="Only the share that a training with this option held out.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="That training's.")] = 0,
    family: FamilyOption = None,
    workers: WorkersOption = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score weights on the validation part of a data set, or on a folder that is not split."""
    from common.data import Batches, read_to_evaluate
    from common.training import Run, class_names

    network, values, own = _read(weights, dialect, image_size)
    _check_classes(weights, network)
    samples = read_to_evaluate(data, network.num_classes, class_names(weights), held_out, seed)
    chosen = _family(family) or own
    batches = Batches(
        samples, network.resolution, batch, family=chosen, classes=network.num_classes
    )
    name = backend or _installed()
    framework = _framework(name)
    model = framework.build(network)
    framework.load_weights(model, values)
    run = Run(Path())
    with needs_extra(f"{name},train"):
        scores = framework.evaluate(model, batches, run, workers)
    read = len(samples) - len(run.skipped)
    if as_json:
        found = {**scores._asdict(), "images": read, "skipped": len(run.skipped)}
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(
        f"{read:,} images: top-1 {scores.top1:.2%}, top-5 {scores.top5:.2%}, "
        f"cross-entropy {scores.loss:.4f}"
    )
    for line in _skipped_lines(run.skipped):
        typer.echo(line)


# ------------------------------------------------------------------ rosetta predict


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...")],
    weights: WeightsOption,
    top: Annotated[int, typer.Option(help="Classes to show of each image.")] = 5,
    cam: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write there where the evidence for each class is."),
    ] = None,
    backend: BackendOption = None,
    dialect: DialectOption = None,
    image_size: SizeOption = None,
    family: FamilyOption = None,
) -> None:
    """Print the most likely classes of images, and paint where in them the evidence is."""
    from common.prediction import predict as look
    from common.training import class_names

    if top < 1:
        raise RosettaError(f"--top is {top}; it must be at least 1")
    network, values, own = _read(weights, dialect, image_size)
    _check_classes(weights, network)
    names = class_names(weights) or [str(number) for number in range(network.num_classes)]
    if len(names) != network.num_classes:
        raise RosettaError(
            f"{weights}: has {network.num_classes} classes, but class_indices.json beside it "
            f"{len(names)}"
        )
    chosen = _family(family) or own
    found = look(_framework(backend or _installed()), network, values, images, chosen, top)
    grid = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("Image", "Class", "Probability"):
        grid.add_column(heading, justify="right" if heading == "Probability" else "left")
    for prediction in found:
        for rank, (number, share) in enumerate(
            zip(prediction.classes, prediction.probabilities, strict=True)
        ):
            grid.add_row("" if rank else str(prediction.path), names[number], f"{share:.2%}")
    Console(width=max(Console().width, 80)).print(grid)
    if cam is not None:
        for path in _paint(cam, found, names):
            typer.echo(path)


def _paint(folder: Path, found: list, names: list[str]) -> Iterator[str]:
    """Write the activation map of every class shown, named by image, rank and class."""
    from common.prediction import save_map

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RosettaError(f"{folder}: cannot be made ({error.strerror})") from None
    for index, prediction in enumerate(found):
        for rank, (number, activation) in enumerate(
            zip(prediction.classes, prediction.maps, strict=True), 1
        ):
            name = names[number].replace("/", "-")
            path = folder / f"{index:03}-{prediction.path.stem}-{rank}-{name}.png"
            save_map(path, activation, prediction.pixels)
            yield str(path)


# ------------------------------------------------------------------ weights, families, backends


def _read(path: Path, dialect: str | None, image_size: int | None) -> tuple[Network, Weights, Any]:
    """The network of a file at a size, its weights in float32, and the family they belong to."""
    from common.porting import told, undecided
    from common.preprocess import FAMILIES, family_of
    from common.weights import changed

    found = told(path, dialect)
    if found.dialect is None:
        raise RosettaError(undecided(found))
    if dialect not in (None, found.dialect.name):
        raise RosettaError(f"{path}: is of the {found.dialect.name} dialect; leave out --dialect")
    if found.network.in_channels != CHANNELS:
        raise RosettaError(f"{path}: takes {found.network.in_channels} channels, and not RGB")
    network = changed(found.network, dialect=asdict(found.dialect))
    if image_size is not None:
        network = changed(network, resolution=image_size)
    weights = {name: stored.astype("float32").read() for name, stored in found.weights.items()}
    said = FAMILIES.get(found.checkpoint.metadata.get(FAMILY, ""))
    if said is not None:
        return network, weights, replace(said, normalization=found.normalization)
    layouts = [layout.name for layout in found.layouts]
    return network, weights, family_of(layouts, found.normalization, network.architecture)


def _check_classes(path: Path, network: Network) -> None:
    if network.classifier is None:
        raise RosettaError(f"{path}: has no classifier; train one, or port with --classes")
    if network.num_classes < 2:
        raise RosettaError(f"{path}: has one class only; there is nothing to tell it from")


def _family(name: str | None) -> Family | None:
    from common.preprocess import FAMILIES

    if name is not None and name not in FAMILIES:
        raise RosettaError(f"unknown family {name!r}; choose from {', '.join(FAMILIES)}")
    return FAMILIES.get(name)


def _seen(family: Family) -> dict[str, str]:
    """What files of weights say of how the images were that they were trained on."""
    from common.recognition import NORMALIZATION

    return {NORMALIZATION: json.dumps(asdict(family.normalization)), FAMILY: family.name}


def _installed() -> str:
    """The backend whose framework is there, PyTorch first."""
    return next((name for name in ("torch", "keras") if find_spec(name)), "torch")


def _framework(name: str) -> Backend:
    from common.backend import get_backend

    return get_backend(name)
