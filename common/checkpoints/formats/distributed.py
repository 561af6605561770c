"""PyTorch's distributed checkpoints: a folder of tensors in pieces, read without PyTorch.

`.metadata` is a pickle that says of every tensor its shape, its type, and in which pieces it is
kept; every piece is a file of `torch.save` of its own, inside a `.distcp` file.  The pickle is read
by the machine of `torch_pickle.py`, which knows a few more names here, and still calls nothing.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..._util.files import is_file
from ...errors import DamagedFileError, FileError, reading
from . import torch_file
from .folders import DISTRIBUTED_INDEX, member
from .lazy import LazyTensor
from .torch_objects import DTYPES, DamagedError, Global, Inert, RefusedError, Table
from .torch_pickle import Machine, Operation

WHAT = "a distributed checkpoint"
METADATA = "torch.distributed.checkpoint.metadata."
FILES = "torch.distributed.checkpoint.filesystem."
RECORDS = {
    *(
        METADATA + name
        for name in (
            *("Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata"),
            *("TensorProperties", "ChunkStorageMetadata", "StorageMeta"),
        )
    ),
    f"{FILES}_StorageInfo",
    f"{FILES}_StorageMeta",
}
DROPPED = {
    f"{METADATA}_MEM_FORMAT_ENCODING": "memory format",
    "pathlib.PosixPath": "path",
    "pathlib.WindowsPath": "path",
    "pathlib.PurePosixPath": "path",
    "pathlib._local.PosixPath": "path",
    "torch.serialization._get_layout": "layout",
}
SIZE_LIMIT = 2**28  # bytes of the pickle
AXES_LIMIT = 8


class Record:
    """An object of a class that is known by name: its attributes, or its state as it was kept."""

    __slots__ = ("kind", "state")

    def __init__(self, kind: str):
        self.kind = kind
        self.state: Any = Table()

    def get(self, name: str) -> Any:
        """An attribute; None where it was not kept under a name."""
        return self.state.get(name) if isinstance(self.state, Table) else None


class _Machine(Machine):
    """The machine of state dicts, and the operations and names of these pickles beside."""

    def operation(self, code: bytes) -> Operation | None:
        return _OPERATIONS.get(code) or super().operation(code)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise RefusedError("a pickle names something that is no text")
        self.refer_to(f"{module}.{name}")

    def is_known(self, name: str) -> bool:
        return name in RECORDS or name in DROPPED or super().is_known(name)

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if isinstance(function, Global) and function.name in RECORDS:
            self.push(Record(function.name))
        elif isinstance(function, Global) and function.name in DROPPED:
            self.push(Inert(DROPPED[function.name]))
        else:
            self.push(function)
            self.push(arguments)
            super().call()

    def build(self) -> None:
        if len(self.stack) > 1 and isinstance(self.stack[-2], Record):
            state = self.pop()
            self.stack[-1].state = state
        else:
            super().build()

    def memoize(self) -> None:
        value = self.pop()
        self.memo[len(self.memo)] = value
        self.push(value)

    def key(self, value: object) -> str | None:
        if not isinstance(value, Record):
            return super().key(value)
        return _place(value.get("fqn"), value.get("offset"))


_OPERATIONS: dict[bytes, Callable[[Any], object]] = {
    pickle.FRAME: lambda m: m.take(8),
    pickle.SHORT_BINUNICODE: lambda m: m.short_text(),
    pickle.MEMOIZE: _Machine.memoize,
    pickle.STACK_GLOBAL: _Machine.stack_global,
}


def _place(name: object, offset: object) -> str | None:
    """The text that stands for the place of a piece: of a tensor, and from which element on."""
    if not isinstance(name, str):
        return None
    return f"{name}\0{list(offset) if isinstance(offset, tuple) else None}"


# ------------------------------------------------------------------ reading


@dataclass(frozen=True)
class _Piece:
    """A part of a tensor: from which element on, how large, and where its bytes are."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    path: Path
    start: int
    length: int


def read(folder: Path) -> dict[str, LazyTensor]:
    """The tensors of a folder by their full names; they are read when they are asked for.

    Raises:
        RosettaError: damaged, or it names files that are not in the folder.
    """
    path = folder / DISTRIBUTED_INDEX
    with reading(path, WHAT):
        if not is_file(path) or path.stat().st_size > SIZE_LIMIT:
            raise FileError(folder, f"has no {DISTRIBUTED_INDEX} of a plausible size")
        content = path.read_bytes()
        try:
            metadata = _Machine(io.BytesIO(content), len(content), scripted=False).run()
        except RefusedError as error:
            raise FileError(path, f"is more than the list of a checkpoint: {error}") from error
        if not isinstance(metadata, Record):
            raise DamagedError("it does not describe a checkpoint")
        tensors, stored = metadata.get("state_dict_metadata"), metadata.get("storage_data")
        if not isinstance(tensors, Table) or not isinstance(stored, Table):
            raise DamagedError("it does not list tensors and their files")
        files: dict[str, Path] = {}
        found = {}
        for name, described in tensors.items():
            if isinstance(described, Record) and described.kind.endswith(".TensorStorageMetadata"):
                found[name] = _tensor(folder, files, name, described, stored)
    return found


