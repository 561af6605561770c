"""Any two programs compared, whatever they are written in.  The answer of `rosetta.compare`.

Each is run on the same images and gives a trace; the traces are paired by value, so that the two
need not come from the same framework, nor name anything alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from .._util.result import Result
from ..architectures import changed
from ..backends.align import (
    ROUNDING,
    Divergence,
    Pair,
    align,
    difference,
    first_divergence,
    relative_error,
)
from ..backends.comparison import TOLERANCES
from ..backends.trace import Trace
from ..errors import FileError, RosettaError, UsageError
from ..images.decode import PHOTOGRAPH, photograph
from ..weights.metadata import SCHEMA, SCHEMA_KEY
from .diagnosis import JUMP
from .programs import (
    DEFAULT_SIDE,
    CheckpointProgram,
    OnnxProgram,
    Program,
    Resumable,
    program,
)


@dataclass(frozen=True)
class Compared(Result):
    """Two programs on the same images."""

    names: tuple[str, str]
    kinds: tuple[str, str]
    output: str
    shape: tuple[int, ...]  # of the output
    error: float  # the largest of the output, relative to its spread
    tolerance: float
    pairs: tuple[tuple[str, str, float], ...]  # steps that agree, and their error
    divergence: Divergence | None
    jump: bool  # or else the error has grown bit by bit
    # The last values that agree and that all of the rest follows from, one of each program; None if
    # there are none but the image.  Given as `after`, only the rest is run.
    resume: tuple[str, str] | None = None
    tensors: tuple[str, ...] | None = None  # of two checkpoints whose outputs differ: those that do

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, with the version of their meaning, and whether they agree."""
        return {SCHEMA_KEY: SCHEMA, "agree": self.agree, **super().to_dict()}

    @property
    def agree(self) -> bool:
        """The outputs are within the tolerance."""
        return self.error <= self.tolerance


def compare_programs(
    first: Program,
    second: Program,
    images: np.ndarray,
    tolerance: float,
    after: tuple[str, str] | None = None,
) -> Compared:
    """Run two programs, and find the first operation that they disagree on.

    `after` names a value of each: only what follows is run, from the first's value.

    Raises:
        RosettaError: a program fails, or their outputs have shapes that cannot be compared.
    """
    with TemporaryDirectory() as folder:
        folders = [Path(folder, name) for name in ("first", "second")]
        for made in folders:
            made.mkdir()
        if after is None:
            traces = first.trace(images, folders[0]), second.trace(images, folders[1])
        else:
            traces = _after(first, second, images, after, folders)
        return _compared(first, second, traces, tolerance)


def _after(
    first: Program,
    second: Program,
    images: np.ndarray,
    after: tuple[str, str],
    folders: list[Path],
) -> tuple[Trace, Trace]:
    one, other = _resumable(first), _resumable(second)
    values = [
        side.value(images, name, folder)
        for side, name, folder in zip((one, other), after, folders, strict=True)
    ]
    # What the second continues from is the first's value, in the second's own order of axes.
    gap = difference(values[1], values[0])
    if gap is None:
        raise UsageError(f"{after[0]} and {after[1]} have different shapes", argument="after")
    start = (values[1] + gap).astype(values[1].dtype)
    return (
        one.trace_after(after[0], values[0], folders[0]),
        other.trace_after(after[1], start, folders[1]),
    )


def _resumable(side: Program) -> OnnxProgram | CheckpointProgram:
    if not isinstance(side, Resumable):
        raise UsageError(f"{side.name} cannot be run from the middle", argument="after")
    return side


def _compared(
    first: Program, second: Program, traces: tuple[Trace, Trace], tolerance: float
) -> Compared:
    outputs = [trace[-1].value for trace in traces]
    gap = difference(outputs[0], outputs[1])
    if gap is None:
        shapes = " and ".join(str(tuple(output.shape)) for output in outputs)
        raise RosettaError(
            f"{first.name} and {second.name} have outputs of the shapes {shapes}, which cannot be "
            "compared"
        )
    spread = float(np.std(outputs[0], dtype=np.float64))
    if spread == 0:
        raise FileError(first.name, "its output is constant; give another image", argument="input")
    error = float(np.abs(gap).max() / spread)
    error = error if np.isfinite(error) else float("inf")
    pairs = align(*traces, tolerance)
    divergence = None if error <= tolerance else _divergence(traces, tolerance)
    return Compared(
        names=(first.name, second.name),
        kinds=(first.kind, second.kind),
        output=traces[0][-1].name,
        shape=tuple(outputs[0].shape),
        error=error,
        tolerance=tolerance,
        pairs=tuple((p.step.name, p.other.name, p.error) for p in pairs if p.other is not None),
        divergence=divergence,
        jump=divergence is not None and _is_jump(divergence, pairs),
    )


