"""Any two programs compared, whatever they are written in.  The answer of `rosetta.compare`.

Each is run on the same images and gives a trace; the traces are paired by value, so that the two
need not come from the same framework, nor name anything alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from .._util.files import is_file
from .._util.result import Result, plain
from ..architectures import changed
from ..backends.align import (
    ROUNDING,
    Divergence,
    Pair,
    align,
    difference,
    first_divergence,
    operation_sentences,
    relative_error,
    spread_of,
)
from ..backends.comparison import TOLERANCES
from ..backends.judgement import DIFFERS, NOISE, NOT_COMPARED, PROVED, Verdict
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

# Rounding of an image, and how many times what that does to an output all rounding may do, which
# occurs in every operation and not in the image alone.
IMAGE_NOISE = {"float32": 2.0**-23, "float64": 2.0**-52}
IMAGE_SHARE = 100.0
VAGUE = 1e-2  # of an output's spread: an allowance that proves nothing
LARGEST_IMAGE = 2**24  # numbers: 2,000 x 2,000 pixels of three or four channels


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
    # What rounding explains, where that is so much that the outputs say nothing.
    rounding: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain data, with the version of their meaning, and whether they agree."""
        said = {"agree": self.agree, "verdict": plain(self.verdict)}
        return {SCHEMA_KEY: SCHEMA, **said, **super().to_dict()}

    @property
    def agree(self) -> bool:
        """The outputs are within the tolerance."""
        return self.error <= self.tolerance

    @property
    def verdict(self) -> Verdict:
        """What the comparison ended in; there are no weights to be proved, but outputs alone."""
        if self.agree:
            return Verdict(PROVED, "both programs compute the same on these images")
        if self.rounding is not None:
            said = f"rounding alone may move them by {self.rounding:.1e} standard deviations"
            return Verdict(NOT_COMPARED, said)
        if self.divergence is None:
            return Verdict(DIFFERS, self.output)
        return Verdict(DIFFERS, operation_sentences(self.divergence)[0])


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
    error = _in_spreads(gap, outputs[0])
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


def _in_spreads(gap: np.ndarray, output: np.ndarray) -> float:
    """The largest difference in units of an output's spread; infinite where there is no number."""
    largest, spread = float(np.abs(gap).max()), spread_of(output)
    if largest == 0:
        return 0.0
    return largest / spread if spread and np.isfinite(largest) else float("inf")


def _explained(side: Program, images: np.ndarray, precision: str) -> float:
    """How far rounding may move a program's output, in units of its spread: it is run once more."""
    # In float64 the noise is larger than rounding, which the noise itself would be lost in.
    noise = max(IMAGE_NOISE[precision], NOISE)
    signs = np.random.default_rng(0).choice((-1.0, 1.0), images.shape)
    found = []
    with TemporaryDirectory() as folder:
        for number, factor in enumerate((1.0, 1 + noise * signs)):
            kept = Path(folder, f"{number}")
            kept.mkdir()
            batch = (images * factor).astype(precision)
            found.append(np.array(side.trace(batch, kept)[-1].value))
    gap = difference(found[0], found[1])
    moved = float("inf") if gap is None else _in_spreads(gap, found[0])
    return IMAGE_SHARE * moved * IMAGE_NOISE[precision] / noise


def _allowing(found: Compared, explained: float) -> Compared:
    """The same where rounding explains the difference, which the tolerance did not allow for."""
    if found.error > explained:
        return found
    rounding = explained if explained > VAGUE else None
    tolerance = found.tolerance if rounding else explained
    divergence = found.divergence if rounding else None
    return replace(found, tolerance=tolerance, divergence=divergence, rounding=rounding)


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
    for side in programs:
        if side.image_shape is not None and math.prod(side.image_shape) > LARGEST_IMAGE:
            shape = "x".join(map(str, side.image_shape))
            raise FileError(side.name, f"takes images of {shape}, which no memory is made for")
    channels, *size = shapes[0] if shapes else (3, DEFAULT_SIDE, DEFAULT_SIDE)
    image = photograph(path or PHOTOGRAPH, channels, (size[0], size[1]))
    return image[None].astype(np.float32)


def _array(path: Path) -> np.ndarray:
    if not is_file(path):
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
    tolerance: float | None = None,
    after: tuple[str, str] | None = None,
) -> Compared:
    """Run any two programs on the same images, and find the first operation that differs.

    A program is an ONNX file, a checkpoint of any layout, the name of a published one as `load`
    takes it, "module:function", or a function that takes a batch (N, C, H, W) and returns an array,
    or arrays by name, the output last.  `input` is a batch, an image file, or an .npy or .npz file
    of a batch; by default the built-in photograph.
    `dialect` is for checkpoints that leave theirs open.  `tolerance` is the largest difference of
    any output that is allowed, in standard deviations of the first program's output; by default it
    is 1e-11 for two checkpoints, which are run in float64, 1e-4 for others, and more where the
    first program is seen to magnify rounding.  `after` names a value of each program: only what
    follows is run, from the first's value.

    Raises:
        UsageError: an argument is outside its range.
        FileError: a program cannot be read, imported or run.
        RosettaError: the outputs have shapes that cannot be compared.
    """
    if tolerance is not None and not 0 < tolerance < 1:
        raise UsageError(
            f"tolerance is {tolerance}; it must be above 0 and below 1", argument="tolerance"
        )
    one, other = program(first, dialect), program(second, dialect)
    checkpoints = [side for side in (one, other) if isinstance(side, CheckpointProgram)]
    precision = "float32"
    if len(checkpoints) == 2:
        same_head(*checkpoints)
        precision = "float64"
        for side in checkpoints:
            side.dtype = precision
    if isinstance(input, np.ndarray):
        images = input
    else:
        images = images_for((one, other), None if input is None else Path(input))
    allowed = TOLERANCES[precision].limit if tolerance is None else tolerance
    found = compare_programs(one, other, images, allowed, after)
    if not found.agree and tolerance is None and after is None:
        found = _allowing(found, _explained(one, images, precision))
    if len(checkpoints) == 2 and not found.agree:
        found = replace(found, tensors=tuple(weight_differences(*checkpoints)))
    return replace(found, resume=piece(one, other, found))
