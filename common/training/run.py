"""What a run of training leaves in its folder, and takes up again from there.

The loops are Lightning's (`torch_impl/loop.py`) and Keras's (`keras_impl/loop.py`).  What
they need to go on is kept in canonical names, so that either can go on where the other stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any, NamedTuple

from .._util.atomic import replacing, unwritable
from .._util.files import content, is_folder, is_there
from ..checkpoints.named import CLASSES
from ..errors import FileError, RosettaError, reason
from ..network import Network
from ..weights.canonical import Weights, load, save
from ..weights.metadata import check_schema
from .lock import locked
from .loggers import DEFAULT_LOGGERS
from .processes import process
from .rows import Epoch, Step, append, read_table, truncate
from .state import State, read_state, write_state

__all__ = ["Epoch", "Run", "Scores", "State", "Step", "read_table"]

TOP = 5

SETTINGS = "run.json"
SETTINGS_LIMIT = 2**20  # bytes
BEST, LAST, STATE = "best.safetensors", "last.safetensors", "state.safetensors"
VAL = "val.json"  # how the best weights do on what they were not chosen by
STEPS, EPOCHS, TENSORBOARD = "steps.csv", "epochs.csv", "tensorboard"


# ------------------------------------------------------------------ what a run leaves behind


class Scores(NamedTuple):
    """Means over images: cross-entropy, and the share whose class is the first, or among five."""

    loss: float
    top1: float
    top5: float


class Val(NamedTuple):
    """Scores of the best weights on images that they were not chosen by, so many of them."""

    epoch: int  # of the weights, from 1
    images: int
    loss: float
    top1: float
    top5: float


class Run:
    """The folder of a run; processes but the first write nothing."""

    def __init__(
        self,
        folder: str | Path,
        report: Callable[[Epoch], None] = lambda epoch: None,
        metadata: Mapping[str, str] | None = None,
        stepped: Callable[[Step], None] = lambda step: None,
    ):
        self.folder, self.report, self.metadata = Path(folder), report, dict(metadata or {})
        self.stepped = stepped
        self.loggers: tuple[str, ...] = DEFAULT_LOGGERS
        self.first = process()[0] == 0
        self.state: State | None = None
        self.val: Val | None = None
        self.best: Weights | None = None  # if it was this process that came to them
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
        if is_there(self.folder / SETTINGS):
            raise FileError(
                self.folder,
                "holds a run already; resume it, or choose another folder",
                argument="out",
            )
        self.made = [
            folder for folder in (self.folder, *self.folder.parents) if not is_there(folder)
        ]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(self.folder, f"cannot be made ({error.strerror})") from error
        for name, table in ((CLASSES, class_indices), (SETTINGS, settings)):
            with replacing(self.folder / name) as temporary:
                temporary.write_bytes(_as_text(table))

    def discard(self) -> None:
        """Take back what `create` wrote, unless a step was made since."""
        if self.first and not is_there(self.folder / STEPS):
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
            found = dict(json.loads(content(path, SETTINGS_LIMIT)))
        except (ValueError, TypeError, RecursionError) as error:
            why = error.problem if isinstance(error, FileError) else reason(error)
            raise FileError(
                path, f"is not the settings of a run ({why}); name the folder of one"
            ) from error
        check_schema(path, found)
        return found

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep other settings from now on.

        In one piece and in the same file, which is what this process has locked; what was longer
        before is filled up with blanks.

        Raises:
            RosettaError: the file cannot be written to.
        """
        path = self.folder / SETTINGS
        try:
            with path.open("r+b", buffering=0) as file:
                file.write(_as_text(settings).ljust(path.stat().st_size))
        except OSError as error:
            raise unwritable(path, error.errno) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process train in the folder meanwhile.

        Raises:
            FileError: one does.
        """
        if not self.first or not is_there(self.folder / SETTINGS):
            yield
            return
        with locked(self.folder / SETTINGS):
            yield

    def restore(self) -> None:
        """Take the run up after the last whole epoch, or at its beginning if there is none.

        Raises:
            RosettaError: the state, or a table, is damaged.
        """
        logs = self.folder / TENSORBOARD
        if is_there(logs) and not is_folder(logs):
            raise FileError(logs, "is not a folder, as TensorBoard's must be; move it away")
        path = self.folder / STATE
        if is_there(path):
            self.state = read_state(path)
        epochs = self.state.epochs if self.state else 0
        if self.first:
            truncate(self.folder / EPOCHS, Epoch, lambda row: int(row["epoch"]) <= epochs)
            truncate(self.folder / STEPS, Step, lambda row: int(row["epoch"]) < epochs)

    def step(self, step: Step) -> None:
        """Note a step.

        Raises:
            RosettaError: its loss is no number.
            KeyboardInterrupt: the run is to stop.
        """
        if self.first:
            append(self.folder / STEPS, step)
        if not math.isfinite(step.loss):
            kept = f"{self.folder / LAST} has the weights after epoch {step.epoch}"
            raise RosettaError(
                f"the loss of step {step.step} (epoch {step.epoch + 1}, rate "
                f"{step.learning_rate:.3g}) is {step.loss}; lower the rate or warm up longer"
                + (f"; {kept}" if step.epoch else "")
            )
        self.stepped(step)
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
        best, epoch = (self.state.best, self.state.best_epoch) if self.state else (-math.inf, 0)
        if is_better := row.val_top1 > best:
            best, epoch, self.best = row.val_top1, row.epoch, weights
        if self.first:
            append(self.folder / EPOCHS, row)
            save(self.folder / LAST, network, weights, self.metadata)
            if is_better:
                save(self.folder / BEST, network, weights, self.metadata)
        self.state = replace(state(best), best_epoch=epoch)
        if self.first:
            write_state(self.folder / STATE, self.state)
        self.report(row)

    def best_weights(self) -> Weights:
        """Those of the best epoch; a run that was continued may have to read them.

        Every process came to the same ones.  What the first one writes may not be there yet.

        Raises:
            RosettaError: they are gone, or damaged.
        """
        return load(self.folder / BEST)[1] if self.best is None else self.best

    def end(self, scores: Scores, images: int) -> None:
        """Keep how the best weights do on so many images that they were not chosen by."""
        self.val = Val(self.state.best_epoch if self.state else 0, images, *scores)
        if self.first:
            with replacing(self.folder / VAL) as temporary:
                temporary.write_bytes(_as_text(self.val._asdict()))


def _as_text(table: Mapping[str, Any]) -> bytes:
    return (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode()
