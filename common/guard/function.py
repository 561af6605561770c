"""Functions of anybody's: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backends.trace import Trace
from ..errors import RosettaError, reason
from .program import FLOAT32, Given, Input, Outputs

CONTRACT = (
    "a function is given NumPy arrays, as many as there are inputs, images as (N, C, H, W) of "
    "float32, and returns an array, several, or some by name"
)


class FunctionProgram:
    """A function of NumPy arrays, in whatever it is written; JAX's take them as they are."""

    kind = "function"
    precisions = (FLOAT32,)

    def __init__(self, function: Callable[..., Any], name: str | None = None):
        self.function = function
        self.name = name or str(getattr(function, "__qualname__", type(function).__qualname__))

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """A function says nothing of them."""
        return None

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """What it returns."""
        given = given.in_precision(precision)
        try:
            values = self.function(*given.args, **given.kwargs)
        except Exception as error:  # whatever somebody else's code raises
            raise RosettaError(
                f"{self.name}: {type(error).__name__}: {reason(error)}; {CONTRACT}"
            ) from error
        return self._named(values)

    def trace(self, given: Given, precision: str = FLOAT32) -> Trace:
        """Its outputs; nothing is seen inside of a function."""
        found = Trace()
        for name, value in self.run(given, precision).items():
            found.keep(name, value)
        return found

    def _named(self, values: Any) -> Outputs:
        if isinstance(values, Mapping):
            return {str(name): self._array(value) for name, value in values.items()}
        if isinstance(values, Sequence):
            return {f"output {place}": self._array(value) for place, value in enumerate(values)}
        return {"output": self._array(values)}

    def _array(self, value: Any) -> np.ndarray:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        if array.dtype.kind not in "fiub":
            raise RosettaError(
                f"{self.name} returned {type(value).__module__}.{type(value).__qualname__}, "
                f"which is no array of numbers; {CONTRACT}"
            )
        return array
