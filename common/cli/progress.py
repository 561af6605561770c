"""How a training shows on a terminal: a row for every epoch, and below the rows a bar that moves.

Neither framework prints anything: both report their steps, and what is shown is the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .command import say

if TYPE_CHECKING:
    from types import TracebackType

    from ..training.plan import Training
    from ..training.run import Epoch, Step

BETWEEN = 0.2  # seconds from one change of the bar to the next, at least

HEADINGS = (
    f"{'epoch':>6}{'loss':>9}{'top-1':>8}{'top-5':>8}{'val loss':>10}{'top-1':>8}{'top-5':>8}"
    f"{'rate':>10}{'images/s':>10}"
)


def row(epoch: Epoch) -> str:
    """An epoch in the columns of `HEADINGS`."""
    return (
        f"{epoch.epoch:>6} {epoch.loss:>8.4f}{epoch.top1:>8.2%}{epoch.top5:>8.2%}"
        f" {epoch.val_loss:>9.4f}{epoch.val_top1:>8.2%}{epoch.val_top5:>8.2%}"
        f"{epoch.learning_rate:>10.2e}{epoch.images_per_second:>10.1f}"
    )


class TrainingBar:
    """The bar of a training, on stderr; nothing at all where that is no terminal.

    Lines go to stdout, above the bar.  `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not sys.stderr.isatty(),
        )
        self.task = self.bar.add_task("", total=None, said="")
        self.shown = -BETWEEN
        self.first, self.began = 0, 0.0  # step, and when it ended, that the speed is measured from
        self.entered, self.entered_step = 0.0, 0  # the same, of this epoch

    def __enter__(self) -> TrainingBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def start(self, training: Training, done: int) -> None:
        """Show the bar of a training of which so many epochs are done."""
        self.batch, self.steps = training.recipe.batch, training.steps_per_epoch
        self.epochs = training.recipe.epochs
        self.first = done * self.steps
        self.began = self.clock()
        self.entered, self.entered_step = self.began, self.first
        self.bar.reset(self.task, total=self.steps, description=self._epoch(done))
        self.bar.start()

    def step(self, step: Step) -> None:
        """Show a step, if the last one that was shown is some time ago, or it ends the epoch."""
        now, done = self.clock(), step.step + 1
        number = done - step.epoch * self.steps
        if number == 1:
            # Of an epoch's first step the reading of its images is not the usual one.
            self.entered, self.entered_step = now, done
        if now - self.shown < BETWEEN and number < self.steps:
            return
        self.shown = now
        said = f"loss {step.loss:.4f}  rate {step.learning_rate:.2e}"
        if (seconds := now - self.entered) > 0 and done > self.entered_step:
            said += f"  {(done - self.entered_step) * self.batch / seconds:,.0f} images/s"
        if (seconds := now - self.began) > 0:
            left = seconds / (done - self.first) * (self.epochs * self.steps - done)
            said += f"  {timedelta(seconds=round(left))} left"
        if number == self.steps:
            said += "  validating"
        description = self._epoch(step.epoch)
        self.bar.update(self.task, completed=number, description=description, said=said)

    def epoch(self, epoch: Epoch) -> None:
        """Put an epoch's row above the bar."""
        self.line(row(epoch))

    def line(self, text: str) -> None:
        """Put a line above the bar."""
        self.bar.stop()  # or the line would be written across it
        say(text)
        self.bar.start()

    def _epoch(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.epochs}"
