"""FlatBuffers as far as TensorFlow Lite's files need them: tables, vectors and numbers, by place.

A table says by another one, its vtable, where its fields are, and a field is a number, or the
distance to a table, a vector or a text.  Nothing in it has to be in order, and a file may point
anywhere: every place is held against the size of the file, and there is an end to reading.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

READS_LIMIT = 1 << 21  # numbers that are read of one file; B7's has some 100,000
TEXT_LIMIT = 1 << 14  # bytes

U8, U16, I32, U32, U64 = (struct.Struct(f"<{kind}") for kind in "BHiIQ")


class FlatError(ValueError):
    """Bytes are not the buffer that they should be; the text, a phrase, says in what way."""


class Buffer:
    """A file of `size` bytes, out of which numbers are read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.left = file, size, READS_LIMIT

    def number(self, at: int, kind: struct.Struct) -> int:
        """The number at a place.

        Raises:
            FlatError: the place is outside the file, or too many were read.
        """
        return int(kind.unpack(self.content(at, kind.size))[0])

    def content(self, at: int, count: int) -> bytes:
        """The bytes from a place on.

        Raises:
            FlatError: the place is outside the file, or too much was read.
        """
        self.left -= 1
        if self.left < 0:
            raise FlatError("it points at its own parts too often")
        if not 0 <= at <= at + count <= self.size:
            raise FlatError("it points outside itself")
        self.file.seek(at)
        found = self.file.read(count)
        if len(found) < count:
            raise FlatError("it ends early")
        return found

    def root(self) -> Table:
        """The table that everything is below."""
        return self.table(self.number(0, U32))

    def table(self, at: int) -> Table:
        """The table at a place."""
        vtable = at - self.number(at, I32)
        return Table(self, at, vtable, self.number(vtable, U16))


@dataclass(frozen=True)
class Table:
    """A table; its fields go by their numbers, from 0."""

    buffer: Buffer
    at: int
    vtable: int
    size: int  # of the vtable, in bytes

    def _place(self, field: int) -> int:
        """Where a field is, or 0 where it has its default."""
        at = 4 + 2 * field
        if at + 2 > self.size:
            return 0
        offset = self.buffer.number(self.vtable + at, U16)
        return self.at + offset if offset else 0

    def number(self, field: int, kind: struct.Struct, default: int = 0) -> int:
        """A number."""
        place = self._place(field)
        return self.buffer.number(place, kind) if place else default

    def _pointed(self, field: int) -> int:
        place = self._place(field)
        return place + self.buffer.number(place, U32) if place else 0

    def table(self, field: int) -> Table | None:
        """The table that a field points to, if it points to one."""
        place = self._pointed(field)
        return self.buffer.table(place) if place else None

    def extent(self, field: int, itemsize: int) -> tuple[int, int]:
        """Where the items of a vector begin, and how many they are.

        Raises:
            FlatError: they are more than the file has room for.
        """
        place = self._pointed(field)
        if not place:
            return 0, 0
        count = self.buffer.number(place, U32)
        if place + 4 + count * itemsize > self.buffer.size:
            raise FlatError("a list is longer than the file")
        return place + 4, count

    def numbers(self, field: int) -> tuple[int, ...]:
        """A vector of whole numbers of 32 bits with a sign."""
        start, count = self.extent(field, 4)
        if count * 4 > TEXT_LIMIT:
            raise FlatError("a list of numbers is too long")
        return struct.unpack(f"<{count}i", self.buffer.content(start, 4 * count))

    def tables(self, field: int) -> Iterator[Table]:
        """A vector of tables."""
        start, count = self.extent(field, 4)
        for place in range(start, start + 4 * count, 4):
            yield self.buffer.table(place + self.buffer.number(place, U32))

    def text(self, field: int) -> str:
        """A text, of which what is no UTF-8 is shown by its bytes."""
        start, count = self.extent(field, 1)
        if count > TEXT_LIMIT:
            raise FlatError("a text is too long")
        return self.buffer.content(start, count).decode(errors="backslashreplace")
