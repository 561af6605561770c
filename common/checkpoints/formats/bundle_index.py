"""The index of a TensorFlow checkpoint: what it says about its tensors, believed as little as may.

The messages and the numbers of their fields are those of TensorFlow's tensor_bundle.proto,
tensor_shape.proto, tensor_slice.proto, versions.proto and types.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from . import sstable
from .protobuf_wire import Message, fixed32_field, message_field, number_field, shown
from .sstable import BundleError, damaged

HEADER_KEY = b""
VERSION = 1  # of the format: kTensorBundleVersion in tensor_bundle.h
AXES_LIMIT = 64  # NumPy's; TensorFlow has 254
BYTES_LIMIT = 1 << 63  # of a tensor: what a signed number of 64 bits holds

# By their numbers in types.proto.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    8: np.dtype(np.complex64),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    14: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
# Texts (7), quantized integers, handles of resources, variants, and numbers of 8, 4 and 2 bits:
# none of them can be a weight, so they are left out.
LEFT_OUT = frozenset({7, 11, 12, 13, 15, 16, 20, 21, *range(24, 34)})


@dataclass(frozen=True)
class Span:
    """A part of one axis: `length` of its places from `start` on, or all of it where it is None."""

    start: int
    length: int | None

    def within(self, size: int) -> slice:
        """The part of an axis of `size` places.

        Raises:
            BundleError: it is not within it.
        """
        stop = size if self.length is None else self.start + self.length
        whole = self.length is not None or self.start == 0
        if not (whole and 0 <= self.start <= stop <= size):
            raise damaged("a part of a tensor lies outside it")
        return slice(self.start, stop)


@dataclass(frozen=True)
class Entry:
    """One tensor: its bytes are `size` from `offset` on in the file of the number `shard`.

    A tensor that was partitioned has no bytes of its own, but `parts`, each of which, a span for
    every axis, is an entry under a key that `part_key` makes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    shard: int
    offset: int
    size: int
    checksum: int  # masked
    parts: tuple[tuple[Span, ...], ...]


Region = tuple[tuple[slice, ...], bytes]  # of a tensor that was partitioned: where, and the key


@dataclass(frozen=True)
class Index:
    """How many data files there are, and the entries of numbers by their keys."""

    shards: int
    entries: dict[bytes, Entry]


def read_index(data: bytes) -> Index:
    """The index in the bytes of a file.

    Raises:
        BundleError: damaged, big-endian, of a newer format, or with an entry that cannot be.
        WireError: a message in it is damaged.
    """
    rows = sstable.read_table(data)
    key, value = next(rows, (b"-", b""))
    if key != HEADER_KEY:
        raise damaged("it has no header")
    shards = _read_header(Message(value))
    entries, parts = {}, 0
    for key, value in rows:
        entry = _read_entry(key, Message(value), shards)
        if entry is not None:
            entries[key] = entry
            parts += len(entry.parts)
        if parts > sstable.ENTRY_LIMIT:  # each part is an entry as well
            raise damaged(f"{shown(key)} has too many parts")
    return Index(shards, entries)


def _read_header(header: Message) -> int:
    """The number of data files, once the format is found to be the one read here."""
    if header.number(2):  # endianness
        raise BundleError(
            "its numbers are big-endian, which is not read",
            "save it again on a little-endian machine",
        )
    if header.message(3).number(2) > VERSION:  # version, min_consumer
        raise BundleError("it is of a newer format", "save it with TensorFlow 2")
    shards = header.number(1)
    if not 0 < shards < 1 << 31:
        raise damaged(f"it counts {shards} data files")
    return shards


def _read_entry(key: bytes, message: Message, shards: int) -> Entry | None:
    """An entry, or None where it is no tensor of numbers.

    Raises:
        BundleError: its type is unknown, or its shape, its place or its size cannot be.
    """
    number = message.number(1)
    if number in LEFT_OUT:
        return None
    if number not in DTYPES:
        raise damaged(f"{shown(key)} has the type {number}, which does not exist")
    dtype = DTYPES[number]
    shape = _read_shape(key, message.message(2))
    needed = _bytes(key, shape, dtype)
    slices = message.contents(7)
    if len(slices) > sstable.ENTRY_LIMIT:
        raise damaged(f"{shown(key)} has too many parts")
    shard, offset, size = (message.number(field) for field in (3, 4, 5))
    if not slices and size != needed:
        raise damaged(f"{shown(key)} is to have {size} bytes, but its shape takes {needed}")
    if not 0 <= shard < shards or offset < 0:
        raise damaged(f"{shown(key)} lies in data file {shard} of {shards}, at {offset}")
    parts = tuple(_read_part(key, Message(part), len(shape)) for part in slices)
    return Entry(shape, dtype, shard, offset, size, message.number(6), parts)


