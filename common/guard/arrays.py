"""Arrays out of whatever a test has: tensors of any framework, numbers, lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UsageError, reason

NUMBERS = "fiub"  # NumPy's kinds of types: floating-point and whole numbers, and truth values


def array_of(value: Any) -> np.ndarray:
    """An array of any framework's tensor; bfloat16, which NumPy lacks, as float32.

    Raises:
        UsageError: it holds no numbers.
    """
    if hasattr(value, "detach"):  # part of a graph that is differentiated, or on a GPU
        value = value.detach().cpu()
        value = value.float() if str(value.dtype).endswith("bfloat16") else value
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever a library raises of its own
        raise UsageError(f"this is no array of numbers: {reason(error)}") from error
    if array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.kind not in NUMBERS:
        raise UsageError(f"{type(value).__qualname__} is no array of numbers")
    return array
