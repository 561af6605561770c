"""What a program is to a comparison: inputs in, named arrays out, and every value on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..backends.trace import Trace

FLOAT32, FLOAT64 = "float32", "float64"
Outputs = dict[str, np.ndarray]  # by name, in the order in which the program returns them


@dataclass(frozen=True)
class Given:
    """What a program is called with: arrays by position, and arrays by name."""

    args: tuple[np.ndarray, ...] = ()
    kwargs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> Given:
        """One array, several, or some by name."""
        if isinstance(inputs, Mapping):
            return cls((), {name: np.asarray(value) for name, value in inputs.items()})
        if isinstance(inputs, Sequence) and not isinstance(inputs, np.ndarray):
            return cls(tuple(map(np.asarray, inputs)))
        return cls((np.asarray(inputs),))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All of them."""
        return (*self.args, *self.kwargs.values())

    def changed(self, arrays: Sequence[np.ndarray]) -> Given:
        """The same with other arrays, in the order of `arrays`."""
        first = len(self.args)
        named = dict(zip(self.kwargs, arrays[first:], strict=True))
        return Given(tuple(arrays[:first]), named)

    def in_precision(self, precision: str) -> Given:
        """The same, its floating-point arrays in a precision; whole numbers stay what they are."""
        return self.changed(
            [a.astype(precision) if a.dtype.kind == "f" else a for a in self.arrays]
        )


@dataclass(frozen=True)
class Input:
    """What a program says of one of its inputs; a side that is open is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class GuardedProgram(Protocol):
    """A program of anybody's."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def kind(self) -> str:
        """What it is, in words: "torch.nn.Module", "ONNX file"."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it can be run in: float32, and float64 where it can be told to."""

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """What it says of its inputs; None where it says nothing."""

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs.

        Raises:
            RosettaError: it fails, or returns something else than arrays.
        """

    def trace(self, given: Given, precision: str = FLOAT32) -> Trace:
        """Every floating-point value on the way, each with those that it is made from.

        The outputs come last, under the names of `run`.

        Raises:
            RosettaError: as `run`.
        """
