"""Keras's HDF5 files: the legacy .h5 with names in attributes, and .weights.h5 with counters."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from ...errors import FileError, reading
from ...weights.metadata import FORMAT
from .lazy import LazyTensor

METADATA = FORMAT  # an attribute of the file
MODEL_CONFIG = "model_config"  # an attribute of the file, of a whole model
LAYER_NAME = "name"  # an attribute of a group of variables, since Keras 3.6
ATTRIBUTE_LIMIT = 64_000  # bytes of one HDF5 attribute; Keras spreads longer lists over several

CHUNK = 2**22  # bytes read at once in search of heaps
HEAP = b"GCOL\x01"  # signature and version of a heap ("global heap collection")
HEADER = struct.Struct("<8sQ")  # signature, version, reserved; size of it all
OBJECT = struct.Struct("<HH4xQ")  # number, references, size

Opener = Callable[[], BinaryIO]


@contextmanager
def _opened(path: Path, content: Opener | None = None) -> Iterator[h5py.File]:
    with reading(path, "HDF5"), h5py.File(content() if content else path) as file:
        yield file


class _Target(io.FileIO):
    """A file to write, which keeps to itself that there is no room until it is asked.

    The HDF5 library writes most of what it has to say when it closes a file.  Where it cannot, it
    has no way to tell, and prints it, for every object that is open.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of a buffer, or remember why not."""
        view = memoryview(content).cast("B")
        done = 0
        try:
            while self.failure is None and done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Change the size, or remember why not."""
        try:
            return super().truncate(size) if self.failure is None else 0
        except OSError as error:
            self.failure = error
            return 0

    def check(self) -> None:
        """Say what was kept back.

        Raises:
            OSError: something of the file could not be written.
        """
        if self.failure is not None:
            raise self.failure


@contextmanager
def _created(path: Path) -> Iterator[tuple[h5py.File, _Target]]:
    """A new file, and what is to be asked now and then whether all of it was written.

    Raises:
        OSError: it was not.
    """
    with _Target(path, "w+") as target:
        try:
            with h5py.File(target, "w") as file:
                yield file, target
        finally:
            target.check()


def read(
    path: Path, content: Opener | None = None
) -> tuple[list[LazyTensor], dict[str, str], dict[str, str], str | None]:
    """Every dataset, the layer that each group of variables says it belongs to, and metadata.

    Last comes what Keras says of the whole model, as JSON, where it does.

    `content` opens what is read in place of the file `path`, which it was found in.

    Raises:
        RosettaError: damaged, or a link in it leads out of the file.
    """
    walk = _Walk(path, content)
    with _opened(path, content) as file:
        stored = [
            LazyTensor(key, shape, dtype, partial(_read_dataset, path, content, key))
            for key, shape, dtype in walk.datasets(file, "")
        ]
        metadata = _metadata(file)
        said = walk.text(file, MODEL_CONFIG) if MODEL_CONFIG in file.attrs else None
    return stored, walk.names, metadata, said


def _metadata(file: h5py.File) -> dict[str, str]:
    """What `_write_metadata` left; nothing in anybody else's file."""
    if METADATA not in file.attrs or file.attrs.get_id(METADATA).dtype.kind != "S":
        return {}
    found = json.loads(bytes(file.attrs[METADATA]))
    return {str(key): str(value) for key, value in found.items()}


def _write_metadata(file: h5py.File, metadata: Mapping[str, str]) -> None:
    """Of a fixed length, which needs no heap to keep it in."""
    file.attrs[METADATA] = np.bytes_(json.dumps(dict(metadata)))


def _heaps_end(file: BinaryIO) -> bool:
    """Whether every heap of the file can be walked through to its end.

    Texts of variable length, such as Keras's names of layers, are kept in heaps.  In a damaged one
    the HDF5 library goes round in circles, where an object of it takes no room or a negative one.
    """
    position, rest = 0, b""
    while chunk := file.read(CHUNK):
        window = rest + chunk
        start = window.find(HEAP)
        while start >= 0:
            here = file.tell()
            file.seek(position - len(rest) + start)
            if not _heap_ends(file):
                return False
            file.seek(here)
            start = window.find(HEAP, start + 1)
        position += len(chunk)
        rest = window[1 - len(HEAP) :]
    return True


