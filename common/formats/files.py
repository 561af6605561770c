"""One door for every format: told apart by its bytes when read, by its suffix when written."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from common.backend import get_backend
from common.errors import RosettaError, reading
from common.files import replacing
from common.formats import hdf5, wrappers

# What a file name ends in, by format; the longest that fits counts.
SUFFIXES = {
    ".safetensors": "safetensors",
    ".pth": "torch",
    ".pt": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
    ".pth.tar": "torch",
    ".h5": "h5",
    ".hdf5": "h5",
    ".weights.h5": "weights.h5",
    ".npz": "npz",
}
CHECKPOINT = "tf-checkpoint"  # named by the prefix of its files, which has no suffix
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
PICKLE_SIGNATURE = b"\x80"
TORCH_MEMBER = "data.pkl"
KERAS_MEMBER = "model.weights.h5"


@dataclass(frozen=True)
class Checkpoint:
    """What is in a file: arrays by key, and what had to be unwrapped to get at them."""

    path: Path
    format: str
    arrays: Mapping[str, np.ndarray]
    dtypes: frozenset[str]  # of the floating-point arrays, as they are stored
    metadata: Mapping[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()


def format_of(path: str | Path) -> str:
    """The format that a file name asks for.

    Raises:
        RosettaError: the suffix belongs to no format.
    """
    name = Path(path).name.lower()
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix)]
    if not fitting:
        raise RosettaError(
            f"{path}: the suffix says no format; choose from {', '.join(sorted(SUFFIXES))}"
        )
    return SUFFIXES[max(fitting, key=len)]


def index_of(prefix: Path) -> Path:
    """The file by which a TensorFlow checkpoint, named by its prefix, is recognised."""
    return prefix.with_name(f"{prefix.name}.index")


def detect(path: str | Path) -> str:
    """The format that a file has, by its first bytes.

    Raises:
        RosettaError: there is no such file, or its bytes are of no format.
    """
    path = Path(path)
    if index_of(path).is_file():
        return CHECKPOINT
    if not path.is_file():
        raise RosettaError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(HDF5_SIGNATURE):
        return hdf5.flavour(path)
    if head.startswith(ZIP_SIGNATURE):
        return _zip_format(path)
    if head.startswith(PICKLE_SIGNATURE):
        return "torch"
    # An eight-byte length, and JSON that starts with a brace.
    if len(head) > 8 and head[8:9] == b"{":
        return "safetensors"
    raise RosettaError(
        f"{path}: is in no known format; choose a safetensors, PyTorch, Keras, HDF5 or .npz file"
    )


def _zip_format(path: Path) -> str:
    with reading(path, "a zip archive"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if KERAS_MEMBER in names:
        return "keras"
    if any(name.rpartition("/")[2] == TORCH_MEMBER for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise RosettaError(f"{path}: is a zip archive, but of neither PyTorch, NumPy nor Keras")


def read(path: str | Path, raw: bool = False) -> Checkpoint:
    """Read a file of any format; `raw` prefers the raw weights to their moving average.

    Raises:
        RosettaError: the file is missing, damaged, of no known format or not plain data.
    """
    path = Path(path)
    kind = detect(path)
    return READERS[kind](path, raw)


def _read_safetensors(path: Path, raw: bool) -> Checkpoint:
    with reading(path, "safetensors"), safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    arrays, found = wrappers.unwrap(arrays, raw)
    return Checkpoint(path, "safetensors", arrays, _dtypes(arrays), metadata, found)


def _dtypes(arrays: Mapping[str, np.ndarray]) -> frozenset[str]:
    return frozenset(array.dtype.name for array in arrays.values() if array.dtype.kind == "f")


def _read_torch(path: Path, raw: bool) -> Checkpoint:
    content, dtypes = get_backend("torch").read_checkpoint(path)
    arrays, found = wrappers.unwrap(content, raw)
    if not arrays:
        raise RosettaError(f"{path}: holds no tensors; save a model's state_dict()")
    floats = frozenset(name for name in dtypes if "float" in name)
    return Checkpoint(path, "torch", arrays, floats, {}, found)


def _read_checkpoint(path: Path, raw: bool) -> Checkpoint:
    content, dtypes = get_backend("keras").read_checkpoint(path)
    arrays, found = wrappers.averages(content, raw)
    floats = frozenset(name for name in dtypes if "float" in name)
    return Checkpoint(path, CHECKPOINT, arrays, floats, {}, found)


def _read_hdf5(path: Path, raw: bool) -> Checkpoint:
    arrays, found = hdf5.read(path)
    return Checkpoint(path, hdf5.flavour(path), arrays, _dtypes(arrays), {}, found)


def _read_keras(path: Path, raw: bool) -> Checkpoint:
    """The weights of a .keras archive; its configuration, which is code to Keras, is not read."""
    with reading(path, "a .keras archive"), zipfile.ZipFile(path) as archive:
        member = archive.getinfo(KERAS_MEMBER)
        if member.file_size > path.stat().st_size:  # Keras stores it as it is
            raise RosettaError(f"{path}: its weights are compressed; save the model again")
        content = io.BytesIO(archive.read(member))
    arrays, found = hdf5.read(path, content)
    return Checkpoint(path, "keras", arrays, _dtypes(arrays), {}, found)


def _read_npz(path: Path, raw: bool) -> Checkpoint:
    """efficientnet-jax keeps its names in an array, and the tensors under numbers."""
    with reading(path, ".npz"), np.load(path, allow_pickle=False) as archive:
        members = {name: archive[name] for name in archive.files}
    if "names" in members:
        names = [str(name) for name in members["names"]]
        absent = [name for number, name in enumerate(names) if str(number) not in members]
        if absent:
            raise RosettaError(f"{path}: lists {absent[0]}, which is not in the archive")
        members = {name: members[str(number)] for number, name in enumerate(names)}
    return Checkpoint(path, "npz", members, _dtypes(members))


READERS: dict[str, Callable[[Path, bool], Checkpoint]] = {
    "safetensors": _read_safetensors,
    "torch": _read_torch,
    CHECKPOINT: _read_checkpoint,
    "h5": _read_hdf5,
    "weights.h5": _read_hdf5,
    "keras": _read_keras,
    "npz": _read_npz,
}


def write(
    path: str | Path, kind: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays in a format; the file appears only once it is whole.

    Raises:
        RosettaError: the file cannot be written.
    """
    if kind == CHECKPOINT:
        _write_checkpoint(Path(path), arrays)
        return
    with replacing(path) as temporary:
        WRITERS[kind](temporary, arrays, metadata)


