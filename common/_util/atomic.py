"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import FileError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place once the block ends well.

    A symbolic link stays one: its target is replaced.

    Raises:
        RosettaError: `path` is not a file, or its folder does not exist or cannot be written to.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise FileError(path, "is not a file; name one")
    with _reported(path):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with _reported(path):
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes files private
            temporary.replace(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def _reported(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(
            path, f"cannot be written ({error.strerror}); name a file in a folder that exists"
        ) from error
