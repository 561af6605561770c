"""An ONNX file that is damaged, or that claims what it has not, ends in one line."""

import math
import os

import numpy as np
import pytest
from onnx import numpy_helper

from efficientnet_rosetta.common.checkpoints.formats import onnx_file
from efficientnet_rosetta.common.checkpoints.formats import protobuf_wire as wire
from efficientnet_rosetta.common.errors import DamagedFileError, FileError
from parity_tests.checkpoints import refusing
from parity_tests.checkpoints.formats.onnx_support import (
    field,
    forged,
    initializer,
    model_of,
    saved,
)


def read_all(path):
    tensors, _ = onnx_file.read(path)
    return {name: tensor.read() for name, tensor in tensors.items()}


def line(path, kind=DamagedFileError):
    """The one line that reading a file ends in, with no more memory than the file deserves."""
    error = refusing.refused(read_all, path, 2**20 + 16 * path.stat().st_size)
    assert type(error) is kind
    assert len(str(error)) < len(str(path)) + 250
    return str(error)


def tensor(*dims, type=1, values=b"", name=b"a"):
    """An initializer of a shape that may have negative sizes, and of values in fields."""
    sizes = [field(1, wire.VARINT, wire.encoded_varint(size % 2**64)) for size in dims]
    return initializer(*sizes, wire.number_field(2, type), values, name=name)


def raw(size):
    return wire.message_field(9, bytes(size))


def too_long(number):
    """A field that claims a terabyte, and ends after a byte."""
    return field(number, wire.BYTES, wire.encoded_varint(2**40) + b"x")


