"""Messages of Protocol Buffers as far as an index of tensors needs them: a dozen fields, by number.

A message is a sequence of fields, and a field is a varint that holds its number and its wire type,
followed by its value (protobuf.dev, "Encoding").  A varint holds seven bits a byte, the lowest
first, and the highest bit of a byte says that another one follows.
"""

from __future__ import annotations

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4, groups, are in no file
VARINT_BYTES = 10  # enough for 64 bits


class BundleError(ValueError):
    """What the bytes of a checkpoint say cannot be so, or is not supported.

    The message becomes a line for a person once the name of a file is put before it.
    """

    def __init__(self, reason: str, advice: str = "copy or download the checkpoint again") -> None:
        super().__init__(f"{reason}; {advice}")


def damaged(reason: str) -> BundleError:
    """The error for an index whose bytes make no sense."""
    return BundleError(f"its index is damaged ({reason})")


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, of 64 bits without a sign, and where it ends.

    Raises:
        BundleError: it does not end, or has more than 64 bits.
    """
    value = 0
    for count, byte in enumerate(data[at : at + VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + count + 1
    raise damaged("a number in it does not end")


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
            BundleError: its bytes are no message.
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
            raise damaged(f"a field has the wire type {wire}")
        if end > len(data):
            raise damaged("a field is longer than what holds it")
        return end

    def has(self, field: int) -> bool:
        """Whether a number was given, even if it is 0."""
        return field in self._numbers

    def number(self, field: int) -> int:
        """A number of 64 bits with a sign, the last one given; 0 where there is none.

        Raises:
            BundleError: the field holds no number.
        """
        if field in self._contents:
            raise damaged(f"field {field} of a message is no number")
        value = self._numbers.get(field, 0)
        return value - (1 << 64) if value >> 63 else value

    def contents(self, field: int) -> list[bytes]:
        """All contents that were given for a field, in their order.

        Raises:
            BundleError: the field holds a number.
        """
        if field in self._numbers:
            raise damaged(f"field {field} of a message is a number")
        return self._contents.get(field, [])

    def message(self, field: int) -> Message:
        """One message; given in several parts, they count as one, as the format has it."""
        return Message(b"".join(self.contents(field)))
