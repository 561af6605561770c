"""A run of training: all that it is a function of, and what it leaves in its folder.

The loops are Lightning's (`torch_impl/loop.py`) and Keras's (`keras_impl/loop.py`).  Whatever they
need to go on is kept in canonical names, so that either can go on where the other was stopped.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.data import Batches
from common.errors import RosettaError
from common.files import replacing
from common.recipe import Optimization, Recipe
from common.spec import Network
from common.weights import Weights, save

PRECISIONS = ("float32", "bfloat16", "float64")
BACKBONE = "backbone"  # everything but the classifier
TOP = 5

SETTINGS, CLASSES = "run.json", "class_indices.json"
BEST, LAST, STATE = "best.safetensors", "last.safetensors", "state.safetensors"
STEPS, EPOCHS, TENSORBOARD = "steps.csv", "epochs.csv", "tensorboard"


# ------------------------------------------------------------------ what a run is


@dataclass(frozen=True)
class Phase:
    """Some epochs in which the same sections are trained, by one optimizer."""

    epochs: range
    optimization: Optimization
    frozen: frozenset[str]  # roles of sections, which run as in inference


@dataclass(frozen=True)
class Training:
    """Everything that a run is a function of; `recipe` has the run's own batch and epochs.

    `freeze` is "backbone" or the number of stages of the paper, from the stem on, that are not
    trained.  `precision` is that of the arithmetic; weights are float32, or float64.
    """

    network: Network
    recipe: Recipe
    train: Batches
    val: Batches
    freeze: str | int = 0
    seed: int = 0
    precision: str = "float32"
    workers: int = 0  # processes, or threads, that read images ahead
    devices: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise RosettaError(
                f"unknown precision {self.precision!r}; choose from {', '.join(PRECISIONS)}"
            )
        if self.network.classifier is None:
            raise RosettaError("the network has no classifier to train; give it classes")
        if self.network.num_classes < 2:
            raise RosettaError("there is one class only; there must be another to tell it from")
        frozen_sections(self.network, self.freeze)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an optimizer in every epoch."""
        return len(self.train)

    @property
    def dtype(self) -> str:
        """Of the weights."""
        return "float64" if self.precision == "float64" else "float32"

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The recipe's phases that have epochs."""
        recipe, steps = self.recipe, self.steps_per_epoch
        always = frozen_sections(self.network, self.freeze)
        backbone = frozen_sections(self.network, BACKBONE)
        return tuple(
            Phase(
                recipe.epochs_of(number),
                recipe.optimization(recipe.batch, steps, number),
                backbone if phase.trains == "head" else always,
            )
            for number, phase in enumerate(recipe.phases)
            if recipe.epochs_of(number)
        )


def frozen_sections(network: Network, freeze: str | int) -> frozenset[str]:
    """The roles of the sections of the first `freeze` stages, or of the backbone.

    Raises:
        RosettaError: it is neither "backbone" nor the number of a stage.
    """
    stages = max(network.stages) - 1
    if freeze == BACKBONE:
        return frozenset(section.role for section in network.maps)
    number = int(freeze) if str(freeze).isdecimal() else -1
    if not 0 <= number <= stages:
        raise RosettaError(f"--freeze is {freeze}; it must be {BACKBONE} or 0 to {stages} stages")
    return frozenset(section.role for section in network.sections if section.stage <= number)


def step_seed(seed: int, *numbers: int) -> int:
    """The seed of what is random in one step of one process, below 2^32."""
    return int(np.random.SeedSequence([seed, *numbers]).generate_state(1)[0])


# ------------------------------------------------------------------ more than one process


def process() -> tuple[int, int]:
    """This process's number and how many there are, by torchrun, Lightning or TF_CONFIG."""
    environment = os.environ
    if "TF_CONFIG" in environment:
        try:
            config = json.loads(environment["TF_CONFIG"])
            cluster, task = config["cluster"], config["task"]
            if set(cluster) != {"worker"} or task["type"] != "worker":
                raise RosettaError("TF_CONFIG has other tasks than workers; make them workers")
            return int(task["index"]), len(cluster["worker"])
        except RosettaError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise RosettaError(
                f"TF_CONFIG is not as TensorFlow wants it ({error!r}); see its guide"
            ) from None
    number = environment.get("RANK", environment.get("LOCAL_RANK", "0"))
    return int(number), int(environment.get("WORLD_SIZE", "1"))


def check_shares(batches: Batches, parts: int) -> None:
    """A batch must come out even.

    Raises:
        RosettaError: it does not.
    """
    if batches.batch % parts:
        raise RosettaError(
            f"a batch of {batches.batch} images is not divisible by {parts} devices; change --batch"
        )


# ------------------------------------------------------------------ what a run leaves behind


class Scores(NamedTuple):
    """Means over images: cross-entropy, and the share whose class is the first, or among five."""

    loss: float
    top1: float
    top5: float


@dataclass(frozen=True)
class Epoch:
    """A row of `epochs.csv`; `step` counts the steps so far, validation is without smoothing."""

    epoch: int  # from 1
    step: int
    loss: float
    top1: float
    top5: float
    val_loss: float
    val_top1: float
    val_top5: float
    learning_rate: float
    images_per_second: float
    skipped: int  # images that the first process could not read


@dataclass(frozen=True)
class Step:
    """A row of `steps.csv`; both numbers are from 0."""

    step: int
    epoch: int
    learning_rate: float
    loss: float


@dataclass
class State:
    """What it takes to go on after an epoch, in canonical names and orientation.

    `slots` are the optimizer's, such as "momentum"; where a phase has just ended they are not used.
    """

    epochs: int  # done
    best: float  # top-1
    model: Weights
    average: Weights
    slots: dict[str, Weights]


