"""A program's operations in forward order, each with its value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """One operation: its name, its value, and the names of the earlier steps that it reads.

    What it is called in its framework, and the weights that it reads, are known where the framework
    says so.
    """

    name: str
    value: np.ndarray  # (N, ...), channels first or last
    inputs: tuple[str, ...] = ()
    operation: str = ""  # such as "convolution", "Conv2D", "Gemm"
    constants: tuple[np.ndarray, ...] = ()  # in the order in which they are read


class Trace(list[Step]):
    """Steps in forward order, each reading the one before where nothing else is said."""

    def __init__(self, steps: Iterable[Step] = ()):
        super().__init__(steps)
        self.names = {step.name for step in self}

    def keep(
        self,
        name: str,
        value: np.ndarray,
        inputs: tuple[str, ...] | None = None,
        operation: str = "",
        constants: tuple[np.ndarray, ...] = (),
    ) -> None:
        """Append an operation; a name that is taken gets a number."""
        unique, number = name, 2
        while unique in self.names:
            unique, number = f"{name} {number}", number + 1
        self.names.add(unique)
        if inputs is None:
            inputs = (self[-1].name,) if self else ()
        self.append(Step(unique, value, inputs, operation, constants))
