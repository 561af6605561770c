"""Keras's HDF5 files: the legacy .h5 with names in attributes, and .weights.h5 with counters."""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from ..._util.files import opened
from ...errors import FileError, reading
from ...weights.metadata import FORMAT
from .hdf5_texts import TEXT_LIMIT, text_beside
from .lazy import SPARE, LazyTensor, check_expansion

METADATA = FORMAT  # an attribute of the file
MODEL_CONFIG = "model_config"  # an attribute of the file, of a whole model
CONFIG_LIMIT = 2**25  # bytes of it; that of B7 has 2^19
LAYER_NAME = "name"  # an attribute of a group of variables, since Keras 3.6
ATTRIBUTE_LIMIT = 64_000  # bytes of one HDF5 attribute; Keras spreads longer lists over several

# Filters that do not change how long a chunk is, or by four bytes.
HARMLESS = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)

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
        said = walk.text(file, MODEL_CONFIG, CONFIG_LIMIT) if MODEL_CONFIG in file.attrs else None
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


def _read_dataset(path: Path, content: Opener | None, key: str) -> np.ndarray:
    with _opened(path, content) as file:
        dataset = file[key]
        _check_stored(dataset)
        return np.asarray(dataset[()])


def _check_stored(dataset: h5py.Dataset) -> None:
    """Refuse values that are not in the file, or far too few for what is made of them.

    The library makes up what was never written, and unpacks whatever comes.

    Raises:
        ValueError: the values are missing, or unpack to more than they say, or to too much.
    """
    stored = dataset.id.get_storage_size()
    if stored > dataset.file.id.get_filesize():
        raise ValueError(f"the values of {dataset.name} end behind the end of the file")
    if dataset.chunks is None:
        if stored < dataset.nbytes:
            raise ValueError(f"the values of {dataset.name} are missing")
        return
    # Also a chunk alone, which may be larger than the array.
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
    check_expansion(dataset.name, max(chunk, dataset.nbytes), stored)
    pairs = zip(dataset.shape, dataset.chunks, strict=True)
    if dataset.id.get_num_chunks() < math.prod(-(-size // side) for size, side in pairs):
        raise ValueError(f"values of {dataset.name} are missing")
    _check_filters(dataset, chunk)


def _check_filters(dataset: h5py.Dataset, size: int) -> None:
    """Refuse chunks that unpack to more than `size` bytes, for which the library would find room.

    Raises:
        ValueError: they do, or are packed in another way than by gzip.
    """
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(n)[0] for n in range(properties.get_nfilters())]
    packing = [number for number in filters if number not in HARMLESS]
    if packing not in ([], [h5py.h5z.FILTER_DEFLATE]):
        raise ValueError(f"{dataset.name} is packed in another way than by gzip; unpack it")
    for number in range(dataset.id.get_num_chunks() if packing else 0):
        place = dataset.id.get_chunk_info(number)
        if place.size > size + SPARE:
            raise ValueError(f"a chunk of {dataset.name} is longer than it can be")
        skipped, content = dataset.id.read_direct_chunk(place.chunk_offset)
        if skipped & 1 << filters.index(packing[0]):
            continue
        if len(zlib.decompressobj().decompress(content, size + 1)) > size:
            raise ValueError(f"a chunk of {dataset.name} unpacks to more than it can hold")


class _Walk:
    """Goes through a file once, whatever its links say."""

    def __init__(self, path: Path, content: Opener | None):
        self.path, self.content = path, content
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

    def text(self, group: h5py.Group, attribute: str, limit: int = TEXT_LIMIT) -> str | None:
        """An attribute of a group, of so many bytes at most; None where that is no text."""
        kind = h5py.check_string_dtype(group.attrs.get_id(attribute).dtype)
        if kind is None:
            return None
        if kind.length is not None:
            found = group.attrs[attribute]
            return found.decode(errors="replace") if isinstance(found, bytes) else None
        # Keras's are of variable length, which are read without the library.
        address = h5py.h5o.get_info(group.id).addr
        with self.content() if self.content else opened(self.path) as file:
            try:
                return text_beside(file, address, attribute, limit)
            except ValueError as error:
                if attribute == MODEL_CONFIG:  # which the weights are read without
                    return None
                raise FileError(
                    self.path, f"its texts are damaged ({error}); save the model again"
                ) from error

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
    if chunks <= 1:  # as Keras 2 has them, in strings of any length: not all readers take others
        group.attrs[attribute] = encoded.tolist()
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
