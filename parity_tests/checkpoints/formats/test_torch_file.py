"""PyTorch's files are read and written without PyTorch."""

import argparse
import tracemalloc
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.checkpoints.formats import torch_file
from efficientnet_rosetta.common.checkpoints.formats.lazy import LazyTensor
from efficientnet_rosetta.common.errors import RosettaError
from parity_tests.checkpoints.formats.torch_support import (
    integer,
    legacy,
    read,
    same,
    tensor_pickle,
    text,
    write_zip,
    written,
)

DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"),
    *("bool", "complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn"),
)


# ------------------------------------------------------------------ what PyTorch writes


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_is_read(dtype, save):
    tensor = (torch.arange(24).reshape(2, 3, 4) % 7).to(getattr(torch, dtype))
    same(read(save({"x": tensor}))["x"], tensor)


def test_shapes_and_views_are_read(save):
    base = torch.arange(120.0)
    tensors = {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "whole": base,
        "part": base[7:19],
        "transposed": base.reshape(10, 12).T,
        "strided": base.reshape(2, 3, 4, 5)[1, :, ::2, 1:4],
        "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "one": torch.ones(1, 5).expand(1, 5),
        "ones": torch.as_strided(base, (1, 3), (1000, 1)),
    }
    found = read(save(tensors))
    assert list(found) == list(tensors)
    for key, tensor in tensors.items():
        same(found[key], tensor)
    found["part"][:] = 0  # an array of its own


def test_what_is_beside_tensors_is_left_out(save):
    content = {
        "state_dict": OrderedDict(a=torch.ones(2), b=torch.nn.Parameter(torch.ones(3))),
        "args": argparse.Namespace(lr=0.1, model="efficientnet_b0"),
        "epoch": 3,
        "big": 2**70,
        "none": None,
        "list": [torch.ones(1), 1.5, "text"],
        "set": {1, 2},
        "counter": Counter("aab"),
        "bytes": b"\xff\x00",
        "bytearray": bytearray(b"x"),
        "complex": 1j,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "layout": torch.strided,
        "schedule": {0: {"momentum": torch.zeros(2)}, (1, 2): torch.zeros(2), True: 1},
    }
    tables, metadata = torch_file.read(save(content))
    assert metadata == {}
    assert list(tables) == ["state_dict", "counter", "schedule"]
    assert list(tables["state_dict"]) == ["a", "b"]
    assert tables["counter"] == {}
    assert list(tables["schedule"]) == ["0"]
    assert tables["schedule"]["0"]["momentum"].key == "momentum"


def test_a_parameter_with_attributes_is_a_tensor(save):
    parameter, tensor = torch.nn.Parameter(torch.arange(3.0)), torch.arange(4.0)
    parameter.note = tensor.note = "kept by PyTorch, not by us"
    found = read(save({"parameter": parameter, "tensor": tensor}))
    same(found["parameter"], parameter)
    same(found["tensor"], tensor)


def test_a_state_dict_is_that_of_its_module(save):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    found = read(save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}))
    for key, tensor in model.state_dict().items():
        same(found["model"][key], tensor)
    same(found["optimizer"]["state"]["0"]["exp_avg"], optimizer.state[model[0].weight]["exp_avg"])


def test_tensors_of_one_storage_are_read_apart(save):
    base = torch.randn(1000)
    path = save({str(n): base[n : n + 10] for n in range(100)})
    found = read(path)
    for n in range(100):
        same(found[str(n)], base[n : n + 10])


@pytest.mark.parametrize(
    ("view", "values"), [(b"N", [1, 2]), (text("v") + integer(2) + integer(3) + b"\x87", [3, 4])]
)
def test_views_of_storages_are_read(view, values, tmp_path):
    """As PyTorch wrote them before 0.4: a storage that is a part of another."""
    content = tensor_pickle((2,), (1,), offset=1).replace(b"tQ", view + b"tQ")
    raw = np.arange(6, dtype="<f4").tobytes()
    (tmp_path / "x.pth").write_bytes(legacy(content, {"0": raw}))
    assert read(tmp_path / "x.pth")["x"].tolist() == values
    assert torch.load(tmp_path / "x.pth", weights_only=True)["x"].tolist() == values


