"""PyTorch's files are read and written without PyTorch, and nothing in them is run or believed."""

import argparse
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch

from efficientnet_rosetta.common.checkpoints.formats import torch_file, torch_pickle
from efficientnet_rosetta.common.checkpoints.formats.lazy import LazyTensor
from efficientnet_rosetta.common.errors import RosettaError

OBJECTS = "is damaged, or holds Python objects, which are not rebuilt because that runs code"
DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"),
    *("bool", "complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn"),
)


def read(path):
    """Everything in a file, with its tensors as arrays."""
    return values(torch_file.read(path)[0])


def values(tables):
    return {k: values(v) if isinstance(v, dict) else v.read() for k, v in tables.items()}


def bits(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).tolist()


def same(array, tensor):
    """Equal in shape, type and every bit."""
    tensor = tensor.detach()
    assert array.shape == tuple(tensor.shape)
    assert array.dtype.name == str(tensor.dtype).removeprefix("torch.")
    assert bits(array) == tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


@pytest.fixture(params=["zip", "legacy"])
def save(request, tmp_path):
    """PyTorch's own file of a value, in either format."""

    def saved(value):
        path = tmp_path / "saved.pth"
        torch.save(value, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return saved


def write_zip(path, content, storages=(), order="little", compression=zipfile.ZIP_STORED):
    """A torch zip with a pickle of the test's own."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", order)
        archive.writestr("archive/version", "3\n")
        for key in storages:
            archive.writestr(f"archive/data/{key}", storages[key])
    return path


def integer(number):
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(raw)]) + raw


def text(words):
    return pickle.BINUNICODE + struct.pack("<I", len(words)) + words.encode()


def tensor_pickle(shape, strides, offset=0, count=6, storage="torch\nFloatStorage", key="0"):
    """{"x": a tensor}, which claims what it likes."""
    name = b"(" + text("storage") + b"c" + storage.encode() + b"\n"
    name += text(key) + text("cpu") + integer(count) + b"tQ"
    shape, strides = (b"(" + b"".join(map(integer, axes)) + b"t" for axes in (shape, strides))
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + name + integer(offset) + shape + strides
    return b"\x80\x02}" + text("x") + tensor + b"\x89}tRs."


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


def legacy(content, storages):
    """A legacy file with a pickle of the test's own; each storage comes after its length."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    parts = [pickle.dumps(part, 2) for part in head] + [content, pickle.dumps(list(storages), 2)]
    lengths = {key: struct.pack("<q", len(raw) // 4) for key, raw in storages.items()}
    return b"".join(parts + [lengths[key] + raw for key, raw in storages.items()])


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


def written(path, arrays, metadata=None):
    tensors = {key: LazyTensor.of(key, array) for key, array in arrays.items()}
    torch_file.write(path, tensors, metadata or {})
    return path


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


# ------------------------------------------------------------------ what is refused


def refused(path, match):
    """One clean line, and no more memory than a file deserves."""
    tracemalloc.start()
    with pytest.raises(RosettaError, match=match) as caught:
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
    assert peak < 2**26 + 16 * path.stat().st_size


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("how", ["zip", "legacy", "plain"])
def test_a_pickle_is_not_executed(how, protocol, tmp_path):
    path, crater = tmp_path / "bomb.pth", tmp_path / "crater"
    content = pickle.dumps({"x": Bomb(crater)}, protocol)
    if how == "zip":
        write_zip(path, content)
    elif how == "legacy":
        path.write_bytes(legacy(content, {}))
    else:
        path.write_bytes(content)
    refused(path, OBJECTS)
    assert not crater.exists()


@pytest.mark.parametrize(
    "call",
    [
        b"cbuiltins\neval\n" + text("1/0") + b"\x85R",
        b"cbuiltins\ngetattr\n" + text("x") + text("y") + b"\x86R",
        b"ctorch\nload\n" + text("/etc/passwd") + b"\x85R",
        b"ctorch\nFloatStorage\n)R",
        b"ctorch\nfloat32\n)R",
        b"cargparse\nNamespace.__init__\n)R",
        b"}}b" + b"}" + b"c" + b"os\nsystem\n" + text("true") + b"\x85R",
        b"cos\nsystem\n",
        b"(ios\nsystem\n",
        b"(cos\nsystem\no",
        text("os") + text("system") + b"\x93",
        b"\x82\x01",
        b"Punknown\n",
        b"N" * 10 + b"R",
        b"}]b",
        b"NNs",
        b"}Na",
        b"]Ns",
        b"q\x00",
        b"h\x07",
        b"t",
        b"c" + b"a" * 1000,
        b"X\xff\xff\xff\xff",
        b"\x8e" + struct.pack("<Q", 2**60),
        text("a")[:-1] + b"\xff",
    ],
)
def test_operations_that_are_not_data_are_refused(call, tmp_path):
    path = write_zip(tmp_path / "x.pth", b"\x80\x02}" + text("x") + call + b"s.")
    refused(path, "is damaged, or|cannot be read as a PyTorch file")


def test_a_pickled_module_says_what_to_ask_for(save):
    refused(save(torch.nn.Linear(2, 2)), r"save model.state_dict\(\)")


def test_torchscript_says_what_to_ask_for(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "script.pt")
    refused(tmp_path / "script.pt", "is a TorchScript program, which is not run")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([torch.ones(1)], "list"),
        (torch.ones(1), "Tensor"),
        (torch.nn.Parameter(torch.ones(1)), "Parameter"),
        (argparse.Namespace(), "Namespace"),
        (3, "int"),
        (None, "NoneType"),
        ({1}, "set"),
    ],
)
def test_what_is_no_state_dict_is_named(value, kind, save):
    refused(save(value), f"holds a {kind} and not a state dict")


def test_tensors_that_are_no_arrays_are_named(save):
    refused(save({"x": torch.eye(3).to_sparse()}), "x is sparse")


def test_meta_and_conjugate_tensors_are_named(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"x": torch.ones(3, device="meta")}, path)
    refused(path, "x is on the meta device")
    torch.save({"x": torch.ones(3, dtype=torch.complex64).conj()}, path)
    refused(path, "x is a conjugate")


