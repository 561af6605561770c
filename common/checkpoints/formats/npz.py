"""NumPy's archives of arrays, read without believing what they say of their size."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DamagedFileError, FileError, reading
from .lazy import LazyTensor, check_expansion

WHAT = ".npz"
NAMES = "names"  # efficientnet-jax keeps its names in an array, and the tensors under numbers
NAMES_LIMIT = 2**24  # bytes of that array, which is read before any shape is believed
HEADER_LIMIT = 2**16  # bytes before the values of an array


def read(path: Path) -> dict[str, LazyTensor]:
    """The arrays of an archive by name.

    Raises:
        RosettaError: it is damaged, or lists what is not in it.
    """
    with reading(path, WHAT):
        # Open for as long as its tensors are there: reading its directory again takes a while.
        archive = zipfile.ZipFile(path)
        tensors = _by_key(_in_archive(path, archive, info) for info in archive.infolist())
    if NAMES not in tensors:
        return tensors
    listed = tensors[NAMES]
    if len(listed.shape) != 1 or listed.dtype.kind not in "SU":
        raise FileError(path, "its list of names is no list of names")
    if math.prod(listed.shape) * max(listed.dtype.itemsize, 1) > NAMES_LIMIT:
        raise FileError(path, "its list of names is implausibly long")
    with reading(path, WHAT):
        names = [str(name) for name in listed.read()]
    absent = [name for number, name in enumerate(names) if str(number) not in tensors]
    if absent:
        raise FileError(path, f"lists {absent[0]}, which is not in the archive")
    if len(set(names)) != len(names):
        raise FileError(path, "has one name in its list twice")
    return {name: tensors[str(number)] for number, name in enumerate(names)}


def _by_key(stored: Iterable[LazyTensor]) -> dict[str, LazyTensor]:
    return {tensor.key: tensor for tensor in stored}


def _in_archive(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> LazyTensor:
    key = info.filename.removesuffix(".npy")
    with archive.open(info) as member:
        shape, dtype, _, start = _header(member)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != info.file_size - start:
        raise DamagedFileError(path, f"{key} has more values, or fewer, than its shape says")
    return LazyTensor(key, shape, dtype, partial(_values, path, archive, info))


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, type, whether the first axis is the fastest, and how many bytes say so."""
    head = io.BytesIO(member.read(HEADER_LIMIT))
    version = np.lib.format.read_magic(head)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(head)
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array of the shape {shape}")
    return shape, dtype, fortran, head.tell()


def _values(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """The values of an array, once they are found to fit their checksum."""
    with reading(path, WHAT):
        with archive.open(info) as member:
            shape, dtype, fortran, start = _header(member)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, which are not rebuilt")
        check_expansion(info.filename, info.file_size, info.compress_size)
        content = np.empty(info.file_size - start, np.uint8)
        with archive.open(info) as member:
            member.read(start)
            _fill(content, member)
        flat = content.view(dtype) if dtype.itemsize else np.empty(math.prod(shape), dtype)
    return flat.reshape(shape[::-1]).transpose() if fortran else flat.reshape(shape)


def _fill(content: NDArray[np.uint8], member: IO[bytes]) -> None:
    """Read all of a member, to its end, where its checksum is looked at."""
    at = 0
    while piece := member.read(2**20):
        content[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    if at != len(content):
        raise ValueError("a member of it ends early")