@pytest.mark.parametrize("order", ["little", "big"])
def test_the_byte_order_is_that_of_the_file(order, tmp_path):
    raw = np.arange(6, dtype=np.float32).astype(">f4" if order == "big" else "<f4").tobytes()
    write_zip(tmp_path / "x.pth", tensor_pickle((2, 3), (3, 1)), {"0": raw}, order)
    assert read(tmp_path / "x.pth")["x"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_file_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"x": torch.arange(3.0)}, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert read(tmp_path / "x.pth")["x"].tolist() == [0, 1, 2]


# ------------------------------------------------------------------ what we write


@pytest.mark.parametrize("mmap", [False, True])
def test_pytorch_loads_what_we_write(mmap, tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    arrays = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    path = written(tmp_path / "ours.pth", arrays, {"network": "B0", "ä": '{"a": 1}'})
    loaded = torch.load(path, weights_only=True, mmap=mmap)
    assert type(loaded) is OrderedDict
    assert loaded._metadata[""] == {"version": 1}
    assert list(loaded) == list(arrays)
    for key, tensor in loaded.items():
        same(arrays[key], tensor)
        assert tensor.data_ptr() % 64 == 0
    model.load_state_dict(loaded)
    assert torch_file.read(path)[1] == {"network": "B0", "ä": '{"a": 1}'}


@pytest.mark.parametrize("dtype", DTYPES[:12])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_every_type_and_shape_is_written(dtype, shape, tmp_path):
    tensor = torch.ones(shape).to(getattr(torch, dtype))
    torch.save({"x": tensor}, tmp_path / "theirs.pth")
    array = read(tmp_path / "theirs.pth")["x"]
    path = written(tmp_path / "ours.pth", {"x": array})
    loaded = torch.load(path, weights_only=True)["x"]
    assert loaded.dtype == tensor.dtype
    assert loaded.is_contiguous()
    same(array, loaded)
    same(read(path)["x"], tensor)


def test_a_transposed_array_is_written_in_order(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    path = written(tmp_path / "ours.pth", {"x": array})
    assert torch.load(path, weights_only=True)["x"].tolist() == array.tolist()


def test_equal_tensors_make_equal_files(tmp_path):
    array = np.ones(3, np.float32)
    one, two = (written(tmp_path / name, {"x": array}) for name in ("1.pth", "2.pth"))
    assert one.read_bytes() == two.read_bytes()


def test_writing_takes_the_memory_of_one_tensor(tmp_path):
    tensors = {
        str(n): LazyTensor(str(n), (2**18,), np.dtype("f4"), lambda: np.ones(2**18, "f4"))
        for n in range(16)
    }
    tracemalloc.start()
    torch_file.write(tmp_path / "x.pth", tensors, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2**20


def test_large_tensors_are_aligned_too(tmp_path, monkeypatch):
    """The headers of members above 2 GiB are of another length; here those above 100 bytes."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    arrays = {str(n): np.arange(n, dtype=np.float32) for n in (3, 100, 7, 2000)}
    path = written(tmp_path / "ours.pth", arrays)
    monkeypatch.undo()
    for mmap in (False, True):
        for key, tensor in torch.load(path, weights_only=True, mmap=mmap).items():
            same(arrays[key], tensor)
            assert tensor.data_ptr() % 64 == 0
    assert all(read(path)[key].tolist() == arrays[key].tolist() for key in arrays)


def test_a_type_without_a_storage_is_not_written(tmp_path):
    with pytest.raises(RosettaError, match="x is in uint16, which PyTorch has not"):
        written(tmp_path / "x.pth", {"x": np.ones(2, np.uint16)})


def test_a_tensor_that_is_not_as_it_was_said_to_be_is_a_mistake_of_ours(tmp_path):
    lazy = LazyTensor("x", (2,), np.dtype("f4"), lambda: np.ones(3, "f4"))
    with pytest.raises(ValueError, match=r"x is .* not"):
        torch_file.write(tmp_path / "x.pth", {"x": lazy}, {})
