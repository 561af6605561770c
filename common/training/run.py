"""What a run of training leaves in its folder, and takes up again from there.

The loops are Lightning's (`torch_impl/loop.py`) and Keras's (`keras_impl/loop.py`).  What
they need to go on is kept in canonical names, so that either can go on where the other stopped.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .._util.atomic import replacing
from ..errors import FileError, RosettaError
from ..network import Network
from ..weights.canonical import Weights, save
from ..weights.metadata import SCHEMA, SCHEMA_KEY, check_schema
from .classes import CLASSES
from .processes import process

TOP = 5

SETTINGS = "run.json"
BEST, LAST, STATE = "best.safetensors", "last.safetensors", "state.safetensors"
STEPS, EPOCHS, TENSORBOARD = "steps.csv", "epochs.csv", "tensorboard"


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
        self.made: list[Path] = []  # folders that were not there before, the innermost first

    def create(self, settings: Mapping[str, Any], class_indices: Mapping[str, int]) -> None:
        """Make the folder of a new run.

        Raises:
            RosettaError: there is a run in it, or it cannot be written to.
        """
        if not self.first:
            return
        if (self.folder / SETTINGS).exists():
            raise FileError(
                self.folder,
                "holds a run already; resume it, or choose another folder",
                argument="out",
            )
        self.made = [
            folder for folder in (self.folder, *self.folder.parents) if not folder.exists()
        ]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(self.folder, f"cannot be made ({error.strerror})") from error
        for name, content in ((CLASSES, class_indices), (SETTINGS, settings)):
            with replacing(self.folder / name) as temporary:
                text = json.dumps(content, indent=1, ensure_ascii=False)
                temporary.write_text(text + "\n", encoding="utf-8")

    def discard(self) -> None:
        """Take back what `create` wrote, unless a step was made since."""
        if self.first and not (self.folder / STEPS).exists():
            for name in (SETTINGS, CLASSES):
                (self.folder / name).unlink(missing_ok=True)
            if self.folder in self.made:
                rmtree(self.folder / TENSORBOARD, ignore_errors=True)
            with suppress(OSError):  # something else is in one
                for folder in self.made:
                    folder.rmdir()

    def settings(self) -> dict[str, Any]:
        """What `create` was given.

        Raises:
            RosettaError: there is no run in the folder.
        """
        path = self.folder / SETTINGS
        try:
            found = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise FileError(
                path, f"is not the settings of a run ({error}); name the folder of one"
            ) from error
        check_schema(path, found)
        return found

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
    metadata = {
        SCHEMA_KEY: str(SCHEMA),
        "epochs": str(state.epochs),
        "best": repr(state.best),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def _read_state(path: Path) -> State:
    groups: dict[str, Weights] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            check_schema(path, metadata or {})
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, _, name = key.partition("/")
                groups.setdefault(group, {})[name] = file.get_tensor(key)
        model, average = groups.pop("model"), groups.pop("average", {})
        return State(int(metadata["epochs"]), float(metadata["best"]), model, average, groups)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FileError(path, f"is not the state of a run ({error})") from error
