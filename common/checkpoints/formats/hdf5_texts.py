"""Texts of variable length beside the groups of an HDF5 file, read without the HDF5 library.

Keras keeps the names of layers so.  In a damaged file the library takes up to 4 GiB for one name,
or goes round in circles.  The numbers are those of the HDF5 File Format Specification (III.E, IV.A
and IV.A.2.m), for addresses of 8 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

ATTRIBUTE, CONTINUATION = 0x0C, 0x10  # kinds of messages in the header of an object
OLD_HEADER = struct.Struct("<BxHII4x")  # version, messages, references, size
OLD_MESSAGE = struct.Struct("<HHB3x")  # kind, size, flags
NEW_MESSAGE = struct.Struct("<BHB")
NEW_HEADER, NEW_CONTINUATION = b"OHDR\x02", b"OCHK"
CHECKSUM = 4  # bytes at the end of each part of a new header
PLACE = struct.Struct("<IQI")  # bytes of a text, the heap that it is in, its number there
HEAP, HEAP_SIGNATURE = struct.Struct("<8sQ"), b"GCOL\x01\0\0\0"  # signature, size
OBJECT = struct.Struct("<HH4xQ")  # number, references, size

BLOCKS_LIMIT = 64  # parts of a header
BLOCK_LIMIT = 2**20  # bytes of one
TEXT_LIMIT = 2**16  # bytes


def text_beside(file: BinaryIO, address: int, name: str, limit: int = TEXT_LIMIT) -> str | None:
    """The text of an attribute of the object at an address, or None if it has no such attribute.

    It is of at most `limit` bytes, and of no more than a block.

    Raises:
        ValueError: the bytes are not what they should be.
    """
    for message in _attributes(file, address):
        found, value = _attribute(message)
        if found == name.encode():
            length, heap, number = PLACE.unpack(value[: PLACE.size].ljust(PLACE.size, b"\0"))
            return _in_heap(file, heap, number, length, limit).rstrip(b"\0").decode()
    return None


def _at(file: BinaryIO, start: int, size: int) -> bytes:
    if not 0 <= size <= BLOCK_LIMIT or start >= 2**63:
        raise ValueError(f"{size} bytes at {start} are not plausible")
    file.seek(start)
    content = file.read(size)
    if len(content) < size:
        raise ValueError("it ends early")
    return content


def _attributes(file: BinaryIO, start: int) -> Iterator[bytes]:
    """The messages in the header of an object that say what an attribute is."""
    new = _at(file, start, len(NEW_HEADER)) == NEW_HEADER
    if new:
        flags = _at(file, start, 6)[5]
        place = start + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)  # of the size
        size = int.from_bytes(_at(file, place, width), "little")
        blocks = [(place + width, size)]
        message, skipped = NEW_MESSAGE, 2 if flags & 4 else 0
    else:
        version, _, _, size = OLD_HEADER.unpack(_at(file, start, OLD_HEADER.size))
        if version != 1:
            raise ValueError(f"an object of the version {version}")
        blocks = [(start + OLD_HEADER.size, size)]
        message, skipped = OLD_MESSAGE, 0
    for block in blocks:  # which are found as we go
        content, at = _at(file, *block), 0
        while at + message.size + skipped <= len(content):
            kind, size, _ = message.unpack_from(content, at)
            at += message.size + skipped
            if kind == CONTINUATION:
                blocks.append(_continuation(file, content[at : at + 16], new))
            elif kind == ATTRIBUTE:
                yield content[at : at + size]
            at += size
        if len(blocks) > BLOCKS_LIMIT:
            raise ValueError("an object has too many parts")


def _continuation(file: BinaryIO, place: bytes, new: bool) -> tuple[int, int]:
    """Where another part of a header begins, and how long it is."""
    start, size = struct.unpack("<QQ", place.ljust(16, b"\0"))
    if not new:
        return start, size
    signature = _at(file, start, len(NEW_CONTINUATION))
    return start + len(signature), size - len(signature) - CHECKSUM


def _attribute(message: bytes) -> tuple[bytes, bytes]:
    """Name and value; the sizes before them are of the name, of its type and of its shape."""
    if len(message) < 9:
        raise ValueError("an attribute ends early")
    version, *sizes = struct.unpack_from("<BxHHH", message)
    padded = [-(-size // 8) * 8 if version == 1 else size for size in sizes]
    start = 9 if version == 3 else 8
    name = message[start : start + sizes[0]].rstrip(b"\0")
    return name, message[start + sum(padded) :]


def _in_heap(file: BinaryIO, start: int, number: int, length: int, limit: int) -> bytes:
    """The first bytes of an object in a heap."""
    if not length:
        return b""
    signature, size = HEAP.unpack(_at(file, start, HEAP.size))
    if signature != HEAP_SIGNATURE:
        raise ValueError("a text is not where it should be")
    at, end = start + HEAP.size, start + size
    while at + OBJECT.size <= end:
        index, _, content = OBJECT.unpack(_at(file, at, OBJECT.size))
        at += OBJECT.size
        if not index or content > end - at:  # 0 is the free space behind all objects
            break
        if index == number and length <= min(content, limit):
            return _at(file, at, length)
        at += (content + 7) // 8 * 8
    raise ValueError("a text is not in its heap")
