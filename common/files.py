"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from common.errors import RosettaError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place once the block ends well.

    A symbolic link stays one: its target is replaced.

    Raises:
        RosettaError: `path` is not a file, or its folder does not exist or cannot be written to.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise RosettaError(f"{path}: is not a file; name one")
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
        raise RosettaError(
            f"{path}: cannot be written ({error.strerror}); name a file in a folder that exists"
        ) from None


def finite(value: Any) -> Any:
    """null stands for what is no number: JSON has neither infinity nor NaN."""
    if isinstance(value, dict):
        return {name: finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
