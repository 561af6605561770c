"""Sorted tables of keys and values, as LevelDB and the indices of TensorFlow's checkpoints are.

What is called a table here is described in LevelDB's doc/table_format.md: blocks, one of which
says where those with the values are, and a footer that says where that one is.  Every block is
followed by a byte for its compression and by the masked CRC-32C of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..._util.crc32c import crc32c, masked
from .protobuf_wire import encoded_varint, varint

MAGIC = 0xDB4775248B80FB57
FOOTER = 48  # bytes: two handles of two varints each, padded to 40 bytes, then the magic number
TRAILER = 5  # bytes behind a block: compression, checksum
PLAIN = 0  # no compression; 1 is Snappy
RESTART_INTERVAL = 16  # every 16th key of a block is written in full, LevelDB's default
BLOCK_SIZE = 1 << 18  # bytes from which on TensorFlow begins another block

# A key may be given as a short addition to a long one before it, so the size of the file does not
# bound what is to be kept: a table of 4 MiB could hold a terabyte of names.
KEY_LIMIT = 4096  # bytes of a key
ENTRY_LIMIT = 1 << 16  # keys in a table


class BundleError(ValueError):
    """What the bytes of a checkpoint say cannot be so, or is not supported.

    The message becomes a line for a person once the name of a file is put before it.
    """

    def __init__(self, reason: str, advice: str = "copy or download the checkpoint again") -> None:
        super().__init__(f"{reason}; {advice}")


def damaged(reason: object) -> BundleError:
    """The error for an index whose bytes make no sense."""
    return BundleError(f"its index is damaged ({reason})")


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys of a table in their order, each with its value.

    Raises:
        BundleError: damaged, compressed, or too large to be an index of tensors.
        WireError: damaged, where a number is.
    """
    if len(data) < FOOTER or int.from_bytes(data[-8:], "little") != MAGIC:
        raise damaged("it does not end as one does")
    footer = data[-FOOTER:-8]
    offset, size, at = _handle(footer, 0)
    _block(data, offset, size)  # of other tables' properties: empty, but its checksum counts
    offset, size, at = _handle(footer, at)
    if any(footer[at:]):
        raise damaged("it does not end as one does")
    end, count = 0, 0
    last: bytes | None = None
    for _, handle in _entries(_block(data, offset, size)):
        offset, size, _ = _handle(handle, 0)
        if offset < end:  # or one block could be named, and read, a million times
            raise damaged("its blocks overlap")
        end = offset + size + TRAILER
        for key, value in _entries(_block(data, offset, size)):
            if last is not None and key <= last:
                raise damaged("its names are not in order")
            if (count := count + 1) > ENTRY_LIMIT:
                raise damaged(f"it lists more than {ENTRY_LIMIT} tensors")
            last = key
            yield key, value


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the two numbers end."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return offset, size, at


def _block(data: bytes, offset: int, size: int) -> bytes:
    """The content of a block, once its checksum is found to fit."""
    end = offset + size
    if end + TRAILER > len(data) - FOOTER:
        raise damaged("a block of it lies behind its end")
    stored = int.from_bytes(data[end + 1 : end + TRAILER], "little")
    if masked(crc32c(data[offset : end + 1])) != stored:
        raise damaged("a checksum in it does not fit")
    if data[end] != PLAIN:
        raise BundleError(
            "its index is compressed, which TensorFlow's own never is", "save it with TensorFlow"
        )
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block: each key begins with some bytes of the one before it.

    Behind them are the places of the keys that are written in full, four bytes each, and their
    number; who reads a block from its beginning does not need them.
    """
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if len(block) < 4 or end < 0:
        raise damaged("a block of it has no end")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        added, at = varint(block, at)
        length, at = varint(block, at)
        if shared > len(key) or at + added + length > end:
            raise damaged("an entry of it is longer than its block")
        if shared + added > KEY_LIMIT:
            raise damaged(f"it has a name of {shared + added} bytes")
        key = key[:shared] + block[at : at + added]
        at += added + length
        yield key, block[at - length : at]


def write_table(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A table of keys, which must be in their order, and values."""
    content, handles = bytearray(), _Block(1)
    block = _Block(RESTART_INTERVAL)
    for key, value in entries:
        block.add(key, value)
        if len(block.content) >= BLOCK_SIZE:
            handles.add(key, _append(content, block))
            block = _Block(RESTART_INTERVAL)
    if block.content:
        handles.add(block.key, _append(content, block))
    footer = _append(content, _Block(1)) + _append(content, handles)
    return bytes(content) + footer.ljust(FOOTER - 8, b"\0") + MAGIC.to_bytes(8, "little")


def _append(content: bytearray, block: _Block) -> bytes:
    """Add a block to a table; its handle."""
    written = block.finished()
    handle = encoded_varint(len(content)) + encoded_varint(len(written))
    written += bytes([PLAIN])
    content += written + masked(crc32c(written)).to_bytes(4, "little")
    return handle


class _Block:
    """A block that is being written."""

    def __init__(self, interval: int) -> None:
        self.content = bytearray()
        self.key = b""  # the last one
        self._interval = interval
        self._restarts = [0]
        self._count = 0

    def add(self, key: bytes, value: bytes) -> None:
        """Put an entry behind the others."""
        shared = _common(self.key, key)
        if self._count and self._count % self._interval == 0:
            self._restarts.append(len(self.content))
            shared = 0
        for number in (shared, len(key) - shared, len(value)):
            self.content += encoded_varint(number)
        self.content += key[shared:] + value
        self.key = key
        self._count += 1

    def finished(self) -> bytes:
        """The bytes of the block, without its compression and checksum."""
        places = [*self._restarts, len(self._restarts)]
        return bytes(self.content) + b"".join(place.to_bytes(4, "little") for place in places)


def _common(one: bytes, other: bytes) -> int:
    """The number of bytes with which both begin."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
