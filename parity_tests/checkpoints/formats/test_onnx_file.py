"""ONNX files are read without the package onnx, which agrees with what is read."""

import subprocess
import sys
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.checkpoints import formats
from efficientnet_rosetta.common.checkpoints.formats import onnx_file
from efficientnet_rosetta.common.checkpoints.formats import protobuf_wire as wire
from efficientnet_rosetta.common.errors import DamagedFileError, FileError
from parity_tests.checkpoints.formats.onnx_support import (
    field,
    forged,
    initializer,
    model_of,
    saved,
)
from parity_tests.support import small, weights_of

SHAPES = [(), (1,), (0, 3), (2, 3), (3, 1, 2, 2)]
VARINTS = sorted(onnx_file.VARINTS)


def assert_read(path, model):
    """What is in the file is what the package onnx says, bit for bit."""
    tensors, metadata = onnx_file.read(path)
    assert metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert list(tensors) == [tensor.name for tensor in model.graph.initializer]
    for tensor in model.graph.initializer:
        stored, expected = tensors[tensor.name], numpy_helper.to_array(tensor)
        values = stored.read()
        assert (stored.key, stored.shape) == (tensor.name, expected.shape)
        assert stored.dtype == values.dtype == expected.dtype
        assert values.shape == expected.shape
        assert values.tobytes() == expected.tobytes()
        assert values.flags.writeable


# ------------------ what the package onnx wrote


def test_our_own_export_is_read(tmp_path):
    backend, network = get_backend("torch"), small(size=32)
    model = backend.build(network)
    backend.load_weights(model, weights_of(network))
    exported = backend.export_onnx(model, network)
    path = saved(tmp_path / "b0.onnx", exported)
    assert_read(path, exported)
    found = formats.read(path)
    assert (found.format, found.metadata["preset"]) == ("onnx", "b0")


def values_of(dtype, shape):
    """Random numbers that a type can hold, of all sizes where they are whole."""
    random = np.random.default_rng(0)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    elif dtype.kind == "b":
        values = random.integers(0, 2, shape)
    else:
        values = random.normal(size=shape)
        values = values + 1j * random.normal(size=shape) if dtype.kind == "c" else values
    return np.asarray(values).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", onnx_file.TYPES)
def test_every_type_is_read_raw_and_from_its_field(number, shape, tmp_path):
    dtype = onnx_file.TYPES[number][0]
    assert helper.tensor_dtype_to_np_dtype(number) == dtype
    array = values_of(dtype, shape)
    raw = numpy_helper.from_array(array, "raw")
    assert raw.data_type == number
    typed = TensorProto(name="typed", data_type=number, dims=shape)
    field = getattr(typed, helper.tensor_dtype_to_field(number))
    if dtype.kind == "c":
        parts = array.reshape(-1).view(np.float32 if number == 14 else np.float64)
        field.extend(parts.tolist())
    elif dtype.kind in "bfV" and dtype.itemsize < 4:  # their bits, as a number
        field.extend(array.reshape(-1).view(f"u{dtype.itemsize}").tolist())
    else:
        field.extend(array.reshape(-1).tolist())
    assert numpy_helper.to_array(typed).tobytes() == array.tobytes()
    model = model_of(raw, typed)
    assert_read(saved(tmp_path / "x.onnx", model), model)


def test_numbers_that_are_too_wide_are_cut_as_protobuf_cuts_them(tmp_path):
    wide = [0, -1, 255, 256, 65_537, -(2**31), 2**31 - 1]
    kinds = [n for n, (_, field) in onnx_file.TYPES.items() if field == onnx_file.INT32S]
    tensors = [TensorProto(name=str(n), data_type=n, dims=[7], int32_data=wide) for n in kinds]
    model = model_of(*tensors)
    assert_read(saved(tmp_path / "x.onnx", model), model)


def test_metadata_is_read_in_any_order_and_the_last_word_counts(tmp_path):
    model = model_of(numpy_helper.from_array(np.ones(3, np.float32), "a"), ä="ö\n", b="")
    content = model.SerializeToString()
    entry = wire.message_field(1, b"b") + wire.message_field(2, b"new")
    path = tmp_path / "x.onnx"
    path.write_bytes(wire.message_field(14, entry) + content + wire.message_field(14, entry))
    assert onnx_file.read(path)[1] == {"ä": "ö\n", "b": "new"}


def test_what_no_weight_can_be_is_left_out(tmp_path):
    kinds = ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")
    small_ones = [
        TensorProto(name=kind, data_type=TensorProto.DataType.Value(kind), dims=[3], raw_data=b"12")
        for kind in kinds
    ]
    text = TensorProto(name="text", data_type=TensorProto.STRING, dims=[1], string_data=[b"words"])
    weight = numpy_helper.from_array(np.ones(3, np.float32), "weight")
    path = saved(tmp_path / "x.onnx", model_of(*small_ones, text, weight))
    assert list(onnx_file.read(path)[0]) == ["weight"]
    assert set(TensorProto.DataType.values()) == {0, *onnx_file.TYPES, *onnx_file.LEFT_OUT}