def _divergence(traces: tuple[Trace, Trace], tolerance: float) -> Divergence | None:
    """The first operation over the tolerance; a lower one where only the output's largest is."""
    found = first_divergence(*traces, tolerance)
    last = relative_error(traces[0][-1].value, traces[1][-1].value)
    return found or first_divergence(*traces, last / 2)


def _is_jump(found: Divergence, pairs: list[Pair]) -> bool:
    before = ROUNDING["float32"]
    if found.after is not None:
        errors = {p.step.name: p.error for p in pairs if p.other is not None}
        before = max(before, errors.get(found.after[0], 0.0))
    return not found.error / before < JUMP


def piece(first: Program, second: Program, found: Compared) -> tuple[str, str] | None:
    """The last values that agree and that all of the rest follows from, for `after`.

    None if there are none, but the image.
    """
    if found.divergence is None or found.divergence.after is None:
        return None
    if not isinstance(first, Resumable) or not isinstance(second, Resumable):
        return None
    names = [pair[:2] for pair in found.pairs]
    known = names[: names.index(found.divergence.after) + 1]
    for one, other in reversed(known):
        place, counterpart = first.resumable(one), second.resumable(other)
        if place is not None and counterpart is not None:
            return place, counterpart
    return None


def images_for(programs: Sequence[Program], path: Path | None) -> np.ndarray:
    """A batch (N, C, H, W) for both: of a file (an image, .npy or .npz), or the photograph.

    Raises:
        RosettaError: the file cannot be read.
    """
    if path is not None and path.suffix in (".npy", ".npz"):
        return _array(path)
    shapes = [side.image_shape for side in programs if side.image_shape is not None]
    channels, *size = shapes[0] if shapes else (3, DEFAULT_SIDE, DEFAULT_SIDE)
    image = photograph(path or PHOTOGRAPH, channels, (size[0], size[1]))
    return image[None].astype(np.float32)


def _array(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileError(path, "no such file")
    try:
        found: np.ndarray | NpzFile = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            with found:
                if len(found.files) != 1:
                    raise FileError(path, f"holds {len(found.files)} arrays; one is needed")
                return found[found.files[0]]
    except (OSError, ValueError, EOFError) as error:
        raise FileError(path, f"cannot be read as an array ({error})") from error
    return found


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


def compare(
    first: str | Path | Callable[..., Any],
    second: str | Path | Callable[..., Any],
    *,
    input: str | Path | np.ndarray | None = None,
    dialect: str | None = None,
    tolerance: float = TOLERANCES["float32"].limit,
    after: tuple[str, str] | None = None,
) -> Compared:
    """Run any two programs on the same images, and find the first operation that differs.

    A program is an ONNX file, a checkpoint of any layout, "module:function", or a function that
    takes a batch (N, C, H, W) and returns an array, or arrays by name, the output last.  `input` is
    a batch, an image file, or an .npy or .npz file of a batch; by default the built-in photograph.
    `dialect` is for checkpoints that leave theirs open.  `tolerance` is the largest difference of
    any output that is allowed, in standard deviations of the first program's output.  `after` names
    a value of each program: only what follows is run, from the first's value.

    Raises:
        UsageError: an argument is outside its range.
        FileError: a program cannot be read, imported or run.
        RosettaError: the outputs have shapes that cannot be compared.
    """
    if not 0 < tolerance < 1:
        raise UsageError(
            f"tolerance is {tolerance}; it must be above 0 and below 1", argument="tolerance"
        )
    one, other = program(first, dialect), program(second, dialect)
    checkpoints = [side for side in (one, other) if isinstance(side, CheckpointProgram)]
    if len(checkpoints) == 2:
        same_head(*checkpoints)
    if isinstance(input, np.ndarray):
        images = input
    else:
        images = images_for((one, other), None if input is None else Path(input))
    found = compare_programs(one, other, images, tolerance, after)
    if len(checkpoints) == 2 and not found.agree:
        found = replace(found, tensors=tuple(weight_differences(*checkpoints)))
    return replace(found, resume=piece(one, other, found))
