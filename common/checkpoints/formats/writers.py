"""Writing checkpoint files, each of which appears only once it is whole."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..._util.atomic import folder_beside, naming, replacing
from . import hdf5, tensor_bundle, torch_file
from .checkpoint import Content
from .detect import (
    CHECKPOINT,
    KERAS_ARCHIVE,
    KERAS_MEMBER,
    PYTORCH_FILE,
    SAFETENSORS_DTYPES,
    index_of,
)

KERAS_VERSION = "3.15.1"  # whose files ours look like


# ------------------------------------------------------------------ writing


def write(
    path: str | Path,
    kind: str,
    content: Content,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Write tensors in a format; the file appears only once it is whole.

    `check` is given what was written while that is still aside, and may raise to leave `path` as
    it is.

    Raises:
        RosettaError: the file cannot be written.
    """
    if kind == CHECKPOINT:
        _write_checkpoint(Path(path), content, check)
        return
    with replacing(path) as temporary:
        WRITERS[kind](temporary, content)
        if check is not None:
            check(temporary)


def _write_checkpoint(prefix: Path, content: Content, check: Callable[[Path], None] | None) -> None:
    """Several files: written aside, then moved, the index that makes them one last of all."""
    with (
        replacing(index_of(prefix)) as index,
        folder_beside(prefix) as folder,
        naming(prefix, folder),
    ):
        aside = folder / prefix.name
        tensor_bundle.write(aside, content.tensors)
        if check is not None:
            check(aside)
        index_of(aside).replace(index)
        for part in folder.iterdir():
            part.replace(prefix.parent / part.name)


def _write_safetensors(path: Path, content: Content) -> None:
    """Length of the header, header, tensors one after another (safetensors' README, "Format").

    The library's own function takes all tensors at once, which is twice the memory of a file.
    """
    kinds = {np.dtype(name): kind for kind, name in SAFETENSORS_DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(sorted(content.metadata.items()))}
    end = 0
    for key, tensor in content.tensors.items():
        start, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        kind, shape = kinds[tensor.dtype], list(tensor.shape)
        header[key] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # so that tensors begin at a multiple of their size
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in content.tensors.values():
            file.write(np.ascontiguousarray(tensor.read()).data.cast("B"))


def _write_torch(path: Path, content: Content) -> None:
    torch_file.write(path, content.tensors, content.metadata)


def _write_npz(path: Path, content: Content) -> None:
    """What `numpy.savez` writes, tensor by tensor."""
    kinds = np.array(["var"] * len(content.tensors))
    lists = {"names": np.array(list(content.tensors)), "types": kinds}
    tensors = {str(number): tensor for number, tensor in enumerate(content.tensors.values())}
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        for name in (*lists, *tensors):
            array = lists[name] if name in lists else np.ascontiguousarray(tensors[name].read())
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


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
    PYTORCH_FILE: _write_torch,
    "h5": _write_legacy,
    "weights.h5": _write_counted,
    KERAS_ARCHIVE: _write_keras,
    "npz": _write_npz,
}
