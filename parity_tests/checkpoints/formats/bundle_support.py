"""What the tests of TensorFlow's checkpoints share: tensors, and checkpoints that are forged."""

import math
import os

import numpy as np
import pytest

from efficientnet_rosetta.common._util.crc32c import crc32c, masked
from efficientnet_rosetta.common.checkpoints.formats import protobuf_wire as wire
from efficientnet_rosetta.common.checkpoints.formats import sstable, tensor_bundle
from efficientnet_rosetta.common.checkpoints.formats.lazy import LazyTensor
from efficientnet_rosetta.common.errors import RosettaError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")


def filled(dtype, shape, seed=0):
    random = np.random.default_rng(seed)
    return np.asarray(random.integers(0, 100, shape)).astype(dtype)


def lazy(arrays):
    return {name: LazyTensor.of(name, array) for name, array in arrays.items()}


def save(prefix, arrays, slices=None):
    """What TensorFlow writes; `slices` are the texts of `shape_and_slices`."""
    names = list(arrays)
    tensors = [tf.constant(arrays[name]) for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=slices or [""] * len(names),
        tensors=tensors,
    )


def assert_same(tensors, arrays):
    assert set(tensors) == set(arrays)
    for name, array in arrays.items():
        stored, values = tensors[name], tensors[name].read()
        assert (stored.key, stored.shape, stored.dtype) == (name, array.shape, array.dtype)
        assert (values.shape, values.dtype) == (array.shape, array.dtype)
        assert values.tobytes() == array.tobytes()


def line(prefix, call):
    """The one line that a call ends in."""
    with pytest.raises(RosettaError) as error:
        call()
    message = str(error.value)
    assert message.startswith(f"{prefix}: ")
    assert "\n" not in message
    assert len(message) < len(str(prefix)) + 300
    return message


def read_all(prefix):
    for tensor in tensor_bundle.read(prefix).values():
        tensor.read()


def reported(prefix):
    """Whether reading everything ended in one line, and not in any other way."""
    try:
        read_all(prefix)
    except RosettaError as error:
        message = str(error)
    else:
        return False
    assert message.startswith(f"{prefix}: ")
    assert "\n" not in message
    return True


def sound(prefix):
    arrays = {f"layer_{number}/kernel": filled("f4", (3, 2), number) for number in range(40)}
    save(prefix, arrays)
    return prefix.with_name(f"{prefix.name}.index"), prefix.with_name(
        f"{prefix.name}.data-00000-of-00001"
    )


def number(field, value):
    """A number that may be negative, as protobuf has it."""
    return wire.number_field(field, value % 2**64)


def shape_of(*sizes):
    return wire.message_field(2, b"".join(wire.message_field(2, number(1, s)) for s in sizes))


def entry(shape=(2, 3), dtype=1, shard=0, offset=0, size=None, slices=b"", checksum=None):
    size = math.prod(shape) * 4 if size is None else size
    checksum = masked(crc32c(bytes(24))) if checksum is None else checksum
    return (
        number(1, dtype)
        + shape_of(*shape)
        + number(3, shard)
        + number(4, offset)
        + number(5, size)
        + wire.fixed32_field(6, checksum)
        + slices
    )


def part(*spans):
    """A part of a tensor: for each axis its start and its length, or neither."""
    extents = (
        b"".join(
            wire.encoded_varint(field << 3) + wire.encoded_varint(value % 2**64)
            for field, value in enumerate(span, 1)
        )
        for span in spans
    )
    return wire.message_field(7, b"".join(wire.message_field(1, extent) for extent in extents))


HEADER = number(1, 1) + wire.message_field(3, number(1, 1))


def forge(prefix, rows, header=HEADER, data=bytes(24)):
    """A checkpoint with checksums that fit, whatever its entries say."""
    table = sstable.write_table([(b"", header), *sorted(rows.items())])
    (prefix.parent / f"{prefix.name}.index").write_bytes(table)
    (prefix.parent / f"{prefix.name}.data-00000-of-00001").write_bytes(data)
