"""Canonical weights: one name, one shape and one orientation for every tensor of a network.

Names are those of `Network.tensors`.  Kernels are (out, in, height, width), depthwise kernels
(channels, 1, height, width), the classifier (classes, features); a batch norm is `scale`,
`bias`, `mean` and `variance`.  Files are safetensors with the network in the metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from .._util.atomic import replacing
from ..errors import FileError, WeightsError
from ..network import Network
from .metadata import metadata, network_from

Weights = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]
LISTED = 5  # names shown of each kind of mismatch


class Shaped(Protocol):
    """What has a shape and a type: an array, or a tensor that is still in its file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values along each axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a value."""


def check(expected: Shapes, weights: Mapping[str, Shaped]) -> None:
    """Compare names and shapes both ways, before anything is copied.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not of floats.
    """
    check_shapes(expected, {name: tuple(array.shape) for name, array in weights.items()})
    integers = [name for name, array in weights.items() if array.dtype.kind != "f"]
    if integers:
        raise WeightsError(f"{len(integers)} tensors are not floating point: {_listed(integers)}")


def check_shapes(expected: Shapes, found: Shapes) -> None:
    """Compare names and shapes both ways.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    misshapen = [
        f"{name} {found[name]} for {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(problems.values()):
        text = "; ".join(
            f"{len(names)} {kind}: {_listed(names)}" for kind, names in problems.items() if names
        )
        raise WeightsError(f"the weights do not fit the network: {text}")


def fingerprint(weights: Mapping[str, ArrayLike]) -> str:
    """SHA-256 of canonical names, shapes and values: the same in every layout and format.

    `weights` are arrays, or whatever NumPy makes arrays of, by canonical name.  Values are hashed
    as float32, the type that every layout can hold.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name], np.float32)
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def unusable(weights: Mapping[str, ArrayLike]) -> dict[str, str]:
    """Which tensors no network can compute with, and why: a value is no number, or cannot be.

    `weights` are those that `fingerprint` takes.
    """
    found = {}
    for name, stored in weights.items():
        values = np.asarray(stored, np.float32)
        if not np.isfinite(values).all():
            found[name] = "holds NaN" if np.isnan(values).any() else "holds infinity"
        elif name.endswith(".variance") and values.size and values.min() < 0:
            found[name] = "holds a variance below 0"
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def save(
    path: str | Path, network: Network, weights: Weights, further: Mapping[str, str] | None = None
) -> None:
    """Write canonical weights, with what it takes to rebuild their network in the metadata.

    `further` goes into the metadata too.

    Raises:
        WeightsError: the weights are not this network's.
        RosettaError: the file cannot be written.
    """
    check(network.tensors, weights)
    # safetensors writes the buffer as it lies in memory, whatever the strides say.
    tensors = {name: np.ascontiguousarray(weights[name]) for name in network.tensors}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={**metadata(network), **(further or {})})


def load(path: str | Path) -> tuple[Network, Weights]:
    """Read canonical weights and the network they belong to.

    Raises:
        RosettaError: no such file, not a safetensors file, or not one written by `save`.
        WeightsError: the tensors are not those of the network in the metadata.
    """
    if not Path(path).is_file():
        raise FileError(path, "no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            network = network_from(path, file.metadata())
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            check(network.tensors, found)
    except (SafetensorError, OSError) as error:
        raise FileError(path, f"is not a safetensors file ({error})") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return network, {name: found[name] for name in network.tensors}
