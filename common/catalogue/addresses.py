"""Files behind addresses, as releases and buckets have them: pooch keeps and checks them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import FetchError
from .asked import CACHE, Asked, alone, log, needs_extra, not_here, offline
from .digests import remember, remembered
from .location import Address, Digest
from .progress import progress_of
from .reference import file_name
from .transfer import download, forget, no_room

PROJECT = "efficientnet-rosetta"
MIRROR = "ROSETTA_MIRROR"  # of the environment: a server that has the files of all other hosts


def cache() -> Path:
    """The folder of what was fetched from addresses: $ROSETTA_CACHE, or the system's own."""
    with needs_extra():
        import pooch
    return Path(os.environ.get(CACHE) or pooch.os_cache(PROJECT))


def fetch_address(place: Address, asked: Asked) -> Path:
    """What is behind an address, in a folder of its own, where nothing else has its name.

    Raises:
        FetchError: it cannot be read, or is not what its hash says.
        MissingDependencyError: pooch is not installed.
    """
    with needs_extra():
        import pooch
    folder = cache() / hashlib.sha256(place.url.encode()).hexdigest()[:16]
    path = folder / file_name(place.filename)
    note = folder / f".{path.name}.sha256"
    if offline() and not path.exists():
        raise not_here(asked.name)
    known = replace(asked, digest=asked.digest or remembered(note))
    if path.exists() and not known.is_damaged(path):
        return path  # of a cache, perhaps, that may not be written to
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise no_room(asked.name, path, error) from error
    with alone(path, asked.name):
        known = replace(asked, digest=asked.digest or remembered(note))
        if path.exists() and known.is_damaged(path):
            _discard(path, note, asked.name)
        if path.exists():
            return path
        try:
            with _quiet():
                pooch.retrieve(
                    mirrored(place.url),
                    known_hash=_in_full(asked.digest),
                    fname=path.name,
                    path=folder,
                    downloader=Resuming(path, asked),
                )
            remember(note, path)
        except OSError as error:
            raise no_room(asked.name, path, error) from error
    return path


def mirrored(url: str) -> str:
    """Where an address is read from: there, or at the server that stands for all hosts."""
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    return re.sub(r"^https?:/", mirror, url) if mirror else url


@dataclass(frozen=True)
class Resuming:
    """What pooch downloads with: it goes on where another try, or process, was stopped."""

    path: Path  # of the file once it is there
    asked: Asked

    def __call__(self, url: str, output: str, pooch: object) -> None:
        """Read `url` into the file that pooch hands out, and then moves to its place."""
        partial = self.path.with_name(f".{self.path.name}.part")
        went_on = partial.exists()
        with progress_of(self.asked.name, self.asked.progress) as progress:
            download(url, partial, self.asked.name, progress)
            try:
                self.asked.check(partial)
            except FetchError:
                forget(partial)
                if not went_on:
                    raise
                # What was there may have been of another file: once more, from the beginning.
                download(url, partial, self.asked.name, progress)
                self._check_again(partial)
        partial.replace(output)

    def _check_again(self, partial: Path) -> None:
        try:
            self.asked.check(partial)
        except FetchError:
            forget(partial)
            raise


def _discard(path: Path, note: Path, name: str) -> None:
    """Take away a file of the cache that is not what it was, or should be.

    Raises:
        FetchError: there is no network, to fetch it again from.
    """
    what = f"{path} is damaged, or another file than its library states"
    if offline():
        raise FetchError(name, f"{what}, and cannot be fetched again offline; remove it")
    log.warning("%s; fetching it again", what)
    path.unlink(missing_ok=True)
    note.unlink(missing_ok=True)


def _in_full(digest: Digest | None) -> str | None:
    """A hash as pooch takes it, which knows no prefixes; those are checked by what it calls."""
    if digest is None or digest.is_prefix:
        return None
    return f"{digest.algorithm}:{digest.value}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pooch from saying where it downloads to, and what the hash is."""
    import pooch

    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
