"""PyTorch's checkpoint files, read and written without PyTorch: data, of which nothing is run."""

from __future__ import annotations

import io
import json
import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..._util.files import opened
from ...classes.forms import DESCRIPTIONS, LABELS, MOST
from ...errors import FileError, reading
from . import torch_pickle, torch_programs
from .detect import OLD_EXPORT
from .lazy import LazyTensor
from .torch_objects import (
    DamagedError,
    Inert,
    Object,
    RefusedError,
    Scripted,
    Table,
    Tensor,
    kind_of,
)
from .torch_pickle import Unpickled
from .torch_writing import LOCAL_HEADER, METADATA, write

__all__ = ["METADATA", "read", "read_tensor", "write"]

WHAT = "a PyTorch file"
ZIP_SIGNATURE = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
CHUNK = 2**20
DEPTH_LIMIT = 64
# What zipfile raises on a damaged directory; a flag or a version may also be one that it lacks.
ZIP_ERRORS = (zipfile.BadZipFile, struct.error, NotImplementedError, EOFError, ValueError)
UTF8 = 0x800  # a flag of a member's name
_COUNT = struct.Struct("<q")


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The (nested) dictionaries of tensors in a file, and what it says of them.

    That is our metadata, and what the classes are called; the rest is left out.

    The tensors are of the shapes that they have in PyTorch, and are read when they are asked for.

    Raises:
        RosettaError: damaged, or a pickled or frozen module rather than its weights.
    """
    path = Path(path)
    with _reading(path), opened(path) as file:
        legacy = file.read(len(ZIP_SIGNATURE)) != ZIP_SIGNATURE
        file.seek(0)
        if not legacy and (exported := _exported(path, file)) is not None:
            return exported, {torch_programs.PROGRAM: torch_programs.EXPORTED}
        storages, pickle = _legacy(path, file) if legacy else _zip(path, file)
        if isinstance(pickle.content, Scripted):
            return _scripted(path, storages, pickle)
        if isinstance(pickle.content, Object):
            return _module(path, storages, pickle)
        if not isinstance(pickle.content, Table):
            raise FileError(path, f"holds a {kind_of(pickle.content)} and not a state dict")
        tensors = _Walk(storages, pickle.operations).tables(pickle.content)
        return tensors, {**_class_names(pickle.content), **_metadata(pickle.content)}


def read_tensor(path: Path, content: bytes, start: int) -> np.ndarray:
    """The only tensor in a file of PyTorch's that is a part of another, from `start` on.

    Raises:
        RosettaError: damaged, or something else than a tensor.
    """
    with _reading(path):
        storages, pickle = _zip(path, io.BytesIO(content))
        if not isinstance(pickle.content, Tensor):
            raise DamagedError("it holds something else than a tensor")
        extents = {k: replace(e, start=e.start + start) for k, e in storages.extents.items()}
        return replace(storages, extents=extents).lazy("a piece", pickle.content).read()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    with reading(path, WHAT):
        try:
            yield
        except RefusedError as error:
            raise FileError(
                path,
                "is damaged, or holds Python objects, which are not rebuilt because that "
                "runs code; ask its owner to save model.state_dict()",
            ) from error


def _metadata(content: Table) -> dict[str, str]:
    """What `write` keeps where a state dict has the version of each of its modules."""
    attributes = getattr(content, "attributes", Table())
    modules = attributes.get("_metadata")
    found = modules.get(METADATA) if isinstance(modules, Table) else None
    if not isinstance(found, Table):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _class_names(content: Table) -> dict[str, str]:
    """What a training script calls its classes, beside the state dict or in a dictionary there.

    By key as JSON: lists and dictionaries of texts and whole numbers, which hold nothing else.
    """
    found: dict[str, str] = {}
    left = MOST  # values to look at: one list may be in any number of dictionaries
    for part in (content, *filter(_is_table, content.values())):
        for key in (key for key in (*LABELS, DESCRIPTIONS) if key in part and key not in found):
            said = part[key]
            if not isinstance(said, Table | list | tuple) or len(said) > left:
                continue
            left -= len(said)
            inner = said.values() if isinstance(said, Table) else said
            if all(type(value) in (str, int) for value in inner):
                found[key] = json.dumps(said)
    return found


# ------------------------------------------------------------------ tensors in their storages


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where a file keeps a storage, and its checksum if there is one."""

    start: int
    size: int
    checksum: int | None = None


