"""Writes the archive that `torch.load` reads, of one tensor at a time."""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ...errors import FileError
from ...weights.metadata import FORMAT
from .lazy import LazyTensor
from .torch_objects import DTYPES, STORAGES

METADATA = FORMAT  # stands where a module's name would
ROOT = "archive"
LOCAL_HEADER = struct.Struct("<4s22xHH")  # its signature, and the lengths of name and extra
ALIGNMENT = 64  # of values in the file, so that they can be mapped into memory
CHUNK = 2**24
OLDEST = (1980, 1, 1, 0, 0, 0)  # that a zip archive can say: equal content gives equal bytes
PADDING = b"FB"  # of an extra field that readers pass over, as PyTorch's padding is called
ZIP64_EXTRA = 20  # bytes by which zipfile lengthens the header of a large member
_CLASSES = {
    DTYPES[name]: kind for kind, name in STORAGES.items() if not kind.startswith(("Q", "Untyped"))
}
_MAPPING = pickle.GLOBAL + b"collections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE


def write(path: str | Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str]) -> None:
    """Write tensors as the state dict that `torch.load` and `load_state_dict` expect.

    Raises:
        RosettaError: a tensor is of a type that PyTorch has no storage for.
        ValueError: a tensor turns out to be of another shape or type than it was said to be.
    """
    content = _state_dict(path, tensors, metadata)
    with Path(path).open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        _add(archive, file.tell(), "data.pkl", content)
        _add(archive, file.tell(), "byteorder", sys.byteorder.encode())
        for number, tensor in enumerate(tensors.values()):
            _add(archive, file.tell(), f"data/{number}", _values(tensor))
        _add(archive, file.tell(), "version", b"3\n")


def _values(tensor: LazyTensor) -> memoryview:
    # Not `ascontiguousarray`, which makes an array of no axes one of one.
    array = np.asarray(tensor.read(), order="C")
    if array.shape != tensor.shape or array.dtype != tensor.dtype:
        raise ValueError(f"{tensor.key} is {array.shape} of {array.dtype}, not {tensor.shape}")
    return array.reshape(-1).view(np.uint8).data


def _add(archive: zipfile.ZipFile, place: int, name: str, content: bytes | memoryview) -> None:
    """A member whose content is aligned, `place` being where its header will be."""
    size = len(content)
    info = zipfile.ZipInfo(f"{ROOT}/{name}", OLDEST)
    large = size > zipfile.ZIP64_LIMIT
    head = LOCAL_HEADER.size + len(info.filename) + 4 + ZIP64_EXTRA * large
    padding = -(place + head) % ALIGNMENT
    info.extra = PADDING + struct.pack("<H", padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=large) as member:
        for start in range(0, size, CHUNK):
            member.write(memoryview(content)[start : start + CHUNK])


# ------------------------------------------------------------------ the pickle


def _state_dict(
    path: str | Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str]
) -> bytes:
    """The pickle of an OrderedDict; what it says of its modules is an attribute of it.

    `load_state_dict` looks up the modules that it has, and passes over our metadata.
    """
    entries = ((key, _tensor(path, n, tensors[key])) for n, key in enumerate(tensors))
    modules = [
        ("", _table(pickle.EMPTY_DICT, [("version", _integer(1))])),
        (METADATA, _table(pickle.EMPTY_DICT, ((k, _text(v)) for k, v in metadata.items()))),
    ]
    attributes = [("_metadata", _table(_MAPPING, modules))]
    return b"".join(
        (
            pickle.PROTO + b"\2",
            _table(_MAPPING, entries),
            _table(pickle.EMPTY_DICT, attributes),
            pickle.BUILD + pickle.STOP,
        )
    )


def _tensor(path: str | Path, number: int, tensor: LazyTensor) -> bytes:
    kind = _CLASSES.get(tensor.dtype)
    if kind is None:
        raise FileError(path, f"{tensor.key} is in {tensor.dtype}, which PyTorch has not")
    count, strides = 1, []
    for size in reversed(tensor.shape):
        strides.append(count)
        count *= max(size, 1)
    elements = 0 if 0 in tensor.shape else count
    storage = (
        _text("storage"),
        pickle.GLOBAL + f"torch\n{kind}\n".encode(),
        _text(str(number)),
        _text("cpu"),
        _integer(elements),
    )
    arguments = (
        _tuple(storage) + pickle.BINPERSID,
        _integer(0),
        _tuple(map(_integer, tensor.shape)),
        _tuple(map(_integer, reversed(strides))),
        pickle.NEWFALSE,  # whether it requires gradients
        _MAPPING,  # the hooks on them
    )
    function = pickle.GLOBAL + b"torch._utils\n_rebuild_tensor_v2\n"
    return function + _tuple(arguments) + pickle.REDUCE


def _table(empty: bytes, entries: Iterable[tuple[str, bytes]]) -> bytes:
    items = b"".join(_text(key) + value for key, value in entries)
    return empty + pickle.MARK + items + pickle.SETITEMS


def _tuple(items: Iterable[bytes]) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _text(text: str) -> bytes:
    encoded = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _integer(number: int) -> bytes:
    if number < 2**31:
        return pickle.BININT + struct.pack("<i", number)
    encoded = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return pickle.LONG1 + bytes([len(encoded)]) + encoded
