"""Values that an ONNX file keeps in a file beside it, as large models and PyTorch's exporter do.

The name is what the file says, so it is looked at before it is followed: a regular file, in the
folder of the model and nowhere else.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ...errors import FileError
from .protobuf_wire import WireError, shown

DIGITS = 19  # of a number of 63 bits


def find(path: Path, name: str, entries: Mapping[str, str]) -> tuple[Path, tuple[int, int]]:
    """The file that holds the values of a tensor, and from where to where they are in it.

    `entries` are the tensor's own, of which "location", "offset" and "length" count.

    Raises:
        FileError: it is not beside the model, is no regular file, or is too short.
        WireError: the entries contradict themselves.
    """
    location = entries.get("location", "")
    file = _beside(path, name, location)
    size = file.stat().st_size
    start = _number(name, entries.get("offset", "0"))
    length = _number(name, entries["length"]) if "length" in entries else size - start
    if not 0 <= start <= start + length <= size:
        said = shown(location.encode())
        raise FileError(
            path, f"{name} is in {said}, which ends before it; the file is cut, or of another model"
        )
    return file, (start, start + length)


def _beside(path: Path, name: str, location: str) -> Path:
    """The file of a location, if it is one that may be read."""
    said = shown(location.encode())
    place = PurePosixPath(location)
    outside = place.is_absolute() or ".." in place.parts or "\\" in location or "\0" in location
    if not location or outside:
        raise FileError(path, f"{name} is in {said!r}, which is not a file beside the model")
    file = path.parent / location
    try:
        mode = file.stat().st_mode
    except OSError:
        raise FileError(
            path, f"the weights are in {said}, which is not beside it; put both into one folder"
        ) from None
    real = file.resolve()
    # What a cache of downloads keeps elsewhere, it keeps side by side.
    near = path.parent.resolve() in real.parents or real.parent == path.resolve().parent
    if not stat.S_ISREG(mode) or not near:
        raise FileError(path, f"{name} is in {said}, which is not a regular file of its folder")
    return file


def _number(name: str, said: str) -> int:
    if not (said.isascii() and said.isdigit() and len(said) <= DIGITS):
        raise WireError(f"{name} is at {shown(said.encode())!r} of another file, which is no place")
    return int(said)
