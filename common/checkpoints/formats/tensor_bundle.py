"""TensorFlow's checkpoints ("tensor bundles") without TensorFlow: names, and numbers beside them.

A checkpoint is named by a prefix.  PREFIX.index says of every tensor its shape, its type and where
its values are in PREFIX.data-00000-of-00001, or in one of several such files.  The values lie there
in the order of C with the lowest byte first, which is also how this module expects the machine to
have them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._util.atomic import unwritable
from ..._util.crc32c import crc32c, masked
from ..._util.files import is_file, opened
from ...errors import DamagedFileError, FileError
from .bundle_index import NUMBERS, Entry, Index, read_index, regions, write_index
from .lazy import LazyTensor
from .protobuf_wire import WireError, shown
from .sstable import KEY_LIMIT, BundleError, damaged

INDEX_LIMIT = 1 << 22  # bytes: 40,000 tensors; B7 with averages and optimizer has some 4,000


def read(prefix: Path) -> dict[str, LazyTensor]:
    """The tensors of a checkpoint by name; their values are read, and checked, when asked for.

    Texts and other entries that are not numbers are left out.  A tensor that was partitioned is
    put together.  No link of a data file is followed out of the folder, and only regular files are
    opened.

    Raises:
        RosettaError: a file is missing or damaged, or says what cannot be; the same from a tensor
            whose values do not fit their checksum.
    """
    with _reported(prefix):
        bundle = _Bundle(prefix, read_index(_index_bytes(prefix)))
        return bundle.tensors()


def write(prefix: Path, tensors: Mapping[str, LazyTensor]) -> None:
    """Write PREFIX.data-00000-of-00001 and, after it, PREFIX.index.

    One tensor is in memory at a time.  The files are written in place, so a caller who must not
    leave half of a checkpoint names a prefix in a folder that is thrown away on failure.

    Raises:
        RosettaError: a file cannot be written, or a tensor has no name or a type that TensorFlow
            does not have; and whatever a tensor raises that cannot be read.
    """
    by_key = {_key(prefix, name): tensor for name, tensor in tensors.items()}
    entries: list[tuple[bytes, Entry]] = []
    offset = 0
    with _written(prefix):
        with _beside(prefix, _data_name(prefix, 0, 1)).open("wb") as file:
            for key in sorted(by_key):
                array = _stored_form(prefix, key, by_key[key])
                content = array.reshape(-1).view(np.uint8)
                file.write(content.data)
                checksum = masked(crc32c(content))
                entry = Entry(array.shape, array.dtype, 0, offset, array.nbytes, checksum, ())
                entries.append((key, entry))
                offset += array.nbytes
        _beside(prefix, _index_name(prefix)).write_bytes(write_index(entries))


# ------------------------------------------------------------------ files


def _index_name(prefix: Path) -> str:
    return f"{prefix.name}.index"


def _data_name(prefix: Path, number: int, count: int) -> str:
    return f"{prefix.name}.data-{number:05d}-of-{count:05d}"


def _beside(prefix: Path, name: str) -> Path:
    return prefix.parent / name


@contextmanager
def _reported(prefix: Path) -> Iterator[None]:
    """Put the name of the checkpoint before what is wrong with it."""
    try:
        yield
    except BundleError as error:
        raise DamagedFileError(prefix, str(error)) from error
    except WireError as error:
        raise DamagedFileError(prefix, str(damaged(error))) from error
    except OSError as error:
        raise FileError(
            prefix, f"cannot be read ({error.strerror or error}); check its files"
        ) from error


@contextmanager
def _written(prefix: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unwritable(prefix, error.errno) from error


def _index_bytes(prefix: Path) -> bytes:
    """The bytes of the index, unless it is too long to be one."""
    path = _beside(prefix, _index_name(prefix))
    if not is_file(path):  # a FIFO would be waited for
        raise BundleError(f"there is no file {path.name}", "name a checkpoint by its prefix")
    with opened(path) as file:
        data = file.read(INDEX_LIMIT + 1)
    if len(data) > INDEX_LIMIT:
        raise BundleError(
            f"its index has more than {INDEX_LIMIT} bytes", "name a checkpoint of one network"
        )
    return data


class _Bundle:
    """A checkpoint whose index has been read."""

    def __init__(self, prefix: Path, index: Index) -> None:
        self._prefix = prefix
        self._index = index
        self._regions = {
            key: regions(key, entry, index) for key, entry in index.entries.items() if entry.parts
        }
        self._check()

    def tensors(self) -> dict[str, LazyTensor]:
        """All tensors but those that are parts of others.

        Raises:
            BundleError: a name is not UTF-8.
        """
        parts = {key for found in self._regions.values() for _, key in found}
        return {
            (name := _name(key)): LazyTensor(
                name, entry.shape, entry.dtype, partial(self._values, key)
            )
            for key, entry in self._index.entries.items()
            if key not in parts
        }

    def _check(self) -> None:
        """Hold every entry against the size of its data file.

        Raises:
            BundleError: a data file is missing or too short.
        """
        whole = {key: entry for key, entry in self._index.entries.items() if not entry.parts}
        numbers = sorted({entry.shard for entry in whole.values()})
        sizes = {number: self._data_file(number).stat().st_size for number in numbers}
        for key, entry in whole.items():
            if entry.offset + entry.size > sizes[entry.shard]:
                name = _data_name(self._prefix, entry.shard, self._index.shards)
                raise damaged(f"{shown(key)} ends behind the end of {name}")
        for key in self._regions:  # its parts could all be the same bytes
            entry = self._index.entries[key]
            if math.prod(entry.shape) * entry.dtype.itemsize > sum(sizes.values()):
                raise damaged(f"{shown(key)} is larger than all data files")

    def _data_file(self, number: int) -> Path:
        """The data file of a number, of which it is known that it may be opened.

        Raises:
            BundleError: it is missing, no regular file, or a link out of the folder.
        """
        name = _data_name(self._prefix, number, self._index.shards)
        try:
            path = _beside(self._prefix, name).resolve(strict=True)
        except (FileNotFoundError, RuntimeError):  # RuntimeError: links in a circle
            raise BundleError(f"{name} is missing", "put it beside the index") from None
        if path.parent != self._prefix.parent.resolve():
            raise BundleError(
                f"{name} is a link out of the folder, which is not followed",
                "put the file itself beside the index",
            )
        if not is_file(path):
            raise BundleError(f"{name} is not a file", "put the file itself beside the index")
        return path

    def _values(self, key: bytes) -> NDArray[Any]:
        """The values of a tensor, put together if it was partitioned.

        Raises:
            RosettaError: they are not there, do not fit their checksum, or its parts overlap.
        """
        with _reported(self._prefix):
            if key not in self._regions:
                return self._stored(key)
            entry = self._index.entries[key]
            values = np.empty(entry.shape, entry.dtype)
            filled = np.zeros(entry.shape, np.bool_)
            for region, part in self._regions[key]:
                if filled[region].any():
                    raise damaged(f"the parts of {shown(key)} overlap")
                filled[region] = True
                values[region] = self._stored(part)
            return values  # all of them: the parts have as many values as the whole

    def _stored(self, key: bytes) -> NDArray[Any]:
        entry = self._index.entries[key]
        content = np.empty(entry.size, np.uint8)
        path = self._data_file(entry.shard)
        with opened(path) as file:
            file.seek(entry.offset)
            count = file.readinto(content.data)
        if count != entry.size or masked(crc32c(content)) != entry.checksum:
            raise BundleError(f"the values of {shown(key)} do not fit their checksum")
        return content.view(entry.dtype).reshape(entry.shape)


# ------------------------------------------------------------------ names and values


def _name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise damaged(f"the name {shown(key)} is not UTF-8") from None


def _key(prefix: Path, name: str) -> bytes:
    """The key of a name, which is to be one that `read` takes."""
    try:
        key = name.encode()
    except UnicodeEncodeError:
        key = b""
    if not 0 < len(key) <= KEY_LIMIT:
        raise FileError(prefix, f"cannot hold a tensor named {name[:100]!a}; rename it")
    return key


def _stored_form(prefix: Path, key: bytes, tensor: LazyTensor) -> NDArray[Any]:
    """The values of a tensor as they lie in a data file: in the order of C, little-endian."""
    array = np.asarray(tensor.read(), order="C")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in NUMBERS:
        raise FileError(
            prefix, f"cannot hold {shown(key)}, which is in {array.dtype}; convert it to float32"
        )
    return array
