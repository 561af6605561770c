"""Inputs for programs of anybody's, made from what these say that they take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from .._util.files import is_file
from ..errors import FileError, UsageError
from ..images.sources import sources
from .arranging import layout_of, shape_in_words
from .example import Case, array_for
from .program import FLOAT32, NCHW, NHWC, Given, GuardedProgram, Input

SIDE, LENGTH = 224, 16  # of images and of other axes, where they are open
CHANNELS = 3
LARGEST = 2**24  # numbers of an example: 2,000 x 2,000 pixels of three or four channels
PICTURES = 16  # of a folder, at most
ARRAYS = (".npy", ".npz")
UNNAMED = "arr_"  # what NumPy calls arrays in an .npz file that were given no names


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
    arrays are inputs by name.  Images are (N, C, H, W).

    Raises:
        UsageError: no program says what it takes, or not all take the same, or `path` has nothing
            of it.
        FileError: `path` cannot be read.
    """
    if batch < 1 or (size is not None and size < 1):
        raise UsageError(f"batch is {batch} and size is {size}; they must be at least 1")
    declared = _declared(programs)
    if path is not None and Path(path).suffix in ARRAYS:
        return [_stored(Path(path), declared, programs)]
    if declared is None:
        if path is None and size is None:
            raise UsageError(
                f"{_listed([program.name for program in programs])} say nothing of their inputs; "
                "give these, or a size, for images of three channels",
                argument="input",
            )
        declared = [Input("images", (None, CHANNELS, None, None), FLOAT32, NCHW)]
    _check_size(programs, declared, size or SIDE)
    pictures = None if path is None else [str(one.name) for one in sources(path)][:PICTURES]
    if pictures is not None:
        _check_images(programs, declared, str(path))
    cases = _cases(declared, batch, size or SIDE, pictures)
    by_name = len(declared) > 1 and _share_names(programs, declared)
    random = np.random.default_rng(seed)
    found = []
    for case in cases:
        arrays = [array_for(one, case, random) for one in declared]
        names = [one.name for one in declared]
        found.append(
            Given((), dict(zip(names, arrays, strict=True))) if by_name else Given(tuple(arrays))
        )
    return found


# ------------------------------------------------------------------ what is declared


def _declared(programs: Sequence[GuardedProgram]) -> list[Input] | None:
    """What is known of the inputs from all programs together, images as (N, C, H, W).

    Raises:
        UsageError: two of them take something else.
    """
    found: list[Input] | None = None
    first = ""
    for program in programs:
        said = program.inputs
        if said is None:
            continue
        mine = [_channels_first(one) for one in said]
        if found is None:
            found, first = mine, program.name
            continue
        names = [one.name for one in mine]
        if len(found) != len(mine):
            raise UsageError(
                f"{first} takes {_listed([one.name for one in found])}, {program.name} takes "
                f"{_listed(names)}; give inputs that both take",
                argument="input",
            )
        if set(names) == {one.name for one in found}:
            mine = [mine[names.index(one.name)] for one in found]
        found = [
            _together(one, other, (first, program.name))
            for one, other in zip(found, mine, strict=True)
        ]
    return found


def _channels_first(said: Input) -> Input:
    if layout_of(said, NCHW) != NHWC:
        return said
    batch, height, width, channels = said.shape
    return replace(said, shape=(batch, channels, height, width), layout=NCHW)


def _together(one: Input, other: Input, programs: tuple[str, str]) -> Input:
    """What two programs say of an input: a side that one leaves open is as the other has it."""
    sides = zip(one.shape, other.shape, strict=False)
    if len(one.shape) != len(other.shape) or any(
        mine != theirs for mine, theirs in sides if None not in (mine, theirs)
    ):
        raise UsageError(
            f"{programs[0]} takes {shape_in_words(one.shape)} as {one.name}, {programs[1]} takes "
            f"{shape_in_words(other.shape)} as {other.name}; give inputs that both take",
            argument="input",
        )
    shape = tuple(a if b is None else b for a, b in zip(one.shape, other.shape, strict=True))
    whole = next((said.dtype for said in (one, other) if "float" not in said.dtype), one.dtype)
    return replace(one, shape=shape, dtype=whole)


def _share_names(programs: Sequence[GuardedProgram], declared: Sequence[Input]) -> bool:
    """Whether all programs call their inputs alike, so that these can be given by name."""
    names = {one.name for one in declared}
    for program in programs:
        said = program.inputs
        taken = getattr(program, "takes", None) if said is None else [one.name for one in said]
        if taken is None or not names <= set(taken):
            return False
    return True


def _check_size(programs: Sequence[GuardedProgram], declared: Sequence[Input], side: int) -> None:
    for one in declared:
        sides = [side if known is None else known for known in one.shape[1:]]
        if math.prod(sides) > LARGEST:
            raise UsageError(
                f"{programs[0].name} takes {shape_in_words(one.shape)} as {one.name}, which no "
                "memory is made for; give smaller inputs"
            )


def _check_images(programs: Sequence[GuardedProgram], declared: Sequence[Input], path: str) -> None:
    images = [one.name for one in declared if len(one.shape) == 4]
    if len(images) != 1:
        raise FileError(
            path,
            f"{programs[0].name} takes {_listed([one.name for one in declared])}, of which "
            f"{len(images)} are images; give an .npz file of all of them",
        )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


# ------------------------------------------------------------------ the cases


def _cases(
    declared: Sequence[Input], batch: int, side: int, pictures: Sequence[str] | None
) -> list[Case]:
    """Several numbers of examples, and sizes, as far as they are open."""
    fixed = next((one.shape[0] for one in declared if one.shape and one.shape[0] is not None), None)
    many = batch if fixed is None else fixed
    if pictures is not None:
        groups = [list(pictures[start : start + many]) for start in range(0, len(pictures), many)]
        if fixed is not None:  # the last group is filled up with the first pictures
            groups[-1] += [
                pictures[place % len(pictures)] for place in range(many - len(groups[-1]))
            ]
        return [Case(len(group), (side, side), LENGTH, 0, tuple(group)) for group in groups]
    odd = (side * 7 // 8) | 1, (side * 15 // 16) | 1
    return [
        Case(many, (side, side), LENGTH, 0),
        Case(1 if fixed is None else fixed, odd, LENGTH - 5, many),
    ]


# ------------------------------------------------------------------ arrays of files


def _stored(
    path: Path, declared: Sequence[Input] | None, programs: Sequence[GuardedProgram]
) -> Given:
    """What is in an .npy or .npz file.

    Raises:
        FileError: it cannot be read, or has other inputs than the programs take.
    """
    arrays = _arrays(path)
    if len(arrays) == 1 or all(name.startswith(UNNAMED) for name in arrays):
        given = Given(tuple(arrays.values()))
    else:
        given = Given((), arrays)
    if declared is None:
        return given
    names = [one.name for one in declared]
    if len(given.arrays) != len(names) or (given.kwargs and set(given.kwargs) != set(names)):
        raise FileError(
            path,
            f"holds {_listed(list(arrays))}; {programs[0].name} takes {_listed(names)}",
            argument="input",
        )
    return given


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    if not is_file(path):
        raise FileError(path, "no such file")
    try:
        found: np.ndarray | NpzFile = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {f"{UNNAMED}0": found}
        with found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError) as error:
        raise FileError(path, f"cannot be read as an array ({error})") from error
    if not arrays:
        raise FileError(path, "holds no arrays")
    return arrays
