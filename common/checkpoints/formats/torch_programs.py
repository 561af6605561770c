"""Weights beside programs: what `torch.export` and TorchScript keep in their archives.

The programs are not read.  An archive of `torch.export` lists its tensors in JSON, and has the
bytes of each as a member; one of TorchScript pickles its module, attribute by attribute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .torch_objects import AXES_LIMIT, DTYPES, DamagedError, Storage, Tensor

PROGRAM = "program"  # the key of our metadata that says what else is in an archive
SCRIPTED = "TorchScript program, which is not read"
EXPORTED = "torch.export program, which is not read"
PICKLED = "a whole module, of which only the weights are read"
# A member of an archive, below the folder that everything is in.
CONFIG = re.compile(r"^[^/]*/data/weights/[^/]*_weights_config\.json$")
CONFIG_LIMIT = 1 << 25  # bytes
TENSORS_LIMIT = 1 << 16
# By their numbers in PyTorch's schema of exported programs.
NUMBERED = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    13: "bfloat16",
}


def flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    """What is in the dictionaries of a module, under the names that a state dict gives it."""
    return dict(_flat(tables, ""))


def _flat(tables: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def listed(content: bytes, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The tensors that the JSON of an archive lists, whose storages are members of known sizes.

    Raises:
        DamagedError: the list contradicts itself or the archive, or a tensor is not dense.
    """
    found = json.loads(content)
    entries = found.get("config") if isinstance(found, dict) else None
    if not isinstance(entries, dict) or len(entries) > TENSORS_LIMIT:
        raise DamagedError("it does not list its weights as torch.export does")
    return {name: _tensor(entry, sizes) for name, entry in entries.items()}


def _tensor(entry: Any, sizes: Mapping[str, int]) -> Tensor:
    try:
        said, member = entry["tensor_meta"], str(entry["path_name"])
        shape, strides = (_numbers(said[name]) for name in ("sizes", "strides"))
        (offset,) = _numbers([said["storage_offset"]])
        kind = NUMBERED.get(said["dtype"])
        pickled = entry.get("use_pickle")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamagedError("it does not describe a weight as torch.export does") from None
    if kind is None or pickled:
        raise DamagedError("it has a weight that is no plain array of numbers")
    if len(shape) != len(strides) or len(shape) > AXES_LIMIT or member not in sizes:
        raise DamagedError("it lists a weight that is not in it")
    dtype = DTYPES[kind]
    return Tensor(Storage(member, dtype, sizes[member]), dtype, offset, shape, strides)


def _numbers(entries: Any) -> tuple[int, ...]:
    numbers = tuple(entry["as_int"] for entry in entries)
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
        raise ValueError("no sizes")
    return numbers
