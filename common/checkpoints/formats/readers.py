"""Reading checkpoint files as data: nothing in them is executed or followed."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from ..._util.files import opened
from ...errors import FileError, reading
from ...weights.tensors_file import SAFETENSORS_DTYPES
from . import (
    distributed,
    folders,
    hdf5,
    keras_config,
    npz,
    onnx_file,
    tensor_bundle,
    torch_file,
    torch_programs,
    wrappers,
)
from .checkpoint import Checkpoint
from .detect import (
    CHECKPOINT,
    KERAS_ARCHIVE,
    KERAS_MEMBER,
    PYTORCH_FILE,
    SAVED_MODEL,
    detect,
)
from .lazy import LazyTensor

WHOLE_MODEL = "model_weights/"  # in a legacy .h5
NAME_LIMIT = 4096  # characters; every name is looked at by every layout
KERAS_CONFIG = "config.json"  # in a .keras archive
EXPORTED = re.compile(r"variables/(\d+)/\.ATTRIBUTES/VARIABLE_VALUE")


def read(path: str | Path, raw: bool = False) -> Checkpoint:
    """Read a file of any format; `raw` prefers the raw weights to their moving average.

    Raises:
        RosettaError: the file is missing, damaged, of no known format or not plain data.
    """
    format, place = folders.resolved(Path(path))
    found = READERS[format](place, raw)
    longest = max(map(len, found.tensors), default=0)
    if longest > NAME_LIMIT:
        raise FileError(path, f"has a name of {longest:,} characters, which no tensor has")
    return found


# ------------------------------------------------------------------ reading


def _by_key(stored: Iterable[LazyTensor]) -> dict[str, LazyTensor]:
    return {tensor.key: tensor for tensor in stored}


def _read_safetensors(path: Path, raw: bool) -> Checkpoint:
    # Not mapped into memory: a mapped file counts as memory in full once it was read through.
    with reading(path, "safetensors"):
        file = safe_open(path, framework="numpy", backend="pread")
        content = {key: _in_safetensors(path, file, key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    return Checkpoint(path, "safetensors", content, metadata)


def _in_safetensors(path: Path, file: safe_open, key: str) -> LazyTensor:
    part = file.get_slice(key)
    kind = part.get_dtype()
    if kind not in SAFETENSORS_DTYPES:
        raise FileError(path, f"{key} is in {kind}, which is no type for weights")

    def load() -> np.ndarray:
        with reading(path, "safetensors"):
            values: np.ndarray = file.get_tensor(key)
        return values

    return LazyTensor(key, tuple(part.get_shape()), np.dtype(SAFETENSORS_DTYPES[kind]), load)


def _read_torch(path: Path, raw: bool) -> Checkpoint:
    content, metadata = torch_file.read(path)
    flat = wrappers.flatten(content)
    if not flat.tensors:
        raise FileError(path, "holds no tensors; save a model's state_dict()")
    program = tuple(said for key, said in metadata.items() if key == torch_programs.PROGRAM)
    return Checkpoint(
        path, PYTORCH_FILE, flat.tensors, metadata, program, tables=frozenset(flat.tables)
    )


def _read_checkpoint(path: Path, raw: bool) -> Checkpoint:
    tensors, averaged, beside = wrappers.averages(tensor_bundle.read(path), raw)
    around = (wrappers.SHADOW.strip("/"),) if averaged else ()
    return Checkpoint(path, CHECKPOINT, tensors, {}, around, beside=beside, averaged=averaged)


def _read_saved_model(path: Path, raw: bool) -> Checkpoint:
    """The variables of a SavedModel; its graph, which is a program, is not read."""
    content = tensor_bundle.read(path / "variables" / "variables")
    model = keras_config.of_saved_model(path)
    return Checkpoint(path, SAVED_MODEL, _numbered(content), model=model)


def _numbered(content: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Keras 3's list of variables without the seeds and counters in it: `variables/0`, ..."""
    listed = {int(m[1]): key for key in content if (m := EXPORTED.fullmatch(key))}
    floats = [listed[n] for n in sorted(listed) if content[listed[n]].is_float]
    renamed = {key: f"variables/{number}" for number, key in enumerate(floats)}
    return {renamed.get(key, key): stored for key, stored in content.items()}


