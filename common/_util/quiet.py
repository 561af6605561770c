"""Keeping what libraries say for themselves away from the terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

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


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Hold back warnings, logs and whatever else goes to stderr while the block runs.

    Errors are raised as ever, and what goes to stdout is shown.
    """
    disabled = logging.root.manager.disable
    sys.stderr.flush()
    saved = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDERR)
        logging.disable(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        os.dup2(saved, STDERR)
        os.close(saved)
        os.close(nowhere)
