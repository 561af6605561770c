"""One door for every format: told apart by its bytes when read, by its suffix when written."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from common.backend import get_backend
from common.errors import RosettaError, reading
from common.files import replacing
from common.formats import hdf5, wrappers
from common.formats.stored import Stored

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
    ".keras": "keras",
    ".npz": "npz",
}
CHECKPOINT = "tf-checkpoint"  # named by the prefix of its files, which has no suffix
SAVED_MODEL = "saved-model"  # a folder
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
PICKLE_SIGNATURE = b"\x80"
ONNX_SIGNATURE = re.compile(
    rb"\x08[\x01-\x7f][\x12\x1a\x22\x2a\x32\x3a]"
)  # ir_version, the next field
TORCH_MEMBER = "data.pkl"
KERAS_MEMBER = "model.weights.h5"
KERAS_VERSION = "3.15.1"  # whose files ours look like
WHOLE_MODEL = "model_weights/"  # in a legacy .h5
NAMES_LIMIT = 2**24  # bytes of an .npz member that must be read before any shape is known
EXPORTED = re.compile(r"variables/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE")
# From the dtypes of safetensors to NumPy's, where a tensor can be a weight or a counter.
SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
}


@dataclass(frozen=True)
class Checkpoint:
    """What is in a file: tensors by key, and what had to be unwrapped to get at them.

    `layer_names` are those that Keras 3 writes beside its counters, by group; `beside` is what was
    left out in unwrapping, and why.
    """

    path: Path
    format: str
    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    layer_names: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def dtypes(self) -> frozenset[str]:
        """Of the floating-point tensors, as they are stored."""
        return frozenset(stored.dtype.name for stored in self.tensors.values() if stored.is_float)


@dataclass(frozen=True)
class Content:
    """What is to be written: tensors by key, and what some formats keep beside them."""

    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str] = field(default_factory=dict)  # safetensors, torch and HDF5
    layer_names: Mapping[str, str] = field(default_factory=dict)  # .weights.h5 and .keras
    config: Mapping | None = None  # .keras: the model


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
    """The format that a file has, by its first bytes; "hdf5" stands for both of Keras's.

    Raises:
        RosettaError: there is no such file, or its bytes are of no format.
    """
    path = Path(path)
    if index_of(path).is_file():
        return CHECKPOINT
    if index_of(path / "variables" / "variables").is_file():
        return SAVED_MODEL
    if path.is_dir():
        raise RosettaError(f"{path}: is a folder, but not a SavedModel; name a file in it")
    if not path.is_file():
        raise RosettaError(f"{path}: no such file")
    with reading(path, "a file"), path.open("rb") as file:
        head = file.read(16)
    if head.startswith(HDF5_SIGNATURE):
        return "hdf5"
    if head.startswith(ZIP_SIGNATURE):
        return _zip_format(path)
    # An eight-byte length, and JSON that starts with a brace.  A length below 4 GiB is not taken
    # for a pickle where it begins with the same byte, as one of 32 does.
    if head[4:9] == b"\0\0\0\0{":
        return "safetensors"
    if head.startswith(PICKLE_SIGNATURE):
        return "torch"
    if head[8:9] == b"{":
        return "safetensors"
    if ONNX_SIGNATURE.match(head):
        return "onnx"
    raise RosettaError(
        f"{path}: is in no known format; choose a safetensors, PyTorch, Keras, TensorFlow, .npz "
        "or ONNX file"
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
    return READERS[detect(path)](path, raw)


# ------------------------------------------------------------------ reading


def _by_key(stored: Iterable[Stored]) -> dict[str, Stored]:
    return {tensor.key: tensor for tensor in stored}


def _read_safetensors(path: Path, raw: bool) -> Checkpoint:
    # Not mapped into memory: a mapped file counts as memory in full once it was read through.
    with reading(path, "safetensors"):
        file = safe_open(path, framework="numpy", backend="pread")
        content = {key: _in_safetensors(path, file, key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    tensors, found, beside = wrappers.unwrap(content, raw)
    return Checkpoint(path, "safetensors", tensors, metadata, found, beside=beside)


def _in_safetensors(path: Path, file: safe_open, key: str) -> Stored:
    part = file.get_slice(key)
    kind = part.get_dtype()
    if kind not in SAFETENSORS_DTYPES:
        raise RosettaError(f"{path}: {key} is in {kind}, which is no type for weights")

    def load() -> np.ndarray:
        with reading(path, "safetensors"):
            return file.get_tensor(key)

    return Stored(key, tuple(part.get_shape()), np.dtype(SAFETENSORS_DTYPES[kind]), load)


def _read_torch(path: Path, raw: bool) -> Checkpoint:
    content, metadata = get_backend("torch").read_checkpoint(path)
    tensors, found, beside = wrappers.unwrap(content, raw)
    if not tensors:
        raise RosettaError(f"{path}: holds no tensors; save a model's state_dict()")
    return Checkpoint(path, "torch", tensors, metadata, found, beside=beside)


def _read_checkpoint(path: Path, raw: bool) -> Checkpoint:
    content, _ = get_backend("keras").read_checkpoint(path)
    tensors, found, beside = wrappers.averages(content, raw)
    return Checkpoint(path, CHECKPOINT, tensors, {}, found, beside=beside)


def _read_saved_model(path: Path, raw: bool) -> Checkpoint:
    """The variables of a SavedModel; its graph, which is a program, is not read."""
    content, _ = get_backend("keras").read_checkpoint(path / "variables" / "variables")
    return Checkpoint(path, SAVED_MODEL, _numbered(content))


def _numbered(content: Mapping[str, Stored]) -> dict[str, Stored]:
    """Keras 3's list of variables without the seeds and counters in it: `variables/0`, ..."""
    listed = {int(m[1]): key for key in content if (m := EXPORTED.fullmatch(key))}
    floats = [listed[n] for n in sorted(listed) if content[listed[n]].is_float]
    renamed = {key: f"variables/{number}" for number, key in enumerate(floats)}
    return {renamed.get(key, key): stored for key, stored in content.items()}