class Run:
    """The folder of a run; processes but the first write nothing."""

    def __init__(
        self,
        folder: str | Path,
        report: Callable[[Epoch], None] = lambda epoch: None,
        metadata: Mapping[str, str] | None = None,
    ):
        self.folder, self.report, self.metadata = Path(folder), report, dict(metadata or {})
        self.first = process()[0] == 0
        self.state: State | None = None
        self.stopping = False  # set by what listens to Ctrl-C
        self.skipped: dict[str, str] = {}

    def create(self, settings: Mapping, class_indices: Mapping[str, int]) -> None:
        """Make the folder of a new run.

        Raises:
            RosettaError: there is a run in it, or it cannot be written to.
        """
        if not self.first:
            return
        if (self.folder / SETTINGS).exists():
            raise RosettaError(
                f"{self.folder}: holds a run; continue it with --resume {self.folder}, or choose "
                "another folder with --out"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RosettaError(f"{self.folder}: cannot be made ({error.strerror})") from None
        for name, content in ((CLASSES, class_indices), (SETTINGS, settings)):
            with replacing(self.folder / name) as temporary:
                text = json.dumps(content, indent=1, ensure_ascii=False)
                temporary.write_text(text + "\n", encoding="utf-8")

    def discard(self) -> None:
        """Take back what `create` wrote, unless a step was made since."""
        if self.first and not (self.folder / STEPS).exists():
            for name in (SETTINGS, CLASSES):
                (self.folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # something else is in it
                self.folder.rmdir()

    def settings(self) -> dict:
        """What `create` was given.

        Raises:
            RosettaError: there is no run in the folder.
        """
        path = self.folder / SETTINGS
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RosettaError(
                f"{path}: is not the settings of a run ({error}); name the folder of one"
            ) from None

    def restore(self) -> None:
        """Take the run up after the last whole epoch, or at its beginning if there is none.

        Raises:
            RosettaError: the state is damaged.
        """
        path = self.folder / STATE
        if path.exists():
            self.state = _read_state(path)
        epochs = self.state.epochs if self.state else 0
        if self.first:
            _truncate(self.folder / EPOCHS, Epoch, lambda row: int(row["epoch"]) <= epochs)
            _truncate(self.folder / STEPS, Step, lambda row: int(row["epoch"]) < epochs)

    def step(self, step: Step) -> None:
        """Note a step.

        Raises:
            RosettaError: its loss is no number.
            KeyboardInterrupt: the run is to stop.
        """
        if self.first:
            _append(self.folder / STEPS, step)
        if not math.isfinite(step.loss):
            kept = f"{self.folder / LAST} has the weights after epoch {step.epoch}"
            raise RosettaError(
                f"the loss of step {step.step} (epoch {step.epoch + 1}, rate "
                f"{step.learning_rate:.3g}) is {step.loss}; lower the rate or warm up longer"
                + (f"; {kept}" if step.epoch else "")
            )
        self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Stop between two batches, where all that is written is whole.

        Raises:
            KeyboardInterrupt: `stopping` is set.
        """
        if self.stopping:
            raise KeyboardInterrupt

    def note(self, skipped: Mapping[str, str]) -> None:
        """Note what could not be read."""
        self.skipped.update(skipped)

    def end_epoch(
        self, row: Epoch, network: Network, weights: Weights, state: Callable[[float], State]
    ) -> None:
        """Keep an epoch: its row, the weights to use, and what it takes to go on from here."""
        best = self.state.best if self.state else -math.inf
        if self.first:
            _append(self.folder / EPOCHS, row)
            save(self.folder / LAST, network, weights, self.metadata)
            if row.val_top1 > best:
                save(self.folder / BEST, network, weights, self.metadata)
        self.state = state(max(best, row.val_top1))
        if self.first:
            _write_state(self.folder / STATE, self.state)
        self.report(row)


def _append(path: Path, row: Epoch | Step) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(row)])
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def _truncate(path: Path, kind: type, keep: Callable[[Mapping[str, str]], bool]) -> None:
    """Drop the rows of what will be done again, and one that was being written."""
    if not path.exists():
        return
    names = [field.name for field in fields(kind)]
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if None not in row.values() and keep(row)]
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: str | Path) -> list[dict[str, float]]:
    """The rows of `epochs.csv` or `steps.csv`."""
    with Path(path).open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _write_state(path: Path, state: State) -> None:
    groups = {"model": state.model, "average": state.average, **state.slots}
    tensors = {
        f"{group}/{name}": np.ascontiguousarray(array)
        for group, weights in groups.items()
        for name, array in weights.items()
    }
    metadata = {"epochs": str(state.epochs), "best": repr(state.best)}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def _read_state(path: Path) -> State:
    groups: dict[str, Weights] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
        model, average = groups.pop("model"), groups.pop("average", {})
        return State(int(metadata["epochs"]), float(metadata["best"]), model, average, groups)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RosettaError(f"{path}: is not the state of a run ({error})") from None


def class_names(weights: str | Path) -> Sequence[str] | None:
    """The names of the classes, in order, from `class_indices.json` beside a file of weights.

    Raises:
        RosettaError: it is there but cannot be read.
    """
    path = Path(weights).parent / CLASSES
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        indices = {str(name): int(index) for name, index in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RosettaError(f"{path}: is not a table of classes ({error})") from None
    if sorted(indices.values()) != list(range(len(indices))):
        raise RosettaError(f"{path}: does not number its classes from 0 on")
    return sorted(indices, key=indices.__getitem__)
