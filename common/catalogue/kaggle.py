"""Files of Kaggle's models, which kagglehub fetches, goes on with, and keeps."""

from __future__ import annotations

import hashlib
import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from ..errors import FetchError, FileError, reason
from .addresses import cache
from .asked import Asked, alone, log, needs_extra, not_here, offline
from .digests import digest_of, remember, remembered
from .location import KaggleFile
from .transfer import GONE, PASSING, PassingError, Tries, no_network, no_room

LOGGER = "kagglehub"


def fetch_from_kaggle(place: KaggleFile, asked: Asked) -> Path:
    """A file of a model on Kaggle, or the folder of all of its files where none is named.

    Raises:
        FetchError: Kaggle does not give it, or it is not what its hash says.
        MissingDependencyError: kagglehub is not installed.
    """
    with needs_extra():
        import kagglehub  # noqa: F401 - or nothing below can be
    mark = hashlib.sha256(f"{place.handle}/{place.filename}".encode()).hexdigest()[:16]
    note = cache() / "kaggle" / f"{mark}.sha256"
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise no_room(asked.name, note, error) from error
    with alone(note, asked.name):
        path = _kept(place) if offline() else _downloaded(place, asked)
        if path is None:
            raise not_here(asked.name)
        if _is_damaged(path, note, asked):
            what = f"{path} is damaged, or another file than its library states"
            if offline():
                raise FetchError(asked.name, f"{what}, and cannot be fetched again; remove it")
            log.warning("%s; fetching it again", what)
            path = _downloaded(place, asked, again=True)
            asked.check(path)
            note.unlink(missing_ok=True)
        if path.is_file() and remembered(note) is None:
            remember(note, path)
    return path


def _is_damaged(path: Path, note: Path, asked: Asked) -> bool:
    if not path.is_file():
        return False
    known = remembered(note)
    try:
        return asked.is_damaged(path) or (known is not None and digest_of(path) != known.value)
    except FileError:
        return True


def _kept(place: KaggleFile) -> Path | None:
    """What is in kagglehub's cache already."""
    from kagglehub.cache import Cache
    from kagglehub.handle import parse_model_handle

    found = Cache().load_from_cache(parse_model_handle(place.handle), place.filename)
    return None if found is None else Path(found)


def _downloaded(place: KaggleFile, asked: Asked, again: bool = False) -> Path:
    """What kagglehub gives, tried again while Kaggle is busy.

    Raises:
        FetchError: it gives nothing.
    """
    import kagglehub

    tries = Tries(asked.name)
    while True:
        try:
            with _quiet():
                return Path(
                    kagglehub.model_download(place.handle, place.filename, force_download=again)
                )
        except Exception as error:
            problem = _problem(error, asked.name)
            if isinstance(problem, PassingError):
                tries.again(problem)
                continue
            if problem is None:
                raise
            raise problem from error


def _problem(error: Exception, name: str) -> FetchError | PassingError | None:
    """What is wrong, in our words; None where it is nothing that Kaggle or a network does."""
    import requests
    from kagglehub import exceptions

    if isinstance(error, requests.HTTPError):
        status = 0 if error.response is None else error.response.status_code
        if status in PASSING:
            return PassingError(f"Kaggle answers {status}")
        return FetchError(name, f"Kaggle does not give it ({reason(error)})", gone=status in GONE)
    if isinstance(error, requests.ReadTimeout | requests.exceptions.ChunkedEncodingError):
        return PassingError("was cut off on the way")
    if isinstance(error, requests.RequestException):
        return no_network(name, "Kaggle", reason(error))
    if isinstance(error, OSError):
        return no_room(name, cache() / "kaggle", error)
    of_kaggle = (
        exceptions.BackendError,
        exceptions.CredentialError,
        exceptions.DataCorruptionError,
        exceptions.NotFoundError,
        exceptions.UnauthenticatedError,
        ValueError,  # a handle that is none
    )
    if isinstance(error, of_kaggle):
        return FetchError(name, f"Kaggle does not give it ({reason(error)})")
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep kagglehub off stdout, and its bars off what is no terminal."""
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.setLevel(logging.WARNING)
    place = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with redirect_stdout(sys.stderr), redirect_stderr(place):
            yield
    finally:
        logger.setLevel(before)