def _read_hdf5(path: Path, raw: bool) -> Checkpoint:
    stored, names, metadata = hdf5.read(path)
    tensors = _by_key(stored)
    inside = {
        key.removeprefix(WHOLE_MODEL): tensor
        for key, tensor in tensors.items()
        if key.startswith(WHOLE_MODEL)
    }
    if inside:
        beside = {
            key: "state of the training" for key in tensors if not key.startswith(WHOLE_MODEL)
        }
        return Checkpoint(path, "h5", inside, metadata, ("saved model",), beside=beside)
    counted = any("vars" in key.split("/") for key in tensors)
    return Checkpoint(path, "weights.h5" if counted else "h5", tensors, metadata, (), names)


def _read_keras(path: Path, raw: bool) -> Checkpoint:
    """The weights of a .keras archive; its configuration, which is code to Keras, is not read."""
    with reading(path, "a .keras archive"), zipfile.ZipFile(path) as archive:
        member = archive.getinfo(KERAS_MEMBER)
        if member.file_size > path.stat().st_size:  # Keras stores it as it is
            raise RosettaError(f"{path}: its weights are compressed; save the model again")
        content = archive.read(member)
    stored, names, metadata = hdf5.read(path, lambda: io.BytesIO(content))
    return Checkpoint(path, "keras", _by_key(stored), metadata, (), names)


def _read_npz(path: Path, raw: bool) -> Checkpoint:
    """efficientnet-jax keeps its names in an array, and the tensors under numbers."""
    with reading(path, ".npz"):
        archive = np.load(path, allow_pickle=False)  # reads its members one by one, when asked
        tensors = _by_key(_in_npz(path, archive, info) for info in archive.zip.infolist())
        if "names" in tensors:
            if archive.zip.getinfo("names.npy").file_size > NAMES_LIMIT:
                raise RosettaError(f"{path}: its list of names is implausibly long")
            names = [str(name) for name in tensors["names"].read()]
            absent = [name for number, name in enumerate(names) if str(number) not in tensors]
            if absent:
                raise RosettaError(f"{path}: lists {absent[0]}, which is not in the archive")
            tensors = {name: tensors[str(number)] for number, name in enumerate(names)}
    return Checkpoint(path, "npz", tensors)


def _in_npz(path: Path, archive: np.lib.npyio.NpzFile, info: zipfile.ZipInfo) -> Stored:
    key = info.filename.removesuffix(".npy")
    with archive.zip.open(info) as member:
        shape, dtype = _npy_header(member)
    return Stored(key, shape, dtype, partial(_read_npy, path, archive, key))