@pytest.mark.parametrize("levels", [45, 20_000])
def test_dictionaries_in_one_another_end(levels, tmp_path):
    level = b"}q\x00(" + text("a") + b"h\x01" + text("b") + b"h\x01uq\x01"
    content = b"\x80\x02}q\x01" + level * levels + b"."
    refused(write_zip(tmp_path / "dag.pth", content), "contain one another too often|deep")


def test_a_dictionary_in_itself_ends(tmp_path):
    content = b"\x80\x02}q\x00" + text("a") + b"h\x00s."
    refused(write_zip(tmp_path / "loop.pth", content), "deep")


@pytest.mark.parametrize("opening", [b"}" + text("a"), b"]", b"("])
def test_deep_nesting_ends(opening, tmp_path):
    closing = {b"}": b"s", b"]": b"a", b"(": b"t"}[opening[:1]]
    content = b"\x80\x02}" + text("x") + opening * 100_000 + b"N" + closing * 100_000 + b"s."
    path = write_zip(tmp_path / "deep.pth", content)
    if opening[:1] == b"}":
        refused(path, "deep")
    else:
        assert read(path) == {}


def test_dictionaries_that_are_shared_are_read(save):
    tensors = {str(n): torch.ones(1) for n in range(300)}
    found, _ = torch_file.read(save({f"copy{n}": tensors for n in range(20)}))
    assert all(len(copy) == 300 for copy in found.values())


def test_a_memo_is_no_larger_than_its_file(tmp_path):
    content = b"\x80\x02}" + b"".join(b"r" + struct.pack("<I", 2**32 - n) for n in range(1, 50))
    tracemalloc.start()
    assert read(write_zip(tmp_path / "memo.pth", content + b".")) == {}
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_arguments_are_not_copied_out_of_all_proportion(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_pickle, "OPERATIONS_LIMIT", 2**16)
    pairs = b"](" + b"K\x01K\x02\x86q\x01" + b"h\x01" * 9_999 + b"eq\x00"
    call = b"ccollections\nOrderedDict\nh\x00\x85R"
    content = b"\x80\x02" + pairs + call * 1_000 + b"."
    refused(write_zip(tmp_path / "copies.pth", content), "takes more than")
    content = b"\x80\x02}" + text("x") + b"cbuiltins\nbytearray\n" + integer(2**40) + b"\x85Rs."
    assert read(write_zip(tmp_path / "bytes.pth", content)) == {}


def test_keys_cannot_collide(tmp_path):
    """Numbers of one hash, which Python would compare each with all before it."""
    keys = b"".join(integer(n * (2**61 - 1)) + b"N" for n in range(1, 20_000))
    assert read(write_zip(tmp_path / "keys.pth", b"\x80\x02}(" + keys + b"u.")) == {}


def test_the_hash_of_nested_tuples_is_not_asked_for(tmp_path):
    key = b"N" + b"q\x00h\x00\x86" * 60
    assert read(write_zip(tmp_path / "hash.pth", b"\x80\x02}" + key + b"Ns.")) == {}