def _read_shape(key: bytes, message: Message) -> tuple[int, ...]:
    axes = message.contents(2)
    if message.number(3):  # unknown_rank
        raise damaged(f"{shown(key)} has no shape")
    if len(axes) > AXES_LIMIT:
        raise damaged(f"{shown(key)} has {len(axes)} axes, more than an array can have")
    shape = tuple(Message(axis).number(1) for axis in axes)
    if min(shape, default=0) < 0:
        raise damaged(f"{shown(key)} has an axis of {min(shape)} places")
    return shape


def _bytes(key: bytes, shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """What the values of a shape take; axes of no places do not make up for ones too long."""
    if math.prod(size or 1 for size in shape) * dtype.itemsize >= BYTES_LIMIT:
        raise damaged(f"{shown(key)} has more values than can be counted")
    return math.prod(shape) * dtype.itemsize


def _read_part(key: bytes, message: Message, axes: int) -> tuple[Span, ...]:
    """A span for every axis: TensorSliceProto, whose extents have a start and maybe a length."""
    extents = [Message(extent) for extent in message.contents(1)]
    if len(extents) != axes:
        raise damaged(f"{shown(key)} has {axes} axes, but a part of {len(extents)}")
    return tuple(Span(e.number(1), e.number(2) if e.has(2) else None) for e in extents)


def regions(key: bytes, entry: Entry, index: Index) -> list[Region]:
    """The parts of a tensor that was partitioned: where each belongs, and its key.

    Raises:
        BundleError: a part is missing, lies outside the tensor, or has another shape or type than
            it should; or all of them together are more or less than the tensor.
    """
    found: list[Region] = []
    count = 0
    for part in entry.parts:
        region = tuple(span.within(size) for span, size in zip(part, entry.shape, strict=True))
        shape = tuple(place.stop - place.start for place in region)
        inner = part_key(key, part)
        stored = index.entries.get(inner)
        if stored is None:
            raise damaged(f"a part of {shown(key)} is missing")
        if stored.parts or (stored.shape, stored.dtype) != (shape, entry.dtype):
            raise damaged(f"a part of {shown(key)} has another shape or type than it should")
        count += math.prod(shape)
        found.append((region, inner))
    if count != math.prod(entry.shape):
        raise damaged(f"the parts of {shown(key)} are not the whole of it")
    return found


def part_key(key: bytes, part: Sequence[Span]) -> bytes:
    """The key of a part, in the encoding of TensorFlow's saved_tensor_slice_util.cc.

    A zero, which no name begins with; the name; the number of axes; start and length of each, -1
    for a whole axis.
    """
    name = key.replace(b"\0", b"\0\xff")  # so that b"\0\1" ends it; 0xFF is in no UTF-8
    content = b"\0" + name + b"\0\1" + (bytes([1, len(part)]) if part else b"\0")
    for span in part:
        content += _ordered(span.start) + _ordered(-1 if span.length is None else span.length)
    return content


def _ordered(value: int) -> bytes:
    """A number of 64 bits so that the order of the bytes is that of the numbers (OrderedCode).

    n bytes hold 7 n - 1 bits and the sign; the n highest bits, which repeat the sign, are inverted
    to tell n.
    """
    length = (value if value >= 0 else ~value).bit_length() // 7 + 1
    header = (1 << length) - 1 << 7 * length
    return (value % (1 << 8 * length) ^ header).to_bytes(length, "big")


def write_index(entries: Iterable[tuple[bytes, Entry]]) -> bytes:
    """The bytes of an index of one data file; the keys must be in their order."""
    header = number_field(1, 1) + message_field(3, number_field(1, VERSION))
    rows = ((key, _written_entry(entry)) for key, entry in entries)
    return sstable.write_table([(HEADER_KEY, header), *rows])


def _written_entry(entry: Entry) -> bytes:
    axes = (message_field(2, number_field(1, size)) for size in entry.shape)
    return (
        number_field(1, NUMBERS[entry.dtype])
        + message_field(2, b"".join(axes))
        + number_field(4, entry.offset)
        + number_field(5, entry.size)
        + fixed32_field(6, entry.checksum)
    )