def _npy_header(member: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    return shape, dtype


def _read_npy(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    with reading(path, ".npz"):
        return archive[key]


def _read_onnx(path: Path, raw: bool) -> Checkpoint:
    """The initializers of a graph, under the names that an exporter left them."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise RosettaError(
            f"{path}: ONNX files need onnx; run: pip install 'efficientnet-rosetta[onnx]'"
        ) from None
    with reading(path, "ONNX"):
        model = onnx.load_model(path, load_external_data=False)
        tensors = _by_key(_in_onnx(path, tensor) for tensor in model.graph.initializer)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Checkpoint(path, "onnx", tensors, metadata)


def _in_onnx(path: Path, tensor: onnx.TensorProto) -> Stored:  # noqa: F821 - imported late
    from onnx import numpy_helper

    if tensor.external_data:
        raise RosettaError(
            f"{path}: {tensor.name} is kept in another file, which is not followed; "
            "save the model in one file"
        )
    return Stored.of(tensor.name, numpy_helper.to_array(tensor))


READERS: dict[str, Callable[[Path, bool], Checkpoint]] = {
    "safetensors": _read_safetensors,
    "torch": _read_torch,
    CHECKPOINT: _read_checkpoint,
    SAVED_MODEL: _read_saved_model,
    "hdf5": _read_hdf5,
    "keras": _read_keras,
    "npz": _read_npz,
    "onnx": _read_onnx,
}


# ------------------------------------------------------------------ writing


def write(path: str | Path, kind: str, content: Content) -> None:
    """Write tensors in a format; the file appears only once it is whole.

    Raises:
        RosettaError: the file cannot be written.
    """
    if kind == CHECKPOINT:
        _write_checkpoint(Path(path), content)
        return
    with replacing(path) as temporary:
        WRITERS[kind](temporary, content)


def _arrays(content: Content) -> dict[str, np.ndarray]:
    """All of them at once, in the order of C, for the formats that cannot be written by parts."""
    return {key: np.ascontiguousarray(stored.read()) for key, stored in content.tensors.items()}


def _write_checkpoint(prefix: Path, content: Content) -> None:
    """Several files: written aside, then moved, the index that makes them one last of all."""
    with (
        replacing(index_of(prefix)) as index,
        tempfile.TemporaryDirectory(dir=prefix.parent, prefix=f".{prefix.name}.") as folder,
    ):
        get_backend("keras").write_checkpoint(Path(folder) / prefix.name, _arrays(content), {})
        for part in Path(folder).iterdir():
            part.replace(index if part.suffix == ".index" else prefix.parent / part.name)


def _write_safetensors(path: Path, content: Content) -> None:
    save_file(_arrays(content), path, metadata=dict(content.metadata))


def _write_torch(path: Path, content: Content) -> None:
    get_backend("torch").write_checkpoint(path, _arrays(content), content.metadata)


def _write_npz(path: Path, content: Content) -> None:
    members = {str(number): array for number, array in enumerate(_arrays(content).values())}
    kinds = np.array(["var"] * len(members))
    with path.open("wb") as file:
        np.savez(file, names=np.array(list(content.tensors)), types=kinds, **members)


def _write_legacy(path: Path, content: Content) -> None:
    hdf5.write_legacy(path, content.tensors, content.metadata)


def _write_counted(path: Path, content: Content) -> None:
    hdf5.write_counted(path, content.tensors, content.metadata, content.layer_names)


def _write_keras(path: Path, content: Content) -> None:
    """The three members that Keras stores, none of them compressed."""
    weights = path.with_name(f"{path.name}.h5")
    try:
        _write_counted(weights, content)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": KERAS_VERSION}))
            archive.writestr("config.json", json.dumps(content.config))
            archive.write(weights, KERAS_MEMBER)
    finally:
        weights.unlink(missing_ok=True)


WRITERS: dict[str, Callable[[Path, Content], None]] = {
    "safetensors": _write_safetensors,
    "torch": _write_torch,
    "h5": _write_legacy,
    "weights.h5": _write_counted,
    "keras": _write_keras,
    "npz": _write_npz,
}
