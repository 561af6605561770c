"""TensorFlow's checkpoints, as data: names and arrays, no graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import reading
from common.formats.stored import Stored


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The variables of a checkpoint by name, given its prefix; none of them is read yet.

    Raises:
        RosettaError: damaged, or a part of it is missing.
    """
    import tensorflow as tf

    with reading(path, "a TensorFlow checkpoint"):
        reader = tf.train.load_checkpoint(str(path))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        numbers = {name: dtypes[name].as_numpy_dtype for name in shapes if dtypes[name].is_numeric}
        stored = {
            name: Stored(
                name, tuple(shapes[name]), np.dtype(kind), partial(_read, path, reader, name)
            )
            for name, kind in numbers.items()
        }
    return stored, {}


def _read(path: str | Path, reader: Any, name: str) -> np.ndarray:
    with reading(path, "a TensorFlow checkpoint"):
        return np.asarray(reader.get_tensor(name))


def write_checkpoint(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write variables under their names: `path`.index and `path`.data-00000-of-00001.

    A checkpoint has room for variables only, so the metadata is dropped.
    """
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=[tf.constant(array) for array in arrays.values()],
    )
