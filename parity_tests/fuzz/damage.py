"""Ways in which a file breaks, or is broken on purpose.  All are pure functions of their random."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

Random = np.random.Generator
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
NUMBERS = (b"0", b"-1", b"1e400", b"NaN", b"4294967295", b"9" * 25, b"1" * 400, b"[" * 3000, b"{}")
PLACES = 4096  # bytes from either end, where headers and directories are


def _place(content: bytes, random: Random) -> int:
    """Near an end, or anywhere."""
    if not content:
        return 0
    near = min(PLACES, len(content))
    return int(
        (
            random.integers(near),
            len(content) - 1 - random.integers(near),
            random.integers(len(content)),
        )[random.integers(3)]
    )


def flip(content: bytes, random: Random) -> bytes:
    """A few bits are others."""
    found = bytearray(content)
    for _ in range(random.integers(1, 9) if content else 0):
        found[_place(content, random)] ^= 1 << random.integers(8)
    return bytes(found)


def cut(content: bytes, random: Random) -> bytes:
    """The end is missing, or the beginning."""
    at = _place(content, random)
    return content[:at] if random.integers(4) else content[at:]


def splice(content: bytes, random: Random) -> bytes:
    """A piece is missing, twice there, zeros, or that of another place."""
    start, size = _place(content, random), int(2 ** random.integers(1, 15))
    piece, other = content[start : start + size], _place(content, random)
    fill = (b"", piece * 2, bytes(len(piece)), content[other : other + size])[random.integers(4)]
    return content[:start] + fill + content[start + size :]


def extreme(content: bytes, random: Random) -> bytes:
    """A number of 1 to 8 bytes is as small or as large as it can be."""
    size = int(2 ** random.integers(4))
    start = _place(content, random)
    number = int(random.choice(np.array(EXTREMES, np.uint64))) % 2 ** (8 * size)
    order = "little" if random.integers(4) else "big"
    return content[:start] + number.to_bytes(size, order) + content[start + size :]


def number(content: bytes, random: Random) -> bytes:
    """A number in a text, such as a header, is one that no program expects."""
    found = list(re.finditer(rb"\d+", content[:PLACES] if random.integers(2) else content[: 2**20]))
    if not found:
        return extreme(content, random)
    chosen = found[random.integers(len(found))]
    new = NUMBERS[random.integers(len(NUMBERS))]
    return content[: chosen.start()] + new + content[chosen.end() :]


def noise(content: bytes, random: Random) -> bytes:
    """Nothing is left but the first bytes."""
    return content[: random.integers(64)] + random.bytes(random.integers(1, 4096))


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(flip, flip, cut, splice, extreme, extreme, number),
    noise,
)


def damaged(content: bytes, random: Random) -> bytes:
    """One of them."""
    return DAMAGES[random.integers(len(DAMAGES))](content, random)


def behind_checksums(
    pieces: list[tuple[bytes, bytes]], random: Random
) -> list[tuple[bytes, bytes]]:
    """Damage to one piece, or to which there are; whoever joins them makes new checksums."""
    found, at = list(pieces), int(random.integers(len(pieces)))
    name, content = found[at]
    way = random.integers(8)
    if way == 0:
        del found[at]
    elif way == 1:
        found[at] = (damaged(name, random), content)
    elif way == 2:
        found[at] = (name, found[int(random.integers(len(found)))][1])
    else:
        # The first pieces say what the others are: a pickle, a list of names, a header.
        at = at if random.integers(2) else 0
        name, content = found[at]
        found[at] = (name, damaged(content, random))
    return found
