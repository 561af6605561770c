"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from ..errors import FileError, RosettaError

# What to do about a disk that takes no more, by the numbers of the operating system.
FULL = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "name a file on another disk",
    errno.EIO: "name a file on another disk",
}
ADVICE = {**FULL, errno.ENAMETOOLONG: "choose a shorter name"}
RUST = re.compile(r"\(os error (\d+)\)")  # how what is written in Rust, as safetensors, says it
NAME = 40  # characters of a name that a temporary one repeats: a name ends at 255 bytes


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place once the block ends well.

    A symbolic link stays one: its target is replaced.

    Raises:
        RosettaError: `path` is not a file, or its folder does not exist or cannot be written to;
            or the block ran out of room, or refused the temporary path: the message names `path`.
    """
    with _reported(path):
        target = Path(path).resolve()
        if target.exists() and not target.is_file():
            raise FileError(path, "is not a file; name one")
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=temporary_prefix(target))
        os.close(handle)
    temporary = Path(name)
    _unfinished.add(temporary)
    try:
        with naming(path, temporary):
            yield temporary
        with _reported(path):
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes files private
            temporary.replace(target)
    finally:
        _remove(temporary)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`, for what is to be moved to it; gone after the block."""
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=temporary_prefix(path)))
    _unfinished.add(folder)
    try:
        yield folder
    finally:
        _remove(folder)


_unfinished: set[Path] = set()  # temporary files and folders that are there now
ENDING = ("SIGTERM", "SIGHUP")  # what ends a program that does not look after it


def _remove(temporary: Path) -> None:
    """Take away a temporary file or folder, and what a format put beside it for a while."""
    for path in (*temporary.parent.glob(f"{glob.escape(temporary.name)}*"), temporary):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()
    _unfinished.discard(temporary)


@contextmanager
def leaving_nothing_behind() -> Iterator[None]:
    """Take temporary files away when the process is told to end, and then end."""
    here = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() == here:  # and not one that reads images
            for temporary in tuple(_unfinished):
                _remove(temporary)
        os.kill(os.getpid(), number)

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    free = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in free:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in free:
            signal.signal(number, signal.SIG_DFL)


def temporary_prefix(path: Path) -> str:
    """How the name of a temporary file or folder beside a file begins: hidden, and told apart."""
    return f".{path.name[:NAME]}."


@contextmanager
def naming(path: str | Path, temporary: str | Path) -> Iterator[None]:
    """Let what goes wrong in writing `temporary`, or a file whose name begins so, name `path`.

    Errors that are about other files, or that no file can be blamed for, pass as they are.

    Raises:
        FileError: the block raised one about a temporary file, or there was no room for it.
    """
    try:
        yield
    except FileError as error:
        if not _is_of(error.path, temporary):
            raise
        raise FileError(path, error.problem, argument=error.argument) from error.__cause__
    except RosettaError:
        raise
    except Exception as error:
        number = _number(error)
        name = error.filename if isinstance(error, OSError) else None
        of_ours = name is not None and _is_of(name, temporary)
        beside = name is None or Path(os.fsdecode(name)).parent == Path(temporary).parent
        if number is not None and (of_ours or (beside and number in FULL)):
            raise unwritable(path, number) from error
        raise


def _is_of(name: str | bytes | Path, temporary: str | Path) -> bool:
    return str(Path(os.fsdecode(name))).startswith(str(Path(temporary)))


def _number(error: BaseException | None) -> int | None:
    """The number of the operating system for what stopped a library, if that is what it was.

    Closing a file whose last bytes find no room may raise another exception than writing to it.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if found := RUST.search(str(error)):
            return int(found[1])
        error = error.__cause__ or error.__context__
    return None


def unwritable(path: str | Path, number: int | None) -> FileError:
    """The error for a file that the operating system does not let us write."""
    reason = "unknown" if number is None else os.strerror(number)
    advice = ADVICE.get(number or 0, "name a file in a folder that exists and may be written to")
    return FileError(path, f"cannot be written ({reason}); {advice}")


@contextmanager
def _reported(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(path, error.errno) from error
