"""When callbacks are told of what, whatever Keras runs on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keras import callbacks, ops

from efficientnet_rosetta.common.backends.protocol import Judge

Logs = dict[str, Any]  # what Keras hands to its callbacks


class Judging(callbacks.Callback):
    """Hands on the logits of every batch."""

    def __init__(self, judge: Judge):
        super().__init__()
        self.judge = judge

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """Tell the number of a batch, the logits of what could be read, and all labels."""
        logits, labels = (ops.convert_to_numpy(logs[name]) for name in ("logits", "labels"))
        self.judge(batch, logits[labels >= 0], labels)


class Late(callbacks.CallbackList):
    """Callbacks that are told of a step when the next one is on its way.

    Its loss is computed by then, so that nothing waits for it.
    """

    waiting: tuple[int, Logs] | None = None

    def __init__(self, told: list[callbacks.Callback], **options: Any):
        super().__init__(told, add_history=True, verbose=0, **options)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Tell of the step before."""
        self.tell()
        self.waiting = (batch, logs or {})

    def tell(self) -> None:
        """Tell of the step that waits."""
        if self.waiting:
            told, self.waiting = self.waiting, None
            super().on_train_batch_end(*told)

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell of the step that waits also where there is no next one, as it cannot be read."""
        try:
            yield
        except Exception:
            self.tell()
            raise

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """An epoch's last step is done before its validation."""
        self.tell()
        super().on_test_begin(logs)
