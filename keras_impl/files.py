"""TensorFlow's checkpoints, as data: names and arrays, no graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import reading


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], set[str]]:
    """The variables of a checkpoint by name, given its prefix, and the dtypes they are stored in.

    Raises:
        RosettaError: damaged, or a part of it is missing.
    """
    import tensorflow as tf

    with reading(path, "a TensorFlow checkpoint"):
        reader = tf.train.load_checkpoint(str(path))
        arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    arrays = {name: a for name, a in arrays.items() if isinstance(a, np.ndarray | np.generic)}
    return arrays, {np.asarray(array).dtype.name for array in arrays.values()}


def write_checkpoint(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write variables under their names: `path`.index and `path`.data-00000-of-00001."""
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=[tf.constant(array) for array in arrays.values()],
    )
