"""Unpacking archives of checkpoints, as the TPU code publishes them, and finding what is in them.

An archive is a list of names and bytes by somebody else.  Nothing is written outside of the folder
that it is unpacked to, no link is made, and no more is unpacked than weights can be.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from .._util.atomic import folder_beside
from ..errors import FetchError, FileError
from .transfer import no_room

SUFFIXES = (".tar.gz", ".tgz")
MOST_FILES = 2_000
MOST_BYTES = 2**34  # the largest published checkpoint, L2's, has 5.8 GB with its optimizer's slots
MOST_GROWTH = 30  # times: weights hardly shrink when they are compressed
FREE_GROWTH = 2**26  # bytes that any archive may grow to, as graphs of text do shrink
MOST_AT_ONCE = 2**20  # bytes of a header, which tarfile reads as one piece
CONTENT = "content"  # the folder that is moved to its place once it is whole
LIST = ".unpacked.json"  # what was unpacked, and how long it is
STATE_FILE = "checkpoint"  # of TensorFlow: names the newest checkpoint of a folder
INDEX, DATA = ".index", ".data-00000-of-"
LISTED = 8  # names in a message


def is_archive(path: Path) -> bool:
    """Whether a file is one to unpack, by its name."""
    return path.name.lower().endswith(SUFFIXES)


def checkpoint_in(archive: Path, folder: Path, name: str) -> Path:
    """The TensorFlow checkpoint of an archive, which is unpacked to `folder` if it is not yet.

    The folder of an archive that changed, or whose own files did, is made again.

    Raises:
        FetchError: the archive is damaged or hostile, there is no room, or no checkpoint in it.
    """
    if found := unpacked_before(archive, folder, name):
        return found
    try:
        with folder_beside(folder) as made:
            files = _unpack(archive, made / CONTENT, name)
            said = {"archive": _state(archive), "files": files}
            (made / CONTENT / LIST).write_text(json.dumps(said), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            (made / CONTENT).rename(folder)
    except FileError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, ValueError) as error:
        raise FetchError(name, f"{archive} is a damaged archive ({error})") from error
    except OSError as error:
        raise no_room(name, folder, error) from error
    return _checkpoint(folder, name)


def unpacked_before(archive: Path, folder: Path, name: str) -> Path | None:
    """The checkpoint of an archive that is in its folder already, whole; None if it is not.

    Raises:
        FetchError: there is no checkpoint in it.
    """
    return _checkpoint(folder, name) if _is_whole(folder, archive) else None


def _state(archive: Path) -> list[int]:
    found = archive.stat()
    return [found.st_size, found.st_mtime_ns]


def _is_whole(folder: Path, archive: Path) -> bool:
    """Whether all of an archive is in its folder, as long as it was."""
    try:
        said = json.loads((folder / LIST).read_text(encoding="utf-8"))
        return bool(
            said["archive"] == _state(archive)
            and all((folder / name).stat().st_size == size for name, size in said["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


# ------------------------------------------------------------------ unpacking


def _unpack(archive: Path, folder: Path, name: str) -> dict[str, int]:
    """Write the files of an archive below a new folder; their names and lengths."""
    folder.mkdir()
    limit = min(MOST_BYTES, FREE_GROWTH + MOST_GROWTH * archive.stat().st_size)
    files: dict[str, int] = {}
    with gzip.open(archive) as content:
        guarded = _Guarded(content, limit, name)
        with tarfile.open(fileobj=guarded, mode="r:") as tar:  # type: ignore[call-overload]
            for number, member in enumerate(_members(tar)):
                if number >= MOST_FILES:
                    raise FetchError(name, f"its archive has more than {MOST_FILES:,} files")
                _refuse(member, name)
                guarded.allow(member.size)
                tar.extract(member, folder, filter="data")
                if member.isreg():
                    files[member.name] = member.size
        while guarded.read(MOST_AT_ONCE):  # gzip's checksum is behind the last byte
            pass
    return files


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        yield member
        tar.members.clear()  # type: ignore[attr-defined] # or millions of them would be kept


def _refuse(member: tarfile.TarInfo, name: str) -> None:
    """Refuse what no archive of weights has.

    Raises:
        FetchError: it leads out of the folder, or is neither a file nor a folder.
    """
    path = PurePosixPath(member.name)
    shown = ascii(member.name)[1:-1]
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\0]", member.name):
        raise FetchError(name, f"its archive names {shown}, which leads out of its folder; refused")
    if member.issym() or member.islnk():
        target = ascii(member.linkname)[1:-1]
        raise FetchError(name, f"its archive has a link, {shown} to {target}; refused")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise FetchError(name, f"its archive has {shown}, which is no regular file; refused")


@dataclass
class _Guarded:
    """The bytes of an archive as tarfile reads them: not too many, and not too many at once."""

    content: BinaryIO | gzip.GzipFile
    limit: int
    name: str

    def allow(self, count: int) -> None:
        """Raises FetchError where so many bytes more are too many."""
        if count < 0 or self.content.tell() + count > self.limit:
            raise FetchError(
                self.name,
                f"its archive unpacks to more than {self.limit:,} bytes, which is not plausible",
            )

    def read(self, count: int) -> bytes:
        """So many bytes, or those that are left."""
        if not 0 <= count <= MOST_AT_ONCE:
            raise FetchError(self.name, "its archive has a header of over a million bytes; refused")
        content = self.content.read(count)
        self.allow(0)
        return content

    def seek(self, place: int) -> int:
        """Go to a place, which is read until there."""
        self.allow(place - self.content.tell() if place > self.content.tell() else 0)
        return self.content.seek(place)

    def tell(self) -> int:
        """The place of the next byte."""
        return self.content.tell()


# ------------------------------------------------------------------ what was unpacked


def _checkpoint(folder: Path, name: str) -> Path:
    """The prefix of the only checkpoint below a folder, or of the newest in its only folder."""
    found = [
        path.with_name(path.name.removesuffix(INDEX))
        for path in sorted(folder.rglob(f"*{INDEX}"))
        if not path.name.startswith(".") and _has_data(path)
    ]
    if len(found) > 1 and len({prefix.parent for prefix in found}) == 1:
        newest = _newest(found[0].parent)
        found = [prefix for prefix in found if prefix.name == newest] or found
    if not found:
        raise FetchError(name, f"there is no checkpoint of TensorFlow in its archive, in {folder}")
    if len(found) > 1:
        shown = ", ".join(str(prefix.relative_to(folder)) for prefix in found[:LISTED])
        raise FetchError(name, f"its archive has {shown}; name one of them, below {folder}")
    return found[0]


def _has_data(index: Path) -> bool:
    start = index.name.removesuffix(INDEX) + DATA
    return any(path.name.startswith(start) for path in index.parent.iterdir())


def _newest(folder: Path) -> str | None:
    """The name of the checkpoint that TensorFlow's own file says is the newest there."""
    try:
        text = (folder / STATE_FILE).read_bytes()[:4096].decode(errors="replace")
    except OSError:
        return None
    found = re.search(r'^model_checkpoint_path:\s*"([^"\n]+)"', text, re.MULTILINE)
    return None if found is None else re.split(r"[/\\]", found[1])[-1]
