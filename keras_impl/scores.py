"""What a loop counts without waiting for the device: scores, and the losses of its steps.

The same program as `torch_impl/scores.py`, name for name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keras import KerasTensor, callbacks, metrics, ops

from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.training.run import TOP, Scores

Logs = dict[str, Any]  # what Keras hands to its callbacks


class Metrics:
    """Means over images, those of all devices; Keras resets them for every epoch."""

    def __init__(self) -> None:
        self.scores = [metrics.Mean("loss"), metrics.Mean("top1"), metrics.Mean(f"top{TOP}")]
        self.images = metrics.Sum("images")

    @property
    def all(self) -> list[metrics.Metric]:
        """As Keras wants to know them."""
        return [*self.scores, self.images]

    def count(self, loss: KerasTensor, logits: KerasTensor, labels: KerasTensor) -> None:
        """Count a batch, whose losses are given, but for the places without an image."""
        weight = ops.cast(labels >= 0, "float32")
        kept = ops.maximum(labels, 0)
        classes = logits.shape[-1]
        hits = [ops.in_top_k(kept, ops.cast(logits, "float32"), min(k, classes)) for k in (1, TOP)]
        for score, values in zip(self.scores, (loss, *hits), strict=True):
            score.update_state(values, weight)
        self.images.update_state(weight)

    def found_scores(self) -> Scores:
        """The scores of what was counted last.

        Raises:
            RosettaError: no image could be read.
        """
        if not float(self.images.result()):
            raise RosettaError("no image could be read to validate on")
        return Scores(*(float(score.result()) for score in self.scores))


class Losses(callbacks.CallbackList):
    """The losses of steps, of which callbacks are told when the next step is on its way.

    A loss is computed by then, so that nothing waits for it.
    """

    waiting: tuple[int, Logs] | None = None

    def __init__(self, told: list[callbacks.Callback], **options: Any):
        super().__init__(told, add_history=True, verbose=0, **options)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Tell of the step before."""
        self.settle()
        self.waiting = (batch, logs or {})

    def settle(self) -> None:
        """Tell of the step that waits."""
        if self.waiting:
            told, self.waiting = self.waiting, None
            super().on_train_batch_end(*told)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Tell of the step that waits also where there is no next one, as it cannot be read."""
        try:
            yield
        except Exception:
            self.settle()
            raise

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """An epoch's last step is done before its validation."""
        self.settle()
        super().on_test_begin(logs)
