"""Keeping a library's start-up chatter away from the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what the block writes to stderr, compiled code included; show it if it fails.

    TensorFlow logs before its log level is read, so that no environment variable reaches it.
    """
    sys.stderr.flush()
    saved = os.dup(STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, STDERR)
            os.close(saved)
