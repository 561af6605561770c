"""How every reader refuses: in one line, and in no more room than the file deserves."""

import tracemalloc

import pytest

from efficientnet_rosetta.common.errors import RosettaError


def refused(read, path, room, match=None):
    """The error that reading a file ends in, which takes less than `room` bytes of memory."""
    tracemalloc.start()
    try:
        with pytest.raises(RosettaError, match=match) as caught:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert peak < room
    return caught.value
