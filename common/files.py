"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import RosettaError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place once the block ends well.

    Raises:
        RosettaError: the folder of `path` does not exist or cannot be written to.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RosettaError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that exists"
        ) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files private
        temporary.replace(path)
    except OSError as error:
        raise RosettaError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
