"""A program's operations in forward order, each with its value."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

import numpy as np

IN_MEMORY = 2**28  # bytes of a trace's values; those that come after lie in a file


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
        self.bytes = 0
        self.file: IO[bytes] | None = None  # gone with the last value that lies in it

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
        self.append(Step(unique, self._stored(value), inputs, operation, constants))

    def _stored(self, value: np.ndarray) -> np.ndarray:
        """A value, which is in a file if there are too many for the memory of most machines."""
        self.bytes += value.nbytes
        if self.bytes <= IN_MEMORY or not value.nbytes:
            return value
        if self.file is None:
            self.file = TemporaryFile()  # noqa: SIM115 - open as long as a value is read from it
        place = self.file.seek(0, os.SEEK_END)
        self.file.write(np.ascontiguousarray(value).data)
        self.file.flush()
        return np.asarray(np.memmap(self.file, value.dtype, "r", place, value.shape))
