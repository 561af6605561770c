"""Stopping a run between two steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import RosettaError
from .run import Run

STDERR = 2  # the descriptor


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
