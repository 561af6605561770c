"""What is recorded of a program that is watched while it runs, in whichever framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends.trace import Trace
from .outputs import leaves
from .program import Outputs


class Recording:
    """The values of a program, and which tensor is which of them.

    A tensor is known by its identity, and none is let go, so that no other takes its place.
    """

    def __init__(self, program: str, instead: Mapping[str, np.ndarray]) -> None:
        self.program, self.instead = program, instead
        self.begin()

    def begin(self) -> None:
        """Forget what an earlier attempt to run the program has left."""
        self.found = Trace()
        self.origins: dict[int, str | None] = {}  # of a tensor: its step; None is an input
        self.held: list[Any] = []

    def own(self, tensor: Any, origin: str | None) -> None:
        """Know a tensor as the value of a step, or as an input."""
        self.held.append(tensor)
        self.origins[id(tensor)] = origin

    def close(self, output: Any, outputs: Outputs) -> None:
        """Add the outputs, each with the step whose value it is."""
        tensors = dict(leaves(output))
        for name, value in outputs.items():
            if value.dtype.kind == "f":
                origin = self.origins.get(id(tensors[name]))
                self.found.keep(name, value, None if origin is None else (origin,))