# ------------------ what any writer of the format may do


def test_values_and_sizes_may_be_in_any_number_of_fields(tmp_path):
    floats = np.arange(6, dtype="<f4")
    pieces = [
        field(1, wire.VARINT, b"\2"),
        wire.message_field(1, b"\3"),
        wire.number_field(2, 7),  # a type that the last one replaces
        wire.number_field(2, 1),
        wire.message_field(4, floats[:2].tobytes()),
        field(4, wire.FIXED32, floats[2:3].tobytes()),
        wire.message_field(4, b""),
        wire.message_field(4, floats[3:].tobytes()),
        wire.message_field(12, b"documentation"),
        field(999, wire.FIXED64, bytes(8)),
    ]
    path = forged(tmp_path / "x.onnx", initializer(*pieces))
    model = onnx.load_model(path)
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert_read(path, model)


@pytest.mark.parametrize("number", VARINTS)
def test_integers_that_are_not_packed_are_read(number, tmp_path):
    kind = next(n for n, (_, of) in onnx_file.TYPES.items() if of == number and n != 9)
    one = field(number, wire.VARINT, wire.encoded_varint(200))
    path = forged(
        tmp_path / "x.onnx",
        initializer(
            wire.number_field(1, 4),
            wire.number_field(2, kind),
            one,
            wire.message_field(number, b"\1\xff\1"),
            one,
        ),
    )
    assert onnx_file.read(path)[0]["a"].read().tolist() == [200, 1, 255, 200]
    assert_read(path, onnx.load_model(path))


def test_raw_values_go_before_others_and_a_graph_may_be_in_parts(tmp_path):
    shape = wire.number_field(1, 1) + wire.number_field(2, 1)
    both = wire.message_field(4, b"1234") + wire.message_field(9, b"5678")
    first = wire.message_field(7, initializer(shape, both))
    second = wire.message_field(7, initializer(shape, wire.message_field(9, b"9012"), name=b"b"))
    path = tmp_path / "x.onnx"
    path.write_bytes(wire.number_field(1, 8) + first + second)
    assert_read(path, onnx.load_model(path))


@pytest.mark.parametrize("piece", [10, 11, 64])
def test_many_integers_are_unpacked_piece_by_piece(piece, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    numbers = random.integers(0, 2**63, 1000) >> random.integers(0, 63, 1000)
    numbers *= random.choice([-1, 1], 1000)
    tensor = helper.make_tensor("a", TensorProto.INT64, [1000], numbers)
    assert tensor.int64_data
    model = model_of(tensor)
    path = saved(tmp_path / "x.onnx", model)
    assert_read(path, model)
    monkeypatch.setattr(wire, "PIECE", piece)
    assert_read(path, model)


# ------------------ how it is read


def test_a_tensor_is_in_memory_only_while_it_is_asked_for(tmp_path):
    size = 2**21
    arrays = [np.full(size // 4, number, np.float32) for number in range(8)]
    model = model_of(*(numpy_helper.from_array(a, str(n)) for n, a in enumerate(arrays)))
    packed = TensorProto(name="packed", data_type=10, dims=[size // 2])
    packed.int32_data.extend([0x3C00] * (size // 2))
    model.graph.initializer.append(packed)
    path = saved(tmp_path / "x.onnx", model)
    tracemalloc.start()
    tensors, _ = onnx_file.read(path)
    assert tracemalloc.get_traced_memory()[1] < 2**17
    for number, array in enumerate(arrays):
        assert np.array_equal(tensors[str(number)].read(), array)
    assert tracemalloc.get_traced_memory()[1] < size + 2**20
    assert (tensors["packed"].read() == 1).all()
    # Its bytes, 2 a number; its values; and what a piece of them takes.
    assert tracemalloc.get_traced_memory()[1] < 2 * size + 40 * wire.PIECE
    tracemalloc.stop()


def test_neither_onnx_nor_a_framework_is_needed(tmp_path):
    path = saved(tmp_path / "x.onnx", model_of(numpy_helper.from_array(np.ones(3), "a"), b="c"))
    program = f"""
import sys
for name in ("google", "google.protobuf", "onnx", "onnxruntime", "torch", "tensorflow", "keras"):
    sys.modules[name] = None
from efficientnet_rosetta.common.checkpoints import formats
found = formats.read({str(path)!r})
print(found.metadata, found.tensors["a"].read().sum())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "{'b': 'c'} 3.0\n", done.stderr


def test_a_file_that_is_gone_or_cut_when_it_is_read(tmp_path):
    path = saved(tmp_path / "x.onnx", model_of(numpy_helper.from_array(np.ones(99), "a")))
    tensor = onnx_file.read(path)[0]["a"]
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DamagedFileError, match="it ends before a"):
        tensor.read()
    path.unlink()
    with pytest.raises(FileError, match=r"cannot be read \(No such file"):
        tensor.read()
