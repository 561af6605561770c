"""Files that somebody else made: what is at a path, and reading no more of it than is meant."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from ..errors import FileError

# Windows has no O_NONBLOCK, and Unix no O_BINARY.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def is_there(path: str | Path) -> bool:
    """Whether there is anything at a path, if only a link that leads nowhere."""
    return os.path.lexists(path)  # False for a name that no file can have


def is_file(path: str | Path) -> bool:
    """Whether a path leads to a regular file; no name is too long or too odd to ask."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: str | Path) -> bool:
    """Whether a path leads to a folder; no name is too long or too odd to ask."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: str | Path) -> int:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):  # ValueError: a zero in the name
        return 0


def opened(path: str | Path) -> BufferedReader:
    """A regular file, open for reading.

    A pipe, which would be waited for, a device, which may have no end, and a folder are refused,
    also where a link leads to one.

    Raises:
        FileError: it is not there, is no regular file, or may not be read.
    """
    try:
        # Without waiting, lest a pipe take the file's place between the question and the answer.
        number = os.open(path, FLAGS)
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be read ({_why(error)})") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileError(path, "is not a file; name one")
    return os.fdopen(number, "rb")


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def content(path: str | Path, most: int) -> bytes:
    """The bytes of a regular file, which are not to be more than `most`.

    Raises:
        FileError: as `opened`; or it is longer, or ends in an error.
    """
    try:
        with opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            # No more is asked for than there should be, since room is made for all that is.
            found = file.read(size + 1) if size <= most else b""
            if len(found) > size:  # it has grown meanwhile, or its size is not known, as in /proc
                found += file.read(most + 1 - len(found))
    except OSError as error:
        raise FileError(path, f"cannot be read ({_why(error)})") from error
    if max(size, len(found)) > most:
        raise FileError(path, f"has more than {most:,} bytes, which is not plausible")
    return found
