"""Functions of anybody's: arrays in, arrays out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import RosettaError
from .arranging import Arranger
from .contract import CONTRACT
from .outputs import named
from .program import (
    FLOAT32,
    FLOAT64,
    NCHW,
    Given,
    Input,
    OpaqueProgram,
    Outputs,
    check_unchanged,
    told_as_errors_of,
)

JAX = "jax"
# The packages of what JAX and the libraries on it make: functions, and models that can be called.
OF_JAX = {JAX, "jaxlib", "flax", "equinox"}


class FunctionProgram(OpaqueProgram):
    """A function of NumPy arrays, in whatever it is written; JAX's take them as they are."""

    precisions = (FLOAT32, FLOAT64)

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, layout: str | None = None
    ):
        self.function = function
        self.name = name or str(getattr(function, "__qualname__", type(function).__qualname__))
        in_jax = _package(function) in OF_JAX
        self.kind = "JAX function" if in_jax else "function"
        # JAX's own layers keep channels last, and its operations take either.
        self.arranger = Arranger(self.name, layout, None if in_jax else NCHW)

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """A function says nothing of them."""
        return None

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """What it returns.

        Raises:
            UnfitError: it writes into its inputs.
            RosettaError: it fails, returns something else than numbers, or those of float32 where
                they were to be of float64.
        """
        given = given.in_precision(precision)
        outputs = self.arranger.call(given, None, lambda given: self._called(given, precision))
        floats = [value for value in outputs.values() if value.dtype.kind == "f"]
        if precision == FLOAT64 and floats and not any(map(_is_of_float64, floats)):
            raise RosettaError(f"{self.name} is given float64, and computes in float32")
        return outputs

    def _called(self, given: Given, precision: str) -> Outputs:
        handed = given.changed([np.array(array) for array in given.arrays])
        with told_as_errors_of(self.name, f"; {CONTRACT}"), _wide(precision):
            values = self.function(*handed.args, **handed.kwargs)
            outputs = named(values, self._array)
        if not outputs:
            raise RosettaError(f"{self.name} returns nothing that could be compared; {CONTRACT}")
        check_unchanged(self.name, given.arrays, handed.arrays)
        return outputs

    def _array(self, value: Any) -> np.ndarray:
        if hasattr(value, "detach"):  # PyTorch's, of which NumPy does not take all
            value = value.detach().cpu()
            value = value.float() if str(value.dtype).endswith("bfloat16") else value
        array = np.array(value)
        if array.dtype.kind not in "fiubcV":
            raise RosettaError(
                f"{self.name} returned {type(value).__module__}.{type(value).__qualname__}, "
                f"which is no array of numbers; {CONTRACT}"
            )
        return array


def _package(function: Any) -> str:
    """The package of what a function is, below what only hands on its arguments."""
    function = getattr(function, "func", function)  # of functools.partial
    function = getattr(function, "__self__", None) or function
    return type(function).__module__.partition(".")[0]


@contextmanager
def _wide(precision: str) -> Iterator[None]:
    """Let JAX, if it is there at all, have float64 while a function runs in it."""
    jax = sys.modules.get(JAX)
    if precision != FLOAT64 or jax is None:
        yield
        return
    with jax.enable_x64(True):
        yield


def _is_of_float64(value: np.ndarray) -> bool:
    """Whether numbers have digits that float32 does not."""
    if value.dtype != np.float64:
        return False
    with np.errstate(over="ignore"):
        return not np.array_equal(value.astype(np.float32), value, equal_nan=True)
