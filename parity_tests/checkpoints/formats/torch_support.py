"""What the tests of PyTorch's files share: what is in them, and files that are forged."""

import pickle
import struct
import zipfile

import numpy as np
import torch

from efficientnet_rosetta.common.checkpoints.formats import torch_file
from efficientnet_rosetta.common.checkpoints.formats.lazy import LazyTensor
from parity_tests.checkpoints import refusing


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


def legacy(content, storages):
    """A legacy file with a pickle of the test's own; each storage comes after its length."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    parts = [pickle.dumps(part, 2) for part in head] + [content, pickle.dumps(list(storages), 2)]
    lengths = {key: struct.pack("<q", len(raw) // 4) for key, raw in storages.items()}
    return b"".join(parts + [lengths[key] + raw for key, raw in storages.items()])


def written(path, arrays, metadata=None):
    tensors = {key: LazyTensor.of(key, array) for key, array in arrays.items()}
    torch_file.write(path, tensors, metadata or {})
    return path


def refused(path, match):
    """One clean line, and no more memory than a file deserves."""
    refusing.refused(read, path, 2**26 + 16 * path.stat().st_size, match)