def _tensor(
    folder: Path, files: dict[str, Path], name: str, described: Record, stored: Table
) -> LazyTensor:
    dtype, shape = _dtype(described), _sizes(described.get("size"))
    chunks = described.get("chunks")
    if not isinstance(chunks, list) or not chunks:
        raise DamagedError("a tensor has no pieces")
    pieces = [_piece(folder, files, name, chunk, stored, dtype) for chunk in chunks]
    inside = all(
        len(piece.offsets) == len(piece.sizes) == len(shape)
        and all(o + s <= n for o, s, n in zip(piece.offsets, piece.sizes, shape, strict=True))
        for piece in pieces
    )
    if not inside or sum(math.prod(piece.sizes) for piece in pieces) != math.prod(shape):
        raise DamagedError("the pieces of a tensor are not the whole of it")
    return LazyTensor(name, shape, dtype, partial(_assembled, name, shape, dtype, pieces))


def _dtype(described: Record) -> np.dtype[Any]:
    properties = described.get("properties")
    state = properties.state if isinstance(properties, Record) else None
    values = state.values() if isinstance(state, Table) else state
    for value in values if isinstance(values, tuple | type({}.values())) else ():
        name = value.name.removeprefix("torch.") if isinstance(value, Global) else ""
        if name in DTYPES:
            return DTYPES[name]
    raise DamagedError("a tensor has no type")


def _sizes(value: object) -> tuple[int, ...]:
    sizes = value if isinstance(value, tuple) else None
    if sizes is None or len(sizes) > AXES_LIMIT:
        raise DamagedError("a tensor has no shape")
    if not all(type(size) is int and 0 <= size < 2**48 for size in sizes):
        raise DamagedError("a tensor has a shape that is not made of whole numbers")
    return sizes


def _piece(
    folder: Path,
    files: dict[str, Path],
    name: str,
    chunk: object,
    stored: Mapping[str, Any],
    dtype: np.dtype[Any],
) -> _Piece:
    if not isinstance(chunk, Record):
        raise DamagedError("a tensor has no pieces")
    offsets, sizes = _sizes(chunk.get("offsets")), _sizes(chunk.get("sizes"))
    where = stored.get(_place(name, offsets) or "")
    if not isinstance(where, Record):
        raise DamagedError("a piece of a tensor is not said to be anywhere")
    file, start, length = (where.get(part) for part in ("relative_path", "offset", "length"))
    if not isinstance(file, str) or type(start) is not int or type(length) is not int:
        raise DamagedError("a piece of a tensor is not said to be anywhere")
    if where.get("transform_descriptors"):
        raise FileError(folder, "is compressed; save it again without transforms")
    if file not in files:
        files[file] = member(folder, file, folder / DISTRIBUTED_INDEX)
    if start < 0 or length < 0 or start + length > files[file].stat().st_size:
        raise DamagedError("a piece of a tensor is not in its file")
    if math.prod(sizes) * dtype.itemsize > length:
        raise DamagedError("a piece of a tensor is larger than its bytes")
    return _Piece(offsets, sizes, files[file], start, length)


def _assembled(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], pieces: list[_Piece]
) -> np.ndarray:
    values, filled = np.empty(shape, dtype), np.zeros(shape, bool)
    for piece in pieces:
        found = _values(piece)
        if found.shape != piece.sizes or found.dtype != dtype:
            raise DamagedFileError(piece.path, f"holds another tensor than {name!a}")
        place = tuple(
            slice(first, first + size)
            for first, size in zip(piece.offsets, piece.sizes, strict=True)
        )
        if filled[place].any():  # so that another place would be left as memory had it
            raise DamagedFileError(piece.path, f"holds a part of {name!a} twice")
        values[place], filled[place] = found, True
    return values


def _values(piece: _Piece) -> np.ndarray:
    """What is in one of the files of `torch.save` that a larger file is made of."""
    with reading(piece.path, WHAT):
        with piece.path.open("rb") as file:
            file.seek(piece.start)
            content = file.read(piece.length)
        return torch_file.read_tensor(piece.path, content, piece.start)
