"""The weights and the metadata of an ONNX file, without the package onnx: a graph is not looked at.

The messages and the numbers of their fields are those of onnx.proto3, and so are the types.  Values
are little-endian in a file, which is also how this module expects the machine to have them.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ..._util.files import opened
from ...errors import FileError, reading
from .lazy import LazyTensor
from .protobuf_wire import (
    FIXED32,
    FIXED64,
    VARINT,
    VARINT_BYTES,
    Field,
    Message,
    Scanner,
    WireError,
    shown,
    unpacked,
    varint,
)

WHAT = "ONNX"
GRAPH, METADATA = 7, 14  # of ModelProto
INITIALIZER = 5  # of GraphProto
# Of TensorProto.
DIMS, DATA_TYPE, SEGMENT, NAME, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 3, 8, 13, 14
FLOATS, INT32S, INT64S, RAW, DOUBLES, UINT64S = 4, 5, 7, 9, 10, 11
EXTERNAL = 1  # of DataLocation

# What one value is in a field of them that is not packed; RAW is bytes, however many values.
WIRES = {FLOATS: FIXED32, DOUBLES: FIXED64, **dict.fromkeys((INT32S, INT64S, UINT64S), VARINT)}
VARINTS = frozenset(number for number, wire in WIRES.items() if wire == VARINT)
# By their numbers in TensorProto.DataType, each with the field that holds its values where they
# are not raw.
TYPES: dict[int, tuple[np.dtype[Any], int]] = {
    1: (np.dtype(np.float32), FLOATS),
    2: (np.dtype(np.uint8), INT32S),
    3: (np.dtype(np.int8), INT32S),
    4: (np.dtype(np.uint16), INT32S),
    5: (np.dtype(np.int16), INT32S),
    6: (np.dtype(np.int32), INT32S),
    7: (np.dtype(np.int64), INT64S),
    9: (np.dtype(np.bool_), INT32S),
    10: (np.dtype(np.float16), INT32S),
    11: (np.dtype(np.float64), DOUBLES),
    12: (np.dtype(np.uint32), UINT64S),
    13: (np.dtype(np.uint64), UINT64S),
    14: (np.dtype(np.complex64), FLOATS),
    15: (np.dtype(np.complex128), DOUBLES),
    16: (np.dtype(ml_dtypes.bfloat16), INT32S),
    17: (np.dtype(ml_dtypes.float8_e4m3fn), INT32S),
    18: (np.dtype(ml_dtypes.float8_e4m3fnuz), INT32S),
    19: (np.dtype(ml_dtypes.float8_e5m2), INT32S),
    20: (np.dtype(ml_dtypes.float8_e5m2fnuz), INT32S),
    24: (np.dtype(ml_dtypes.float8_e8m0fnu), INT32S),
}
# Texts, and numbers of 2, 4 and 6 bits: none of them can be a weight, so they are left out.
LEFT_OUT = frozenset({8, 21, 22, 23, 25, 26, 27, 28})

AXES_LIMIT = 64  # NumPy's
BYTES_LIMIT = 1 << 63  # of a tensor: what a signed number of 64 bits holds
NAME_LIMIT = 4096  # bytes
TENSORS_LIMIT = 1 << 16
METADATA_LIMIT = 1 << 24  # bytes, of all of it


def read(path: str | Path) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """The initializers of a graph by name, and the metadata of the model.

    The values of a tensor are read from the file when they are asked for.  Texts, numbers of less
    than 8 bits and sparse tensors are left out.

    Raises:
        DamagedFileError: damaged, or larger than a file of weights can be; the same from a tensor
            whose values are not as many as its shape says.
        FileError: a tensor is in another file, or in segments.
    """
    path = Path(path)
    tensors: dict[str, LazyTensor] = {}
    metadata: dict[str, str] = {}
    left, graphs = METADATA_LIMIT, 0
    with reading(path, WHAT), opened(path) as file:
        scanner = Scanner(file)
        for part in scanner.fields(0, file.seek(0, io.SEEK_END)):
            if part.number == METADATA:
                entry = Message(scanner.read(part, left))
                left -= part.size
                metadata[_text(entry, 1)] = _text(entry, 2)
            elif part.number == GRAPH:  # given in several parts, they count as one
                graphs += 1
                for inner in scanner.fields(*part.content()):
                    if inner.number == INITIALIZER:
                        _add(path, tensors, _Initializer.of(scanner, inner))
        if not graphs:
            raise WireError("it has no graph")
    return tensors, metadata


def _text(entry: Message, number: int) -> str:
    content = b"".join(entry.contents(number)[-1:])
    return _decoded(content, "a text of its metadata")


def _decoded(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise WireError(f"{what} is not UTF-8: {shown(content)}") from None


@dataclass
class _Initializer:
    """What a TensorProto says of itself, and where its values are."""

    name: bytes = b""
    type: int = 0
    shape: list[int] = field(default_factory=list)
    values: dict[int, list[Field]] = field(default_factory=dict)  # by the number of their field
    external: bool = False
    segmented: bool = False

    @classmethod
    def of(cls, scanner: Scanner, place: Field) -> _Initializer:
        """What the message in a field says.

        Raises:
            WireError: its bytes are no TensorProto.
        """
        found = cls()
        for part in scanner.fields(*place.content()):
            found._take(scanner, part)
        return found

    def _take(self, scanner: Scanner, part: Field) -> None:
        """Take in what a field says, which is the last word where it may say only one thing."""
        if part.number == NAME:
            self.name = scanner.read(part, NAME_LIMIT)
        elif part.number == DATA_TYPE:
            self.type = part.signed()
        elif part.number == DIMS:
            self.shape += [part.signed()] if part.wire == VARINT else _dims(scanner, part)
            if len(self.shape) > AXES_LIMIT:
                raise WireError("a tensor has more axes than an array can have")
        elif part.number == RAW:
            part.content()
            self.values[RAW] = [part]
        elif part.number in WIRES:
            if part.wire != WIRES[part.number]:  # packed
                part.content()
            self.values.setdefault(part.number, []).append(part)
        elif part.number == SEGMENT:
            self.segmented = True
        elif part.number == EXTERNAL_DATA:
            self.external = True
        elif part.number == DATA_LOCATION:
            self.external |= part.signed() == EXTERNAL


def _dims(scanner: Scanner, part: Field) -> list[int]:
    """The sizes in a packed field, of 64 bits with a sign."""
    content = scanner.read(part, AXES_LIMIT * VARINT_BYTES)
    sizes, at = [], 0
    while at < len(content):
        value, at = varint(content, at)
        sizes.append(value - (1 << 64) if value >> 63 else value)
    return sizes


def _add(path: Path, tensors: dict[str, LazyTensor], found: _Initializer) -> None:
    """Put a tensor to the others, once what it says is found to be possible.

    Raises:
        FileError: its values are not in the file, or in segments.
        WireError: its name, its type, its shape or its size cannot be.
    """
    key, name = _decoded(found.name, "the name of a tensor"), shown(found.name)
    if found.external:
        raise FileError(
            path,
            f"{name} is kept in another file, which is not followed; save the model in one file",
        )
    if found.segmented:
        raise FileError(path, f"{name} is kept in segments; save it in one piece")
    if found.type in LEFT_OUT:
        return
    if found.type not in TYPES:
        raise WireError(f"{name} has the type {found.type}, which does not exist")
    if key in tensors:
        raise WireError(f"two of its tensors have the name {name}")
    if len(tensors) == TENSORS_LIMIT:
        raise WireError(f"it has more than {TENSORS_LIMIT} tensors")
    dtype, number = TYPES[found.type]
    if RAW in found.values:
        number = RAW
    parts = found.values.get(number, [])
    _check_size(name, found.shape, dtype, number, sum(part.size for part in parts))
    shape = tuple(found.shape)
    load = partial(_load, path, name, shape, dtype, number in VARINTS, parts)
    tensors[key] = LazyTensor(key, shape, dtype, load)


def _check_size(name: str, shape: list[int], dtype: np.dtype[Any], number: int, size: int) -> None:
    """Hold what a shape takes against the bytes that there are.

    A varint has 1 to 10 bytes, so that how many of them there are is known once they are read.
    """
    if min(shape, default=0) < 0:
        raise WireError(f"{name} has an axis of {min(shape)} places")
    if math.prod(max(axis, 1) for axis in shape) * dtype.itemsize >= BYTES_LIMIT:
        raise WireError(f"{name} has more values than can be counted")
    count = math.prod(shape)
    if number in VARINTS:
        fits = count <= size <= count * VARINT_BYTES
    else:
        fits = size == count * dtype.itemsize
    if not fits:
        raise WireError(f"{name} has {size} bytes, which are not those of {count} values")


def _load(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    varints: bool,
    parts: list[Field],
) -> NDArray[Any]:
    """The values of a tensor, an array of its own, of a shape and type that fit its parts.

    Raises:
        DamagedFileError: the file is gone or was cut, or its varints are not as many as the shape
            says.
    """
    content = np.empty(sum(part.size for part in parts), np.uint8)
    at = 0
    with reading(path, WHAT):
        with opened(path) as file:
            for part in parts:
                file.seek(part.start)
                if file.readinto(content[at : at + part.size].data) != part.size:
                    raise WireError(f"it ends before {name}")
                at += part.size
        if varints:
            # Narrower types are the lower bits of a number, floats of 8 and 16 bits among them.
            unsigned = np.dtype(f"u{dtype.itemsize}")
            content = unpacked(content, math.prod(shape), unsigned)
    return content.view(dtype).reshape(shape)