def _heap_ends(file: BinaryIO) -> bool:
    header = file.read(HEADER.size)
    if len(header) < HEADER.size:
        return True  # which the library notices
    _, size = HEADER.unpack(header)
    room = size - HEADER.size
    while room >= OBJECT.size:
        found = file.read(OBJECT.size)
        if len(found) < OBJECT.size:
            return True
        index, _, content = OBJECT.unpack(found)
        # The object of number 0 is the free space, and counts its own header.
        needed = content if index == 0 else OBJECT.size + (content + 7) // 8 * 8
        if not OBJECT.size <= needed <= room:
            return False
        file.seek(needed - OBJECT.size, os.SEEK_CUR)
        room -= needed
    return True


def _read_dataset(path: Path, content: Opener | None, key: str) -> np.ndarray:
    with _opened(path, content) as file:
        return np.asarray(file[key][()])


class _Walk:
    """Goes through a file once, whatever its links say."""

    def __init__(self, path: Path, content: Opener | None):
        self.path, self.content = path, content
        self.heaps_end: bool | None = None  # not looked into so far
        self.names: dict[str, str] = {}
        self.seen: set[int] = set()  # addresses of groups: a hard link can lead back up

    def datasets(
        self, group: h5py.Group, prefix: str
    ) -> Iterator[tuple[str, tuple[int, ...], np.dtype]]:
        """Key, shape and dtype of every array of numbers."""
        address = h5py.h5o.get_info(group.id).addr
        if address in self.seen:
            raise FileError(self.path, f"{prefix} is in the file twice, through a link")
        self.seen.add(address)
        if LAYER_NAME in group.attrs and (name := self.text(group, LAYER_NAME)) is not None:
            self.names[prefix.rstrip("/")] = name
        for name in group:
            yield from self.member(group, name, f"{prefix}{name}")

    def text(self, group: h5py.Group, attribute: str) -> str | None:
        """An attribute of a group; None where that is no text."""
        kind = group.attrs.get_id(attribute).dtype
        if kind.kind != "S" and h5py.check_string_dtype(kind) is None:
            return None
        if self.heaps_end is None:
            with self.content() if self.content else self.path.open("rb") as file:
                self.heaps_end = _heaps_end(file)
        if not self.heaps_end:
            raise FileError(self.path, "its texts are damaged; save the model again")
        found = group.attrs[attribute]
        if isinstance(found, bytes):
            return found.decode(errors="replace")
        return found if isinstance(found, str) else None

    def member(
        self, group: h5py.Group, name: str, key: str
    ) -> Iterator[tuple[str, tuple[int, ...], np.dtype]]:
        """What is behind one name of a group."""
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise FileError(self.path, f"{key} is a link, which is not followed")
        member = group[name]
        if isinstance(member, h5py.Group):
            yield from self.datasets(member, f"{key}/")
        elif member.external or member.is_virtual:
            raise FileError(self.path, f"{key} lies in another file; it is not followed")
        elif member.dtype.kind in "fiu":
            yield key, member.shape, member.dtype


def write_legacy(
    path: Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str]
) -> None:
    """Write `{layer}/{layer}/{variable}:0` as Keras 2 does, with the names in attributes.

    Raises:
        OSError: there is no room for it.
    """
    layers: dict[str, list[str]] = {}
    for key in tensors:
        layer, _, weight = key.partition("/")
        layers.setdefault(layer, []).append(weight)
    with _created(path) as (file, target):
        _write_metadata(file, metadata)
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        _write_names(file, "layer_names", list(layers))
        for layer, weights in layers.items():
            group = file.create_group(layer)
            _write_names(group, "weight_names", weights)
            for weight in weights:
                group.create_dataset(weight, data=tensors[f"{layer}/{weight}"].read())
                target.check()


def _write_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    encoded = np.array([name.encode() for name in names])
    chunks = -(-encoded.nbytes // ATTRIBUTE_LIMIT)
    if chunks <= 1:
        group.attrs[attribute] = encoded
        return
    for number, chunk in enumerate(np.array_split(encoded, chunks)):
        group.attrs[f"{attribute}{number}"] = chunk


def write_counted(
    path: Path,
    tensors: Mapping[str, LazyTensor],
    metadata: Mapping[str, str],
    names: Mapping[str, str],
) -> None:
    """Write `layers/{class}_{n}/vars/{i}` as Keras 3 does, with the layers' names beside them.

    Raises:
        OSError: there is no room for it.
    """
    with _created(path) as (file, target):
        _write_metadata(file, metadata)
        for key, stored in tensors.items():
            file.create_dataset(key, data=stored.read())
            target.check()
        for group, name in names.items():
            file[group].attrs[LAYER_NAME] = name
