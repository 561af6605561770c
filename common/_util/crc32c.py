"""CRC-32C, the checksum of TensorFlow's checkpoints, at the speed of NumPy's XOR.

A checksum is the remainder of a polynomial division over GF(2).  The message is the dividend: its
first byte holds the highest powers of x, and the divisor is Castagnoli's polynomial P (RFC 3720,
appendix B.4), whose coefficients, lowest power in the highest bit, are `POLYNOMIAL`.

The usual table of 256 remainders takes one byte at a time, which in Python is 10 MB a second.  What
follows needs whole arrays and XOR only.  This polynomial is a multiple of P:

    Q(x) = x^290 + x^136 + x^113 + x^107 + x^32 + 1

Over GF(2), Q(x)^n = Q(x^n) whenever n is a power of two, so that Q(x^n) is a multiple of P as well:
a term that stands 290 n powers too high may be moved down to the five places 154 n, 177 n, 183 n,
258 n and 290 n powers below it, and the remainder stays.  With n = 8 u these distances are 154 u
to 290 u bytes, so that a block of bytes at the front of a message is XORed, as it is, into five
blocks further on, and then forgotten.  A block may be 154 u bytes long without reaching itself.
Large u go first, for few and long blocks; u = 1 leaves the last 290 bytes to the table.

Q was found by comparing all sums of two terms with all sums of four; a test divides it by P.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78
EXPONENTS = (290, 136, 113, 107, 32, 0)
DISTANCES = tuple(EXPONENTS[0] - exponent for exponent in EXPONENTS[1:])
UNITS = tuple(1 << power for power in range(11, -1, -1))  # the u above, in bytes
PIECE = 1 << 21  # bytes that are copied and folded at a time: they stay in the cache

MASK_DELTA = 0xA282EAD8  # LevelDB's, as is the rotation by 15 bits


def crc32c(data: bytes | NDArray[np.uint8], crc: int = 0) -> int:
    """The checksum of `data`, or of what has the checksum `crc` with `data` behind it."""
    content = np.frombuffer(data, np.uint8)
    state = crc ^ 0xFFFFFFFF
    for start in range(0, len(content), PIECE):
        state = _advance(state, content[start : start + PIECE])
    return state ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """The form in which checksums are stored: a file that holds them may be checked itself."""
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    """The state after each byte alone."""
    values = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        values.append(value)
    return tuple(values)


TABLE = _table()


def _advance(state: int, piece: NDArray[np.uint8]) -> int:
    """The state of the division behind `piece`."""
    if len(piece) <= EXPONENTS[0]:
        return _by_table(state, piece.tolist())
    # A state before a message is the same as that state XORed into its first four bytes.
    rest = piece.copy()
    rest[:4] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)
    return _by_table(0, _folded(rest).tolist())


def _folded(rest: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At most 290 bytes with the remainder of `rest`, whose bytes are changed."""
    for unit in UNITS:
        while (excess := len(rest) - EXPONENTS[0] * unit) > 0:
            count = min(excess, DISTANCES[0] * unit)
            block = rest[:count]
            for distance in DISTANCES:
                rest[distance * unit : distance * unit + count] ^= block
            rest = rest[count:]
    return rest


def _by_table(state: int, piece: Iterable[int]) -> int:
    for byte in piece:
        state = TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    return state