def _write_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Several files: written aside, then moved, the index that makes them one last of all."""
    with (
        replacing(index_of(prefix)) as index,
        tempfile.TemporaryDirectory(dir=prefix.parent, prefix=f".{prefix.name}.") as folder,
    ):
        get_backend("keras").write_checkpoint(Path(folder) / prefix.name, arrays)
        for part in Path(folder).iterdir():
            part.replace(index if part.suffix == ".index" else prefix.parent / part.name)


def _write_safetensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    # The buffer is written as it lies in memory, whatever the strides say.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, path, metadata=dict(metadata))


def _write_torch(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    get_backend("torch").write_checkpoint(path, arrays)


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    members = {str(number): array for number, array in enumerate(arrays.values())}
    kinds = np.array(["var"] * len(arrays))
    with path.open("wb") as file:
        np.savez(file, names=np.array(list(arrays)), types=kinds, **members)


WRITERS: dict[str, Callable[[Path, Mapping[str, np.ndarray], Mapping[str, str]], None]] = {
    "safetensors": _write_safetensors,
    "torch": _write_torch,
    "h5": lambda path, arrays, _: hdf5.write_legacy(path, arrays),
    "weights.h5": lambda path, arrays, _: hdf5.write_counted(path, arrays),
    "npz": _write_npz,
}