LAST = 2**64 - 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tensor(2, 3, values=raw(20)), "a has 20 bytes, which are not those of 6 values"),
        (tensor(2, 3, values=raw(28)), "a has 28 bytes, which are not those of 6 values"),
        (tensor(2, 3), "a has 0 bytes, which are not those of 6 values"),
        (tensor(2**38), "a has 0 bytes, which are not those of 274877906944 values"),
        (tensor(2**38, values=raw(4)), "a has 4 bytes"),
        (tensor(2**62, 2**62, values=raw(4)), "a has more values than can be counted"),
        (tensor(0, 2**62), "a has more values than can be counted"),
        (tensor(-1, values=raw(4)), "a has an axis of -1 places"),
        (tensor(-2, -2, values=raw(16)), "a has an axis of -2 places"),
        (tensor(*[1] * 65, values=raw(4)), "more axes than an array can have"),
        (initializer(wire.message_field(1, b"\1" * 65)), "more axes than an array can have"),
        (initializer(wire.message_field(1, b"\1" * 641)), "field 1 of a message has 641 bytes"),
        (initializer(wire.message_field(1, b"\x80")), "a number in it does not end"),
        (tensor(1, type=0, values=raw(4)), "a has the type 0, which does not exist"),
        (tensor(1, type=29, values=raw(4)), "a has the type 29, which does not exist"),
        (tensor(1, type=LAST, values=raw(4)), "a has the type -1, which does not exist"),
        (tensor(1, values=wire.message_field(5, b"\1")), "a has 0 bytes"),  # in another's field
        (tensor(2, type=7, values=wire.message_field(7, b"\1")), "a has 1 bytes"),
        (tensor(2, type=7, values=wire.message_field(7, b"\1" * 21)), "a has 21 bytes"),
        (tensor(2, type=7, values=wire.message_field(7, b"\1\2\3")), "more numbers than there"),
        (tensor(2, type=7, values=wire.message_field(7, b"\x80\1")), "fewer numbers than there"),
        (tensor(2, type=7, values=wire.message_field(7, b"\1\x80")), "does not end"),
        (tensor(2, type=7, values=wire.message_field(7, b"\x80" * 10 + b"\0")), "does not end"),
        (tensor(1, values=wire.number_field(4, 5)), "field 4 of a message is a number"),
        (tensor(1, values=field(9, wire.FIXED32, b"1234")), "field 9 of a message is a number"),
        (tensor(1, values=field(5, wire.FIXED32, b"1234")), "field 5 of a message is a number"),
        (initializer(wire.message_field(2, b"")), "field 2 of a message is no number"),
        (initializer(wire.number_field(8, 1)), "field 8 of a message is a number"),
        (initializer(too_long(9)), "a field is longer than what holds it"),
        (initializer(too_long(4)), "a field is longer than what holds it"),
        (too_long(5), "a field is longer than what holds it"),
        (too_long(1), "a field is longer than what holds it"),
        (field(5, wire.BYTES, wire.encoded_varint(LAST)), "a field is longer than what holds it"),
        (field(5, wire.BYTES, b"\xff" * 11), "a number in it does not end"),
        (wire.number_field(5, 1), "field 5 of a message is a number"),
        (b"\0\0", "a field has the number 0 and the wire type 0"),
        (b"\x2b", "a field has the number 5 and the wire type 3"),
        (b"\x0d\0", "a field is longer than what holds it"),
        (b"\x80", "a number in it does not end"),
        (tensor(0) * 2, "two of its tensors have the name a"),
        (tensor(0, name=b"\xffa\n"), r"the name of a tensor is not UTF-8: \xffa\n"),
        (tensor(1, name=b"\x1b[31m\n"), r"\x1b[31m\n has 0 bytes"),
        (tensor(1, name=b"x" * 4096), "x has 0 bytes"),
        (tensor(1, name=b"x" * 4097), "field 8 of a message has 4097 bytes"),
    ],
)
def test_graphs_that_cannot_be_are_refused(content, reason, tmp_path):
    message = line(forged(tmp_path / "x.onnx", content))
    assert "cannot be read as ONNX (" in message
    assert reason in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has no graph"),
        (b"\x08\x08", "it has no graph"),
        (wire.number_field(7, 1), "field 7 of a message is a number"),
        (too_long(7), "a field is longer than what holds it"),
        (too_long(14), "a field is longer than what holds it"),
        (wire.number_field(14, 1), "field 14 of a message is a number"),
        (wire.message_field(14, wire.message_field(1, b"\xff")), "metadata is not UTF-8"),
        (wire.message_field(14, wire.message_field(2, b"\xff\n")), r"not UTF-8: \xff\n"),
        (wire.message_field(14, wire.number_field(1, 1)), "field 1 of a message is a number"),
        (wire.message_field(14, b"\x0a\x7f"), "a field is longer than what holds it"),
    ],
)
def test_models_that_cannot_be_are_refused(content, reason, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    assert reason in line(path)


def external(path, **entries):
    """A file whose only tensor, of three doubles, is said to be elsewhere."""
    model = model_of(numpy_helper.from_array(np.arange(3.0), "a\n\x1b"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return saved(path, model)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, r"a\n\x1b is in '', which is not a file beside the model"),
        ({"location": "/etc/passwd"}, "which is not a file beside the model"),
        ({"location": "../x.data"}, "which is not a file beside the model"),
        ({"location": "y/../../x.data"}, "which is not a file beside the model"),
        ({"location": "..\\x.data"}, "which is not a file beside the model"),
        ({"location": "no.data"}, "the weights are in no.data, which is not beside it"),
        ({"location": "folder"}, "which is not a regular file of its folder"),
        ({"location": "pipe"}, "which is not a regular file of its folder"),
        ({"location": "link"}, "which is not a regular file of its folder"),
        ({"location": "x.data", "offset": "1", "length": "24"}, "ends before it"),
        ({"location": "x.data", "offset": "32"}, "ends before it"),
        ({"location": "x.data", "length": "25"}, "ends before it"),
    ],
)
def test_values_in_another_file_are_not_followed_out_of_the_folder(entries, message, tmp_path):
    folder = tmp_path / "inside"
    (folder / "folder").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (tmp_path / "outside.data").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path / "outside.data")
    (folder / "x.data").write_bytes(np.arange(3.0).tobytes())
    assert message in line(external(folder / "x.onnx", **entries), FileError)


