"""Keras's HDF5 files: the legacy .h5 with names in attributes, and .weights.h5 with counters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from common.errors import RosettaError, reading

try:
    import h5py
except ModuleNotFoundError:  # it comes with the extra `keras`
    h5py = None

WHOLE_MODEL = "model_weights"
COUNTED = "layers"
ATTRIBUTE_LIMIT = 64_000  # bytes of one HDF5 attribute; Keras spreads longer lists over several


def flavour(path: Path) -> str:
    """ "weights.h5" for Keras 3's counters, "h5" for the legacy names.

    Raises:
        RosettaError: not an HDF5 file after all.
    """
    with _opened(path) as file:
        return "weights.h5" if COUNTED in file and "layer_names" not in file.attrs else "h5"


@contextmanager
def _opened(path: Path, mode: str = "r", content: BinaryIO | None = None) -> Iterator[h5py.File]:
    if h5py is None:
        raise RosettaError(
            f"{path}: HDF5 files need h5py; run: pip install 'efficientnet-rosetta[keras]'"
        )
    with reading(path, "HDF5"), h5py.File(content or path, mode) as file:
        yield file


def read(
    path: Path, content: BinaryIO | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Every dataset by its path, and whether the weights were those of a whole saved model.

    `content` is read in place of the file `path`, which it was found in.

    Raises:
        RosettaError: damaged, or a link in it leads out of the file.
    """
    with _opened(path, content=content) as file:
        arrays = dict(_datasets(path, file, ""))
    below = f"{WHOLE_MODEL}/"
    if any(key.startswith(below) for key in arrays):
        kept = {key.removeprefix(below): a for key, a in arrays.items() if key.startswith(below)}
        return kept, ("saved model",)
    return arrays, ()


def _datasets(path: Path, group: h5py.Group, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise RosettaError(f"{path}: {prefix}{name} is a link, which is not followed")
        member = group[name]
        if isinstance(member, h5py.Group):
            yield from _datasets(path, member, f"{prefix}{name}/")
        elif member.external or member.is_virtual:
            raise RosettaError(f"{path}: {prefix}{name} lies in another file; it is not followed")
        elif member.dtype.kind in "fiu":
            yield f"{prefix}{name}", member[()]


def write_legacy(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `{layer}/{layer}/{variable}:0` as Keras 2 does, with the names in attributes."""
    layers: dict[str, list[str]] = {}
    for key in arrays:
        layer, _, weight = key.partition("/")
        layers.setdefault(layer, []).append(weight)
    with _opened(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        _write_names(file, "layer_names", list(layers))
        for layer, weights in layers.items():
            group = file.create_group(layer)
            _write_names(group, "weight_names", weights)
            for weight in weights:
                group.create_dataset(weight, data=arrays[f"{layer}/{weight}"])


def _write_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    encoded = np.array([name.encode() for name in names])
    chunks = -(-encoded.nbytes // ATTRIBUTE_LIMIT)
    if chunks <= 1:
        group.attrs[attribute] = encoded
        return
    for number, chunk in enumerate(np.array_split(encoded, chunks)):
        group.attrs[f"{attribute}{number}"] = chunk


def write_counted(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write `layers/{class}_{n}/vars/{i}` as Keras 3 does."""
    with _opened(path, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array)
