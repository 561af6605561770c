"""Messages of Protocol Buffers as far as checkpoints need them: some dozen fields, by number.

A message is a sequence of fields, and a field is a varint that holds its number and its wire type,
followed by its value (protobuf.dev, "Encoding").  A varint holds seven bits a byte, the lowest
first, and the highest bit of a byte says that another one follows.

A `Message` is taken apart in memory; a `Scanner` goes over one that stays in its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4, groups, are in no file
VARINT_BYTES = 10  # enough for 64 bits
FIELD_LIMIT = 1 << 20  # fields that are looked at in one file; B7 as an ONNX graph has some 8,000
PIECE = 1 << 18  # bytes of packed varints that are decoded at once


class WireError(ValueError):
    """Bytes are not the message that they should be; the text, a phrase, says in what way."""


def shown(name: bytes) -> str:
    """A name for a message: one short line, whatever it holds."""
    text = name[:100].decode(errors="backslashreplace")
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, of 64 bits without a sign, and where it ends.

    Raises:
        WireError: it does not end, or has more than 64 bits.
    """
    value = 0
    for count, byte in enumerate(data[at : at + VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + count + 1
    raise WireError("a number in it does not end")


def encoded_varint(value: int) -> bytes:
    """A number from 0 to 2^64 - 1 as a varint."""
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    content.append(value)
    return bytes(content)


def number_field(field: int, value: int) -> bytes:
    """A field with a number that is not negative; nothing for 0, which is what absence means."""
    return encoded_varint(field << 3 | VARINT) + encoded_varint(value) if value else b""


def fixed32_field(field: int, value: int) -> bytes:
    """A field with a number of 32 bits in four bytes; nothing for 0."""
    return encoded_varint(field << 3 | FIXED32) + value.to_bytes(4, "little") if value else b""


def message_field(field: int, content: bytes) -> bytes:
    """A field with a message, which is there even when it is empty."""
    return encoded_varint(field << 3 | BYTES) + encoded_varint(len(content)) + content


class Message:
    """The fields of one message; what is inside a field is looked at when it is asked for."""

    def __init__(self, data: bytes) -> None:
        """Take a message apart.

        Raises:
            WireError: its bytes are no message.
        """
        self._numbers: dict[int, int] = {}
        self._contents: dict[int, list[bytes]] = {}
        at = 0
        while at < len(data):
            tag, at = varint(data, at)
            at = self._take(data, at, tag >> 3, tag & 7)

    def _take(self, data: bytes, at: int, field: int, wire: int) -> int:
        """Keep the value of a field that begins at `at`, and say where it ends."""
        if wire == VARINT:
            self._numbers[field], end = varint(data, at)
        elif wire == BYTES:
            size, at = varint(data, at)
            end = at + size
            self._contents.setdefault(field, []).append(data[at:end])
        elif wire in (FIXED32, FIXED64):
            end = at + (4 if wire == FIXED32 else 8)
            self._numbers[field] = int.from_bytes(data[at:end], "little")
        else:
            raise WireError(f"a field has the wire type {wire}")
        if end > len(data):
            raise WireError("a field is longer than what holds it")
        return end

    def has(self, field: int) -> bool:
        """Whether a number was given, even if it is 0."""
        return field in self._numbers

    def number(self, field: int) -> int:
        """A number of 64 bits with a sign, the last one given; 0 where there is none.

        Raises:
            WireError: the field holds no number.
        """
        if field in self._contents:
            raise WireError(f"field {field} of a message is no number")
        value = self._numbers.get(field, 0)
        return value - (1 << 64) if value >> 63 else value

    def contents(self, field: int) -> list[bytes]:
        """All contents that were given for a field, in their order.

        Raises:
            WireError: the field holds a number.
        """
        if field in self._numbers:
            raise WireError(f"field {field} of a message is a number")
        return self._contents.get(field, [])

    def message(self, field: int) -> Message:
        """One message; given in several parts, they count as one, as the format has it."""
        return Message(b"".join(self.contents(field)))


class Field(NamedTuple):
    """A field of a message in a file: the bytes from `start` to `end` are its value."""

    number: int
    wire: int
    start: int
    end: int
    value: int  # without a sign, where it is a varint; 0 elsewhere

    @property
    def size(self) -> int:
        """The bytes of the value."""
        return self.end - self.start

    def signed(self) -> int:
        """A number of 64 bits with a sign.

        Raises:
            WireError: the field holds no varint.
        """
        if self.wire != VARINT:
            raise WireError(f"field {self.number} of a message is no number")
        return self.value - (1 << 64) if self.value >> 63 else self.value

    def content(self) -> tuple[int, int]:
        """Where the bytes of a field of bytes begin and end.

        Raises:
            WireError: the field holds a number.
        """
        if self.wire != BYTES:
            raise WireError(f"field {self.number} of a message is a number")
        return self.start, self.end


class Scanner:
    """Goes over the fields of messages in a file, whose values are not read, but passed over."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = FIELD_LIMIT

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message from `start` to `end`, none of which is longer than it.

        Raises:
            WireError: the bytes are no message, or the file has too many fields.
        """
        while start < end:
            self._left -= 1
            if self._left < 0:
                raise WireError(f"it has more than {FIELD_LIMIT} fields")
            found = self._field(start)
            if found.end > end:
                raise WireError("a field is longer than what holds it")
            yield found
            start = found.end

    def _field(self, at: int) -> Field:
        self._file.seek(at)
        head = self._file.read(2 * VARINT_BYTES)
        tag, place = varint(head, 0)
        number, wire = tag >> 3, tag & 7
        if number == 0 or wire not in (VARINT, BYTES, FIXED32, FIXED64):
            raise WireError(f"a field has the number {number} and the wire type {wire}")
        if wire == VARINT:
            value, end = varint(head, place)
            return Field(number, wire, at + place, at + end, value)
        if wire == BYTES:
            size, place = varint(head, place)
        else:
            size = 4 if wire == FIXED32 else 8
        return Field(number, wire, at + place, at + place + size, 0)

    def read(self, field: Field, limit: int) -> bytes:
        """The value of a field of bytes.

        Raises:
            WireError: it holds a number, or more bytes than `limit`.
        """
        field.content()
        if field.size > limit:
            raise WireError(f"field {field.number} of a message has {field.size} bytes")
        return self.bytes_of(field)

    def bytes_of(self, field: Field) -> bytes:
        """The bytes of the value of a field of any kind, however many they are."""
        self._file.seek(field.start)
        return self._file.read(field.size)


def unpacked(content: NDArray[np.uint8], count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The `count` varints that `content` consists of, as unsigned integers of a type.

    What is more than the type holds is cut off, as protobuf has it.

    Raises:
        WireError: there are more or fewer, or one of them does not end.
    """
    values = np.empty(count, dtype)
    filled = at = 0
    while at < len(content):
        piece = content[at : at + PIECE]
        ends = np.flatnonzero(piece < 0x80) + 1
        starts = np.concatenate(([0], ends[:-1]))
        lengths = ends - starts
        if not len(ends) or lengths.max() > VARINT_BYTES:
            raise WireError("a number in it does not end")
        if filled + len(ends) > count:
            raise WireError("there are more numbers than there should be")
        numbers = np.zeros(len(ends), np.uint64)
        for place in range(lengths.max()):
            has = lengths > place
            bits = (piece[starts[has] + place] & 0x7F).astype(np.uint64)
            numbers[has] |= bits << np.uint64(7 * place)
        values[filled : filled + len(ends)] = numbers.astype(dtype)
        filled += len(ends)
        at += int(ends[-1])
    if filled != count:
        raise WireError("there are fewer numbers than there should be")
    return values