@dataclass(frozen=True)
class _Storages:
    """Where a file keeps its storages, by key, and which were compared with their checksums."""

    path: Path
    extents: Mapping[str, _Extent]
    swapped: bool = False  # written by a machine of the other byte order
    sound: set[str] = field(default_factory=set)

    def lazy(self, key: str, tensor: Tensor) -> LazyTensor:
        """A tensor that is read when it is asked for.

        Raises:
            DamagedError: it does not lie within its storage.
            RosettaError: it is larger than its storage.
        """
        extent = self.extents.get(tensor.storage.key)
        if extent is None or tensor.storage.offset + tensor.storage.size > extent.size:
            raise DamagedError(f"the storage of {_shown(key)} is not in the file")
        size = math.prod(tensor.shape) * tensor.dtype.itemsize
        if _span(tensor) * tensor.dtype.itemsize > tensor.storage.size or _overflows(tensor):
            raise DamagedError(f"the storage of {_shown(key)} is smaller than its shape")
        if size > tensor.storage.size:
            # A stride of 0, which costs a file nothing: the values would be as many as it claims.
            raise FileError(
                self.path,
                f"{_shown(key)} repeats its values, as a tensor does after expand(); "
                "ask its owner to save it after contiguous()",
            )
        return LazyTensor(key, tensor.shape, tensor.dtype, partial(self.array, key, tensor))

    def array(self, key: str, tensor: Tensor) -> np.ndarray:
        """The values.

        Raises:
            RosettaError: the file is gone, or no longer as it was written.
        """
        if not math.prod(tensor.shape):
            return np.empty(tensor.shape, tensor.dtype)
        extent = self.extents[tensor.storage.key]
        with reading(self.path, WHAT), opened(self.path) as file:
            if tensor.storage.key not in self.sound:
                _compare(file, extent, _shown(key))
                self.sound.add(tensor.storage.key)
            itemsize = tensor.dtype.itemsize
            file.seek(extent.start + tensor.storage.offset + tensor.offset * itemsize)
            raw = np.empty((_span(tensor) - tensor.offset) * itemsize, np.uint8)
            if file.readinto(raw.data) != raw.size:
                raise DamagedError(f"it ends before {_shown(key)}")
        if self.swapped:
            unit = itemsize // 2 if tensor.dtype.kind == "c" else itemsize
            raw.view(f"u{unit}").byteswap(inplace=True)
        return _view(raw.view(tensor.dtype), tensor)


def _span(tensor: Tensor) -> int:
    """Elements of a storage up to the last of a tensor, or none if it has no elements."""
    if 0 in tensor.shape:
        return 0
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return tensor.offset + sum((size - 1) * stride for size, stride in steps) + 1


def _overflows(tensor: Tensor) -> bool:
    """Whether NumPy could not count the elements, although they are none for an axis of 0."""
    return math.prod(max(size, 1) for size in tensor.shape) * tensor.dtype.itemsize >= 2**63