def _read_hdf5(path: Path, raw: bool) -> Checkpoint:
    stored, names, metadata, config = hdf5.read(path)
    model = None if config is None else keras_config.parsed(config)
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
        around = ("saved model",)
        return Checkpoint(path, "h5", inside, metadata, around, beside=beside, model=model)
    counted = any("vars" in key.split("/") for key in tensors)
    return Checkpoint(path, "weights.h5" if counted else "h5", tensors, metadata, (), names)


def _read_keras(path: Path, raw: bool) -> Checkpoint:
    """The weights of a .keras archive; its configuration, which is code to Keras, is data here."""
    with (
        reading(path, "a .keras archive"),
        opened(path) as file,
        zipfile.ZipFile(file) as archive,
    ):
        member = archive.getinfo(KERAS_MEMBER)
        if member.file_size > member.compress_size:  # Keras stores it as it is
            raise FileError(path, "its weights are compressed; save the model again")
        content = archive.read(member)
        model = _keras_config(path, archive)
    stored, names, metadata, _ = hdf5.read(path, lambda: io.BytesIO(content))
    return Checkpoint(path, KERAS_ARCHIVE, _by_key(stored), metadata, (), names, model=model)


def _keras_config(path: Path, archive: zipfile.ZipFile) -> Mapping[str, Any] | None:
    """What an archive says of its model; nothing where it is larger than the archive claims."""
    if KERAS_CONFIG not in archive.namelist():
        return None
    info = archive.getinfo(KERAS_CONFIG)
    if info.file_size > min(path.stat().st_size, keras_config.LIMIT):
        return None
    return keras_config.parsed(archive.read(info))


def _read_npz(path: Path, raw: bool) -> Checkpoint:
    return Checkpoint(path, "npz", npz.read(path))


def _read_shards(path: Path, raw: bool) -> Checkpoint:
    """The files that an index names, each with the tensors that it is said to have."""
    tensors: dict[str, LazyTensor] = {}
    kinds = set()
    parts = folders.shards(path)
    for part, keys in parts.items():
        found = READERS[detect(part)](part, raw)
        kinds.add(found.format)
        absent = [key for key in keys if key not in found.tensors]
        if absent:
            raise FileError(path, f"says that {part.name} has {absent[0]!a}, which it has not")
        tensors |= {key: found.tensors[key] for key in keys}
    if len(kinds) > 1 or not kinds <= {"safetensors", PYTORCH_FILE}:
        raise FileError(path, "names files of other formats than safetensors or PyTorch's")
    return Checkpoint(path, kinds.pop(), tensors, parts=tuple(parts))


def _read_distributed(path: Path, raw: bool) -> Checkpoint:
    """What `torch.distributed.checkpoint`, or Lightning by it, saved."""
    tensors = distributed.read(path)
    if not tensors:
        raise FileError(path, "holds no tensors")
    tables = frozenset(key.partition(".")[0] for key in tensors if "." in key)
    return Checkpoint(path, PYTORCH_FILE, tensors, tables=tables)


def _read_onnx(path: Path, raw: bool) -> Checkpoint:
    """The initializers of a graph, under the names that an exporter left them."""
    tensors, metadata = onnx_file.read(path)
    return Checkpoint(path, "onnx", tensors, metadata)


def _read_tflite(path: Path, raw: bool) -> Checkpoint:
    """Nothing yet: the tensors have no names that mean anything, so `graphs/` reads the graph."""
    return Checkpoint(path, "tflite", {})


READERS: dict[str, Callable[[Path, bool], Checkpoint]] = {
    "safetensors": _read_safetensors,
    PYTORCH_FILE: _read_torch,
    CHECKPOINT: _read_checkpoint,
    SAVED_MODEL: _read_saved_model,
    "hdf5": _read_hdf5,
    KERAS_ARCHIVE: _read_keras,
    "npz": _read_npz,
    "onnx": _read_onnx,
    folders.SHARDED: _read_shards,
    folders.DISTRIBUTED: _read_distributed,
    "tflite": _read_tflite,
}