@pytest.mark.parametrize(
    ("shape", "strides", "options", "match"),
    [
        ((2**40,), (0,), {}, "x repeats its values"),
        ((7,), (0,), {}, "x repeats its values"),
        ((5, 4), (1, 0), {}, "x repeats its values"),
        ((4, 3), (1, 1), {}, "x repeats its values"),
        ((2**40,), (1,), {}, "smaller than its shape"),
        ((7,), (1,), {}, "smaller than its shape"),
        ((2,), (2**63,), {}, "smaller than its shape"),
        ((2, 3), (3, 1), {"offset": 1}, "smaller than its shape"),
        ((1,), (1,), {"offset": 2**64}, "smaller than its shape"),
        ((2**40,), (1,), {"count": 2**40}, "is not in the file"),
        ((7,), (1,), {"count": 7}, "is not in the file"),
        ((2**600, 0), (0, 0), {}, "smaller than its shape"),
        ((1,), (1,), {"key": "1"}, "is not in the file"),
        ((1,), (1,), {"count": -1}, "no size"),
        ((1,), (1,), {"storage": "torch\nTensor"}, "no type"),
        ((-1,), (1,), {}, "whole numbers"),
        ((1,), (-1,), {}, "whole numbers"),
        ((1,), (1,), {"offset": -1}, "whole numbers"),
        ((1, 1), (1,), {}, "strides"),
        ((1,) * 65, (1,) * 65, {}, "too many axes"),
    ],
)
def test_claims_are_compared_with_the_file(shape, strides, options, match, tmp_path):
    path = tmp_path / "x.pth"
    write_zip(path, tensor_pickle(shape, strides, **options), {"0": bytes(24)})
    refused(path, match)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"x": torch.full((100,), 1.5), "y": torch.ones(3)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<f", 1.5)) + 41] ^= 1
    path.write_bytes(content)
    found, _ = torch_file.read(path)
    assert found["y"].read().tolist() == [1, 1, 1]
    for _ in range(2):
        refused(path, "x does not have the checksum that it was written with")


def test_a_compressed_archive_is_not_inflated(tmp_path):
    content = tensor_pickle((2**22,), (1,), count=2**22)
    path = tmp_path / "x.pth"
    write_zip(path, content, {"0": bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    refused(path, "is compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("archive/data.pkl", "archive/data.pkl"), ("/data.pkl",), ("a/../data.pkl",), ("a",)]
)
def test_odd_members_are_refused(names, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        for name in names:
            archive.writestr(name, b"\x80\x02}.")
    refused(tmp_path / "x.pth", "cannot be read as a PyTorch file")


def test_keys_of_control_characters_stay_in_one_line(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"a\n\x1b[31m": torch.eye(3).to_sparse()}, path)
    refused(path, r"a\\n\\x1b\[31m")


@pytest.mark.parametrize("content", [b"", b"\x80", b"\x80\x02}.", b"ustar", b"PK\3\4"])
def test_what_is_no_file_of_pytorch_is_one_line(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", "cannot be read as a PyTorch file|is damaged, or")


def test_a_file_that_is_gone_or_cut_when_it_is_read(save):
    path = save({"x": torch.ones(1000)})
    tensor = torch_file.read(path)[0]["x"]
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RosettaError, match="cannot be read as a PyTorch file"):
        tensor.read()
    path.unlink()
    with pytest.raises(RosettaError, match="cannot be read as a PyTorch file"):
        tensor.read()


def damaged(content, random):
    """One of the ways in which files break: the ends, where the headers are, more often."""
    kind = random.integers(4)
    if kind == 0:
        return content[: random.integers(len(content))]
    flipped = bytearray(content)
    for _ in range(random.integers(1, 9)):
        position = random.integers(min(3000, len(content)))
        flipped[position if kind < 3 else -1 - position] = random.integers(256)
    return bytes(flipped)


def sound(kind, path):
    """A file, and what of it will be damaged, with the way of putting that back."""
    tensors = {f"block{n}.weight": torch.randn(3, 4) for n in range(8)}
    tensors["nested"] = OrderedDict(a=torch.nn.Parameter(torch.ones(2)))
    if kind == "ours":
        written(path, {str(n): np.ones((3, 4), np.float32) for n in range(8)}, {"a": "b"})
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind != "legacy")
    if kind != "pickle":
        return path.read_bytes(), path.write_bytes
    # Otherwise the checksum of the pickle would be all that is tested.
    with zipfile.ZipFile(path) as archive:
        storages = {str(n): archive.read(f"x/data/{n}") for n in range(9)}
        return archive.read("x/data.pkl"), lambda content: write_zip(path, content, storages)


@pytest.mark.parametrize("kind", ["zip", "legacy", "ours", "pickle"])
def test_damaged_files_are_one_clean_line(kind, tmp_path):
    path = tmp_path / "x.pth"
    content, put = sound(kind, path)
    read(path)
    random, messages = np.random.default_rng(0), []
    for _ in range(300):
        put(damaged(content, random))
        try:
            read(path)
        except RosettaError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith(f"{path}: ") for message in messages)
    assert all(message.isprintable() for message in messages)
