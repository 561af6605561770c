"""Inputs for programs of anybody's, made from what these say that they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .program import Given, GuardedProgram


def inputs_for(
    programs: Sequence[GuardedProgram],
    *,
    seed: int = 0,
    batch: int = 2,
    size: int | None = None,
    path: str | Path | None = None,
) -> list[Given]:
    """Inputs that all programs take, from what any of them declares.

    They differ in the number of examples, 1 and `batch`, and in size where that is open: `size`
    pixels, and an odd number.  `path` is an image, a folder of them, or an .npy or .npz file, whose
    arrays are inputs by name.

    Raises:
        UsageError: no program says what it takes, or `path` has nothing of it.
        FileError: `path` cannot be read.
    """
    raise NotImplementedError
