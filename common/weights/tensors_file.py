"""Safetensors files, written so that equal tensors make equal bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  NumPy knows bfloat16 by its name once it is imported
import numpy as np

# From the types of safetensors to NumPy's, where a tensor can be a weight or a counter.
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

# What else NumPy has of safetensors' types: no weights, but what programs may compute.
OTHER_DTYPES = {"BOOL": "bool", "U16": "uint16", "U32": "uint32", "U64": "uint64"}


def write(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Length of the header, header, tensors one after another (safetensors' README, "Format").

    `tensors` are arrays, or whatever has a shape and a type and NumPy makes an array of.  The
    library's own function takes all tensors at once, which is twice the memory of a file, and
    orders the metadata as chance has it.

    Raises:
        OSError: there is no room for it.
    """
    dtypes = SAFETENSORS_DTYPES | OTHER_DTYPES
    kinds = {np.dtype(name): kind for kind, name in dtypes.items()}
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for key, tensor in tensors.items():
        start, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        kind, shape = kinds[tensor.dtype], list(tensor.shape)
        header[key] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # so that tensors begin at a multiple of their size
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).data.cast("B"))
