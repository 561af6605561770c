"""What every way of fetching a file is told, and what they share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import FetchError, FileError, MissingDependencyError
from .digests import differs
from .location import Digest
from .progress import Progress

EXTRA = "hub"  # of this package: what fetching needs
CACHE = "ROSETTA_CACHE"  # of the environment: where files behind addresses are kept
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
ELSEWHERE = "from"  # the argument, and option, that names a folder of files fetched elsewhere
YES = ("1", "on", "yes", "true")

log = logging.getLogger("efficientnet_rosetta")  # on stderr, unless a program has other plans


@dataclass(frozen=True)
class Asked:
    """A file to fetch: what it is called in messages, its stated hash, and who watches."""

    name: str
    digest: Digest | None = None
    progress: Progress | None = None

    def check(self, path: Path) -> None:
        """Hold a file that arrived against the hash that is stated of it.

        Raises:
            FetchError: it is another file.
        """
        problem = None if self.digest is None else differs(path, self.digest)
        if problem is not None:
            raise FetchError(self.name, f"what its server gave {problem}; it was not kept")

    def is_damaged(self, path: Path) -> bool:
        """Whether a file in a cache is not, or no longer, the one that is stated."""
        try:
            return self.digest is not None and differs(path, self.digest) is not None
        except FileError:
            return True


def offline() -> bool:
    """Whether the environment says that there is to be no network."""
    return any(os.environ.get(name, "").lower() in YES for name in OFFLINE)


def not_here(name: str) -> FetchError:
    """The error for a file that would have to be fetched where nothing may be."""
    return FetchError(
        name,
        f"is not in the cache, and {OFFLINE[0]} says that there is no network; fetch it once with "
        "one, or name a folder of files fetched elsewhere",
        argument=ELSEWHERE,
    )


@contextmanager
def needs_extra() -> Iterator[None]:
    """Turn a library that is not installed into the line that installs all of the extra.

    Raises:
        MissingDependencyError: an import of the block failed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = f"efficientnet-rosetta[{EXTRA}]"
        module = (error.name or "a module").partition(".")[0]
        raise MissingDependencyError(
            f"fetching published weights needs {module}, which is not installed; run: "
            f"pip install '{package}'",
            package=package,
        ) from error


@contextmanager
def alone(path: Path, name: str) -> Iterator[None]:
    """Keep other processes, and threads, from fetching the same file at the same time."""
    with needs_extra():
        from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("waiting for another process that fetches %s", name)
            lock.acquire()
    except OSError as error:
        why = error.strerror or str(error)
        raise FetchError(name, f"cannot be kept in {path.parent} ({why})") from error
    try:
        yield
    finally:
        lock.release()
