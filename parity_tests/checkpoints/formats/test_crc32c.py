"""The checksum is that of the standard, and folding is the same as a byte at a time."""

import numpy as np
import pytest

from efficientnet_rosetta.common._util import crc32c as checksums
from efficientnet_rosetta.common._util.crc32c import crc32c

READ_COMMAND = bytes.fromhex(  # RFC 3720, B.4, as are the four before it
    "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
    "0200000000000000"
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (READ_COMMAND, 0xD9963A56),
    ],
)
def test_checksums_are_those_of_the_standard(data, expected):
    assert crc32c(data) == expected


def test_the_multiple_is_one_of_the_polynomial():
    """Dividing it, bit by bit, leaves nothing; P is written here with its highest power first."""
    divisor = 1 << 32 | int(f"{checksums.POLYNOMIAL:032b}"[::-1], 2)
    assert divisor == 0x11EDC6F41
    rest = sum(1 << exponent for exponent in checksums.EXPONENTS)
    while rest.bit_length() > 32:
        rest ^= divisor << rest.bit_length() - 33
    assert rest == 0


@pytest.mark.parametrize("size", [289, 290, 291, 444, 580, 1000, 4097, 100_003])
def test_folding_is_the_same_as_a_byte_at_a_time(size):
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == checksums._by_table(0xFFFFFFFF, data) ^ 0xFFFFFFFF


def test_a_checksum_goes_on(monkeypatch):
    data = np.random.default_rng(0).bytes(10_000)
    assert crc32c(data[700:], crc32c(data[:700])) == crc32c(data)
    whole = crc32c(data)
    monkeypatch.setattr(checksums, "PIECE", 999)
    assert crc32c(data) == whole
