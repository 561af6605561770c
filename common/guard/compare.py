"""Any two programs compared, whatever they are written in: `rosetta.compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .._util.quiet import silent_libraries
from ..architectures import changed
from ..errors import RosettaError, UsageError
from ..images.decode import PHOTOGRAPH, photograph
from .arranging import layout_of
from .checkpoint import CheckpointProgram
from .finding import Finding
from .inputs import inputs_for
from .judge import judge_all
from .program import FLOAT32, Given, GuardedProgram, Input
from .recognise import program_of

SIDE = 224  # pixels of the photograph that functions are given, which do not say what they take
Inputs = str | Path | np.ndarray | Mapping[str, np.ndarray] | Sequence[np.ndarray]


def compare(
    first: str | Path | Callable[..., Any] | Any,
    second: str | Path | Callable[..., Any] | Any,
    *,
    input: Inputs | None = None,
    layout: str | tuple[str | None, str | None] | None = None,
    seed: int = 0,
    dialect: str | None = None,
    tolerance: float | None = None,
    atol: float | None = None,
    after: tuple[str, str] | None = None,
) -> Finding:
    """Run any two programs on the same inputs, and find the first operation that differs.

    A program is a model of PyTorch or Keras, an exported one, an ONNX or TFLite model, a
    SavedModel, a function of arrays, the file or folder of one of these, "module:function", a
    checkpoint of any layout, or the name of a published one as `load` takes it.  A function is
    given NumPy arrays, images as (N, C, H, W) of float32 and of float64, and returns an array of
    numbers with N first, several, or some by name.

    `input` is an array, several, some by name, an image, a folder of images, or an .npy or .npz
    file, whose arrays are inputs by name where there are several; by default it is made from what
    the programs say that they take, with the random numbers of `seed`, and is the built-in
    photograph where they say nothing.  `layout` is the order of the axes of the images that the
    programs take, "NCHW" or "NHWC", or one for each; it is found out where they tell it.  `dialect`
    is for checkpoints that leave theirs open.

    `tolerance` is the largest difference of any output that is allowed, in standard deviations of
    the first program's output, and `atol` the same in the output's own units.  By default it is
    what rounding is seen to explain, for these programs on these inputs; both are run in float64
    where they can be.  `after` names a value of each program: only what follows is run, from the
    first's value.

    Where several inputs were made, the finding is of those on which the outputs are furthest apart.

    Raises:
        UsageError: an argument is outside its range, or the programs do not take the input.
        FileError: a program cannot be read or imported.
        RosettaError: a program fails, or the outputs have shapes that cannot be compared.
    """
    _check(tolerance, atol, seed)
    layouts = layout if isinstance(layout, tuple) else (layout, layout)
    one, other = (
        program_of(what, layout=order, dialect=dialect)
        for what, order in zip((first, second), layouts, strict=True)
    )
    checkpoints = [side for side in (one, other) if isinstance(side, CheckpointProgram)]
    if len(checkpoints) == 2:
        same_head(*checkpoints)
    givens = _givens((one, other), input, layouts[0] if layouts[0] == layouts[1] else None, seed)
    with silent_libraries():
        found = judge_all((one, other), givens, tolerance, after, atol=atol, inside=True)[0]
    if found.incomparable:
        raise RosettaError(str(found.unfit))
    if len(checkpoints) == 2 and not found.agree:
        found = _with_tensors(found, *checkpoints)
    return found


def _with_tensors(found: Finding, first: CheckpointProgram, second: CheckpointProgram) -> Finding:
    """The same with the tensors that differ; if none do, they are not the likely mistake."""
    tensors = tuple(weight_differences(first, second))
    wrong = not tensors and found.kind is not None and found.kind.name == "weights"
    return replace(found, tensors=tensors, kind=None if wrong else found.kind)


def _check(tolerance: float | None, atol: float | None, seed: int) -> None:
    if tolerance is not None and atol is not None:
        raise UsageError("give a tolerance or an atol, not both", argument="atol")
    if tolerance is not None and not 0 < tolerance < 1:
        raise UsageError(
            f"tolerance is {tolerance}; it must be above 0 and below 1", argument="tolerance"
        )
    if atol is not None and not 0 < atol < float("inf"):
        raise UsageError(f"atol is {atol}; it must be above 0", argument="atol")
    if seed < 0:
        raise UsageError(f"seed is {seed}; it must be at least 0", argument="seed")


def _givens(
    programs: Sequence[GuardedProgram], inputs: Inputs | None, layout: str | None, seed: int
) -> list[Given]:
    """What both programs are given."""
    if inputs is None and not any(program.inputs for program in programs):
        inputs = photograph(PHOTOGRAPH, 3, (SIDE, SIDE))[None].astype(np.float32)
    if inputs is None or isinstance(inputs, str | Path):
        return inputs_for(programs, seed=seed, path=inputs)
    return [given_as(inputs, layout)]


def given_as(
    inputs: np.ndarray | Mapping[str, np.ndarray] | Sequence[np.ndarray], layout: str | None
) -> Given:
    """Arrays as inputs; their shape tells the order of axes of images, or else `layout` does."""
    given = Given.of(inputs)
    for array in given.arrays:
        said = Input("", array.shape, FLOAT32)
        if (order := layout_of(said, layout)) is not None:
            return replace(given, layout=order)
    return given


def weight_differences(first: CheckpointProgram, second: CheckpointProgram) -> list[str]:
    """Names of the tensors that differ, in forward order."""
    one, other = first.match.weights, second.match.weights
    return [
        name
        for name in first.network.tensors
        if name in other and not np.array_equal(np.asarray(one[name]), np.asarray(other[name]))
    ]


def same_head(first: CheckpointProgram, second: CheckpointProgram) -> None:
    """Compare features where the two have classifiers of different sizes.

    Raises:
        RosettaError: the checkpoints are of different presets.
    """
    if first.network.name != second.network.name:
        raise RosettaError(
            f"{first.name} is {first.network.name}, {second.name} is {second.network.name}; "
            "checkpoints of one preset can be compared"
        )
    if first.network.num_classes != second.network.num_classes:
        for side in (first, second):
            side.network = changed(side.network, num_classes=None)