@pytest.mark.parametrize(
    "entries", [{"offset": "-1"}, {"offset": "1e3"}, {"offset": "9" * 30}, {"length": "23"}]
)
def test_places_in_another_file_that_make_no_sense(entries, tmp_path):
    (tmp_path / "x.data").write_bytes(bytes(24))
    line(external(tmp_path / "x.onnx", location="x.data", **entries))


def test_values_in_a_file_beside_the_model_are_read(tmp_path):
    """So they are where a cache keeps both files elsewhere, under other names."""
    content = bytes(8) + np.arange(3.0).tobytes()
    (tmp_path / "x.data").write_bytes(content)
    path = external(tmp_path / "x.onnx", location="x.data", offset="8", length="24")
    (array,) = read_all(path).values()
    assert array.tolist() == [0, 1, 2]
    blobs, shown = tmp_path / "blobs", tmp_path / "shown"
    blobs.mkdir()
    shown.mkdir()
    for name, blob in (("x.onnx", "1a"), ("x.data", "2b")):
        (tmp_path / name).rename(blobs / blob)
        (shown / name).symlink_to(blobs / blob)
    (array,) = read_all(shown / "x.onnx").values()
    assert array.tolist() == [0, 1, 2]


def test_segments_are_refused(tmp_path):
    model = model_of(numpy_helper.from_array(np.ones(3), "a"))
    model.graph.initializer[0].segment.end = 3
    assert "a is kept in segments" in line(saved(tmp_path / "x.onnx", model), FileError)


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("TENSORS_LIMIT", "it has more than 3 tensors"),
        ("METADATA_LIMIT", "field 14 of a message has"),
        ("FIELD_LIMIT", "it has more than 3 fields"),
    ],
)
def test_there_is_an_end_to_what_is_looked_at(limit, reason, tmp_path, monkeypatch):
    tensors = [numpy_helper.from_array(np.ones(1), str(n)) for n in range(4)]
    path = saved(tmp_path / "x.onnx", model_of(*tensors, a="b"))
    assert len(read_all(path)) == 4
    monkeypatch.setattr(wire if limit == "FIELD_LIMIT" else onnx_file, limit, 3)
    assert reason in line(path)


def test_a_sparse_file_is_not_read(tmp_path):
    """A terabyte of zeros, which takes no room on a disk, is no message."""
    path = tmp_path / "x.onnx"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DamagedFileError, match="a field has the number 0"):
        onnx_file.read(path)


def damaged(content, random):
    """One of the ways in which files break."""
    kind = random.integers(5)
    if kind == 0:
        return content[: random.integers(len(content))]
    if kind == 1:
        return random.bytes(random.integers(1, 4096))
    flipped = bytearray(content)
    for _ in range(random.integers(1, 9)):
        flipped[random.integers(len(content))] = random.integers(256)
    return bytes(flipped)


@pytest.mark.parametrize("packed", [False, True])
def test_damage_ends_in_one_line(packed, tmp_path):
    """Raw values, which are most of a file, may be damaged unnoticed: there are few of them."""
    tensors = []
    for number in range(20):
        made = numpy_helper.from_array(np.arange(3, dtype=np.int64), f"layer_{number}/kernel")
        if packed:
            made.ClearField("raw_data")
            made.int64_data.extend([1, -1, 300])
        tensors.append(made)
    path = saved(tmp_path / "x.onnx", model_of(*tensors, network="B0", dialect="tensorflow"))
    content, random = path.read_bytes(), np.random.default_rng(0)
    assert len(read_all(path)) == 20
    count = 0
    for _ in range(300):
        path.write_bytes(damaged(content, random))
        message = None
        try:
            found = read_all(path)
        except DamagedFileError as error:
            message = str(error)
        if message is None:
            assert all(math.prod(array.shape) < len(content) for array in found.values())
        else:
            count += 1
            assert message.startswith(f"{path}: ")
            assert message.isprintable()
    assert count > 200
