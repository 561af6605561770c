"""One process at a time in the folder of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import FileError

try:
    import fcntl
except ModuleNotFoundError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

_held: set[int] = set()  # descriptors


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let no other process into the block with this file; the end of a process unlocks it.

    Raises:
        FileError: another one is in it.
    """
    if fcntl is None:
        yield
        return
    number = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileError(
                path.parent, "another process is training there; wait until it ends, or end it"
            ) from None
        except OSError:
            pass  # a file system that has no locks
        _held.add(number)
        yield
    finally:
        _held.discard(number)
        os.close(number)


def _let_go() -> None:
    """A process that reads images would keep the lock when the one that trains is killed."""
    for number in _held:
        with suppress(OSError):
            os.close(number)
    _held.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_let_go)