def _view(flat: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The elements in the order of C; the strides of axes of 1 mean nothing, and may be any."""
    pairs = zip(tensor.shape, tensor.strides, strict=True)
    strides = [stride if size > 1 else 0 for size, stride in pairs]
    dense = [math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
    if strides == [n if size > 1 else 0 for size, n in zip(tensor.shape, dense, strict=True)]:
        return flat.reshape(tensor.shape)
    steps = [stride * flat.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False)
    return np.array(view, order="C")


def _compare(file: BinaryIO, extent: _Extent, name: str) -> None:
    """Check the whole of a storage, however little of it is wanted: once for all its tensors."""
    if extent.checksum is None:
        return
    file.seek(extent.start)
    checksum, left = 0, extent.size
    while left and (chunk := file.read(min(left, CHUNK))):
        checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
    if checksum != extent.checksum:
        raise DamagedError(f"{name} does not have the checksum that it was written with")


def _shown(key: str) -> str:
    """A key in a message, which is one line whatever the key."""
    return key[:100] if key.isprintable() else ascii(key[:100])


@dataclass
class _Walk:
    """Goes through dictionaries, which may be in one another many times, and in themselves.

    A dictionary in 45 levels of two may name 2^45 tensors in a KiB.  In a file that shares
    nothing there is an operation of the pickle to each entry, and more than 20 to each tensor.
    """

    storages: _Storages
    operations: int
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.operations + 2**16

    def tables(self, table: Table, depth: int = 0) -> dict[str, Any]:
        """The tensors and dictionaries in a dictionary."""
        if depth > DEPTH_LIMIT:
            raise DamagedError(f"its dictionaries are more than {DEPTH_LIMIT} deep")
        found: dict[str, Any] = {}
        for key, value in table.items():
            self.spend(8 if isinstance(value, Tensor) else 1)
            if isinstance(value, Tensor):
                found[key] = self.storages.lazy(key, value)
            elif isinstance(value, Object):
                self.spend(sum(map(len, filter(_is_table, value.values()))))
                found[key] = self.tables(value.module, depth + 1)
            elif isinstance(value, Table):
                found[key] = self.tables(value, depth + 1)
            elif isinstance(value, Inert) and value.trouble:
                raise FileError(self.storages.path, f"{_shown(key)} {value.trouble}")
        return found

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise DamagedError("its dictionaries contain one another too often")


# ------------------------------------------------------------------ the two kinds of file


def _legacy(path: Path, file: BinaryIO) -> tuple[_Storages, Unpickled]:
    """PyTorch before 1.6: pickles one after another, then the storages in the order of a list."""
    size = path.stat().st_size
    magic = torch_pickle.load(file, size).content
    if magic != LEGACY_MAGIC:
        raise DamagedError("it does not begin as PyTorch's files do")
    if torch_pickle.load(file, size).content != LEGACY_PROTOCOL:
        raise DamagedError("it is of another version than PyTorch's files are")
    torch_pickle.load(file, size)  # of the system that wrote it; storages are little-endian
    pickle = torch_pickle.load(file, size)
    keys = torch_pickle.load(file, size).content
    if not isinstance(keys, list):
        raise DamagedError("it does not list its storages")
    extents: dict[str, _Extent] = {}
    for key in keys:
        storage = pickle.storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise DamagedError("it lists a storage that nothing is in")
        head = file.read(_COUNT.size)
        start = file.tell()
        whole = _COUNT.unpack(head)[0] if len(head) == _COUNT.size else -1
        whole *= storage.dtype.itemsize
        if not 0 <= whole <= size - start:
            raise DamagedError("it ends early")
        extents[key] = _Extent(start, whole)
        file.seek(whole, io.SEEK_CUR)
    return _Storages(path, extents, sys.byteorder == "big"), pickle


def _zip(path: Path, file: BinaryIO) -> tuple[_Storages, Unpickled]:
    """PyTorch since 1.6: an archive of a pickle, and of a member for each storage."""
    members = _members(file)
    checked = any(info.CRC for info in members.values())
    root = next(iter(members), "").partition("/")[0]

    def extent(name: str) -> _Extent:
        return _extent(path, file, members[name], checked)

    def content(name: str) -> bytes:
        found = extent(name)
        _compare(file, found, _shown(name))
        file.seek(found.start)
        return file.read(found.size)

    if f"{root}/data.pkl" not in members:
        raise DamagedError(f"it has no data.pkl in {_shown(root)}")
    raw = content(f"{root}/data.pkl")
    order = content(f"{root}/byteorder") if f"{root}/byteorder" in members else b"little"
    if order not in (b"little", b"big"):
        raise DamagedError("its byte order is neither little nor big")
    scripted = f"{root}/constants.pkl" in members
    pickle = torch_pickle.load(io.BytesIO(raw), len(raw), scripted)
    names = {key: f"{root}/data/{key}" for key in pickle.storages}
    extents = {key: extent(name) for key, name in names.items() if name in members}
    return _Storages(path, extents, order.decode() != sys.byteorder), pickle


def _scripted(
    path: Path, storages: _Storages, pickle: Unpickled
) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters and buffers of a TorchScript module, under the names of its state dict."""
    walk = _Walk(storages, pickle.operations)
    content = torch_programs.flat(walk.tables(pickle.content))
    if not content:
        raise FileError(
            path,
            "is a frozen TorchScript program, whose weights are constants without names in it; "
            "ask its owner for one that was not frozen, or for an ONNX file",
        )
    return content, {torch_programs.PROGRAM: torch_programs.SCRIPTED}


def _module(
    path: Path, storages: _Storages, pickle: Unpickled
) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters and buffers of a module that was saved whole; its code was not."""
    found = _Walk(storages, pickle.operations).tables(pickle.content.module)
    if not found:
        raise FileError(path, "holds an object that is no module; save a model's state_dict()")
    return found, {torch_programs.PROGRAM: torch_programs.PICKLED}


def _is_table(value: object) -> bool:
    return isinstance(value, Table)


def _exported(path: Path, file: BinaryIO) -> dict[str, Any] | None:
    """The weights of an archive of `torch.export` by name; None of any other."""
    members = _members(file)
    config = next(filter(torch_programs.CONFIG.match, members), None)
    if config is None:
        if OLD_EXPORT in members:
            raise FileError(
                path,
                "was written by torch.export of an old PyTorch; load it and save it again "
                "with PyTorch 2.8 or newer",
            )
        return None
    checked = any(info.CRC for info in members.values())
    place = _extent(path, file, members[config], checked)
    if place.size > torch_programs.CONFIG_LIMIT:
        raise DamagedError("its list of weights is implausibly long")
    _compare(file, place, _shown(config))
    file.seek(place.start)
    content = file.read(place.size)
    folder = config.rpartition("/")[0] + "/"
    extents = {
        name.removeprefix(folder): _extent(path, file, info, checked)
        for name, info in members.items()
        if name.startswith(folder)
    }
    tensors = torch_programs.listed(content, {name: e.size for name, e in extents.items()})
    storages = _Storages(path, extents)
    return {name: storages.lazy(name, tensor) for name, tensor in tensors.items()}


def _members(file: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except ZIP_ERRORS as error:
        raise DamagedError(f"its directory is damaged, {_shown(str(error))}") from error
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise DamagedError("two of its members have one name")
    for name in members:
        if name.startswith("/") or ".." in name.split("/"):
            raise DamagedError(f"it has a member outside itself, {_shown(name)}")
    return members


def _extent(path: Path, file: BinaryIO, info: zipfile.ZipInfo, checked: bool) -> _Extent:
    """Where the bytes of a member are.  Without checksums, as PyTorch can write, all are 0."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise FileError(path, "is compressed; unpack it with torch.load and save it again")
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(ZIP_SIGNATURE):
        raise DamagedError(f"{_shown(info.filename)} is not where it should be")
    _, name, extra = LOCAL_HEADER.unpack(header)
    if file.read(name) != info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437"):
        raise DamagedError(f"{_shown(info.filename)} has two names")
    start = info.header_offset + LOCAL_HEADER.size + name + extra
    fits = info.compress_size == info.file_size <= path.stat().st_size - start
    if info.flag_bits & 1 or not fits:
        raise DamagedError(f"{_shown(info.filename)} is encrypted, or ends early")
    return _Extent(start, info.file_size, info.CRC if checked else None)
