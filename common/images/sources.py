"""The images that somebody names: files, folders, addresses, and what is on standard input."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._util.files import is_folder, is_there
from .._util.natural import natural
from ..errors import FileError, UnreadableImageError, UsageError
from .address import fetched
from .datasets import FILE_LIMIT, SUFFIXES, Sample
from .decode import decode

STANDARD_INPUT = "-"
ADDRESS = re.compile(r"https?://", re.IGNORECASE)
OTHER_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """An image that was named, or that is in a folder that was."""

    name: Path | str  # of a file; or an address, or "-", as it was given

    @property
    def stem(self) -> str:
        """What to call what is made of the image: the last part of its name, without suffix."""
        if self.name == STANDARD_INPUT:
            return "stdin"
        if isinstance(self.name, Path):
            return self.name.stem
        last = re.split(r"[?#]", self.name)[0].rstrip("/").rpartition("/")[2]
        return Path(last).stem

    def pixels(self) -> np.ndarray:
        """The image as (H, W, 3) of uint8, upright.

        Raises:
            UnreadableImageError: it is not there, is no image, or is too large.
        """
        return decode(self._content(), str(self.name))

    def _content(self) -> bytes:
        if isinstance(self.name, Path):
            return Sample(self.name, 0).read()[0]
        if self.name == STANDARD_INPUT:
            return _standard_input()
        if ADDRESS.match(self.name):
            return fetched(self.name)
        raise UnreadableImageError(
            self.name, "is an address of neither http nor https; fetch it, and name the file"
        )


def sources(named: str | Path | Iterable[str | Path]) -> list[Source]:
    """What is named, in its order: of a folder all images in it and below, in natural order.

    Whether there is an image behind a name shows when it is read.

    Raises:
        FileError: a folder cannot be read, or has no images.
        UsageError: nothing is named, or standard input twice.
    """
    given = [named] if isinstance(named, str | Path) else list(named)
    if not given or "" in given:
        raise UsageError("there are no images to look at; name a file, a folder or an address")
    if sum(name == STANDARD_INPUT for name in given) > 1:
        raise UsageError("standard input is named twice, and can be read once")
    return [source for name in given for source in _named(name)]


def _named(name: str | Path) -> Iterator[Source]:
    if isinstance(name, str):
        is_address = OTHER_ADDRESS.match(name) is not None
        if name == STANDARD_INPUT or (is_address and not is_there(name)):
            yield Source(name)
            return
    path = Path(name)
    if not is_folder(path):
        yield Source(path)
        return
    found = sorted(_below(path), key=lambda inner: natural(inner.relative_to(path).as_posix()))
    if not found:
        raise FileError(path, f"has no images; their names end in {', '.join(sorted(SUFFIXES))}")
    yield from map(Source, found)


def _below(folder: Path) -> Iterator[Path]:
    """The image files in a folder and the folders in it, but for what is hidden."""

    seen: set[tuple[int, int]] = set()

    def is_new(place: Path) -> bool:
        """Whether a folder was not there yet: a link may lead back to one above it."""
        try:
            status = place.stat()
        except OSError:  # a link that leads nowhere
            return False
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            return False
        seen.add(identity)
        return True

    def fail(error: OSError) -> None:
        raise FileError(error.filename or folder, f"cannot be read ({error.strerror})") from error

    is_new(folder)
    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        shown = (name for name in sorted(folders) if not name.startswith("."))
        folders[:] = [name for name in shown if is_new(Path(place, name))]
        for name in names:
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield path


def _standard_input() -> bytes:
    """The bytes of one image.

    Raises:
        UnreadableImageError: they are too many, or standard input is closed, or a terminal.
    """
    stream = sys.stdin
    if stream is None or stream.closed:
        raise UnreadableImageError(
            STANDARD_INPUT, "standard input is closed; pipe an image into it"
        )
    if stream.isatty():
        raise UnreadableImageError(
            STANDARD_INPUT, "standard input is a terminal; pipe an image into it"
        )
    try:
        found = stream.buffer.read(FILE_LIMIT + 1)
    except OSError as error:
        raise UnreadableImageError(
            STANDARD_INPUT, f"standard input cannot be read ({error.strerror})"
        ) from error
    if len(found) > FILE_LIMIT:
        raise UnreadableImageError(
            STANDARD_INPUT, f"standard input has more than {FILE_LIMIT:,} bytes"
        )
    return found
