"""A folder of files that were fetched elsewhere: where in it a published file may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .._util.files import is_file, is_folder
from ..errors import FetchError, FileError
from .asked import Asked
from .hub import MAIN, chosen
from .location import Address, HubFile, KaggleFile, Location
from .reference import file_name


def offered(folder: Path, location: Location, asked: Asked) -> Path:
    """The file of a folder that is meant: by its name, or where a hub's own tools put it.

    Raises:
        FetchError: it is not there, or is another than its hash says.
    """
    if not is_folder(folder):
        raise FileError(folder, "is no folder; name one of fetched files", argument="from")
    for path in _places(folder, location, asked.name):
        if is_file(path):
            if asked.is_damaged(path):
                raise FetchError(asked.name, f"{path} is damaged, or another file; replace it")
            return path
    raise FetchError(
        asked.name,
        f"is not in {folder}; put it there as {_wanted(location)}",
        gone=True,
        argument="from",
    )


def _wanted(location: Location) -> str:
    """The plainest of the places where the file may be."""
    place = location.place
    if isinstance(place, Address):
        return file_name(place.filename)
    home = place.repository if isinstance(place, HubFile) else place.handle
    return f"{home}/{place.filename or 'FILE'}"


def _places(folder: Path, location: Location, name: str) -> Iterator[Path]:
    """Where the file may be, the most telling place first."""
    place = location.place
    if isinstance(place, Address):
        parts = urlsplit(place.url)
        path = unquote(parts.path).lstrip("/")
        if parts.hostname and ".." not in path.split("/"):
            yield folder / parts.hostname / path  # as wget -r has it
        yield folder / file_name(place.filename)
        return
    for root in _roots(folder, place):
        if place.filename is not None:
            yield root / place.filename
        elif is_folder(root):
            # No deeper than hubs go: the folder may be anybody's home.
            found = sorted((*root.glob("*"), *root.glob("*/*")))
            files = [path.relative_to(root).as_posix() for path in found if is_file(path)]
            if files:
                yield root / chosen(files, name)


def _roots(folder: Path, place: HubFile | KaggleFile) -> Iterator[Path]:
    """The folders that may hold what is in a repository."""
    if isinstance(place, KaggleFile):
        yield folder / "models" / place.handle  # kagglehub's cache
        yield folder / place.handle
        yield folder / place.handle.split("/")[-2] if place.handle.count("/") > 2 else folder
        yield folder
        return
    owner, _, name = place.repository.partition("/")
    for cache in (folder, folder / "hub"):  # huggingface_hub's cache, or the folder around it
        kept = cache / f"models--{owner}--{name}"
        revision = place.revision or MAIN
        try:
            commit = (kept / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            commit = revision
        yield kept / "snapshots" / commit
    yield folder / owner / name
    yield folder / f"{owner}--{name}"
    yield folder / name
    yield folder
