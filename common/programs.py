"""Any two programs compared: ONNX files, checkpoints of any layout, or callables of one's own.

Each is run on the same images and gives a trace; the traces are paired by value, so that the two
need not come from the same framework, nor name anything alike.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from common.diagnosis import JUMP, ROUNDING
from common.errors import RosettaError
from common.outputs import backend_for
from common.porting import told
from common.preprocess import PHOTOGRAPH, photograph
from common.recognition import Match
from common.spec import Network, Size, resolve
from common.tracing import (
    Divergence,
    Pair,
    Trace,
    align,
    difference,
    first_divergence,
    relative_error,
)
from common.weights import changed

DEFAULT_SIDE = 224  # pixels, where a program does not say


class Program(Protocol):
    """Something that turns images into outputs."""

    name: str
    kind: str
    image_shape: tuple[int, int, int] | None  # (C, H, W), where it says

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """Every value that it can show on the way from images (N, C, H, W), the output last.

        Values may be kept in files of the folder.
        """


@dataclass(frozen=True)
class Compared:
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
            traces = [
                program.trace(images, place)
                for program, place in zip((first, second), folders, strict=True)
            ]
        else:
            traces = _after(first, second, images, after, folders)
        return _compared(first, second, traces, tolerance)


def _after(
    first: Program,
    second: Program,
    images: np.ndarray,
    after: tuple[str, str],
    folders: list[Path],
) -> list[Trace]:
    for program in (first, second):
        if isinstance(program, CallableProgram):
            raise RosettaError(f"--after: {program.name} cannot be run from the middle")
    values = [
        program.value(images, name, folder)
        for program, name, folder in zip((first, second), after, folders, strict=True)
    ]
    # What the second continues from is the first's value, in the second's own order of axes.
    gap = difference(values[1], values[0])
    if gap is None:
        raise RosettaError(f"--after: {after[0]} and {after[1]} have different shapes")
    starts = [values[0], (values[1] + gap).astype(values[1].dtype)]
    return [
        program.trace_after(name, value, folder)
        for program, name, value, folder in zip(
            (first, second), after, starts, folders, strict=True
        )
    ]


def _compared(first: Program, second: Program, traces: list[Trace], tolerance: float) -> Compared:
    outputs = [trace[-1].value for trace in traces]
    gap = difference(*outputs)
    if gap is None:
        shapes = " and ".join(str(tuple(output.shape)) for output in outputs)
        raise RosettaError(
            f"{first.name} and {second.name} have outputs of the shapes {shapes}, which cannot be "
            "compared"
        )
    spread = float(np.std(outputs[0], dtype=np.float64))
    if spread == 0:
        raise RosettaError(f"{first.name}: its output is constant; give another --input")
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


def _divergence(traces: list[Trace], tolerance: float) -> Divergence | None:
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
    if isinstance(first, CallableProgram) or isinstance(second, CallableProgram):
        return None
    names = [pair[:2] for pair in found.pairs]
    known = names[: names.index(found.divergence.after) + 1]
    for one, other in reversed(known):
        places = first.resumable(one), second.resumable(other)
        if None not in places:
            return places
    return None


def images_for(programs: tuple[Program, Program], path: Path | None) -> np.ndarray:
    """A batch (N, C, H, W) for both: of a file (an image, .npy or .npz), or the photograph.

    Raises:
        RosettaError: the file cannot be read.
    """
    if path is not None and path.suffix in (".npy", ".npz"):
        return _array(path)
    shapes = [program.image_shape for program in programs if program.image_shape is not None]
    channels, *size = shapes[0] if shapes else (3, DEFAULT_SIDE, DEFAULT_SIDE)
    image = photograph(path or PHOTOGRAPH, _taking(channels, tuple(size)))
    return image[None].astype(np.float32)


def _taking(channels: int, size: Size) -> Network:
    try:
        return resolve("b0", resolution=size, in_channels=channels)
    except ValueError as error:
        raise RosettaError(
            f"the photograph does not fit ({error}); give --input FILE.npy"
        ) from None


def _array(path: Path) -> np.ndarray:
    if not path.is_file():
        raise RosettaError(f"{path}: no such file")
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            with found:
                if len(found.files) != 1:
                    raise RosettaError(f"{path}: holds {len(found.files)} arrays; one is needed")
                found = found[found.files[0]]
    except (OSError, ValueError, EOFError) as error:
        raise RosettaError(f"{path}: cannot be read as an array ({error})") from None
    return found


# ------------------------------------------------------------------ what can be compared


def program(what: str, dialect: str | None = None) -> Program:
    """The program behind an argument: FILE.onnx, a checkpoint, or module:function.

    Raises:
        RosettaError: it is none of these, or cannot be read.
    """
    if Path(what).suffix == ".onnx":
        return OnnxProgram(what)
    if not Path(what).exists() and ":" in what:
        return CallableProgram(what)
    return CheckpointProgram(what, dialect)


class OnnxProgram:
    """An ONNX file with one input, channels first or last."""

    def __init__(self, path: str):
        from common import graph

        if not Path(path).is_file():
            raise RosettaError(f"{path}: no such file")
        self.name, self.kind = path, "ONNX"
        session = graph.start(path)
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise RosettaError(
                f"{path}: has {len(inputs)} inputs, {', '.join(i.name for i in inputs)}; "
                "one is needed"
            )
        self.shape = [side if isinstance(side, int) else None for side in inputs[0].shape]
        self.dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}.get(inputs[0].type)
        if self.dtype is None:
            raise RosettaError(f"{path}: takes {inputs[0].type}; floating point is needed")
        del session
        self.model = graph.load(path)
        self.channels_last = len(self.shape) == 4 and self.shape[3] in (1, 3, 4)

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """What the input says of an image, 224 pixels where it is open."""
        if len(self.shape) != 4:
            return None
        sides = self.shape[1:]
        channels, *size = [sides[2], *sides[:2]] if self.channels_last else sides
        return (channels or 3, *(side or DEFAULT_SIDE for side in size))

    def given(self, images: np.ndarray) -> np.ndarray:
        """Images in the order and type of the input."""
        if self.channels_last and images.ndim == 4:
            images = images.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images, self.dtype)

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """Every operation of the graph that depends on the input."""
        return self._trace(self.model, self.given(images), folder)

    def resumable(self, step: str) -> str | None:
        """A step itself, unless a skip leads around it."""
        from common import graph

        return step if graph.is_cut(self.model, step) else None

    def value(self, images: np.ndarray, name: str, folder: Path) -> np.ndarray:
        """One value inside the graph."""
        for step in self.trace(images, folder):
            if step.name == name:
                return np.array(step.value)
        raise RosettaError(f"{self.name}: has no value {name!r}")

    def trace_after(self, name: str, value: np.ndarray, folder: Path) -> Trace:
        """The operations that follow one value."""
        from common import graph

        rest = graph.part(self.model, name, self.model.graph.output[-1].name)
        return self._trace(rest, value, folder)

    def _trace(self, model: object, value: np.ndarray, folder: Path) -> Trace:
        from common import graph

        found = Trace()
        try:
            for number, (name, array, inputs) in enumerate(graph.steps(model, value)):
                np.save(folder / f"{number}.npy", array)
                found.keep(name, np.load(folder / f"{number}.npy", mmap_mode="r"), inputs)
        except RosettaError as error:
            raise RosettaError(f"{self.name}: {error}") from None
        if not found:
            raise RosettaError(f"{self.name}: its output does not depend on its input")
        return found


class CheckpointProgram:
    """A weight file of any layout, run in the framework and dialect of its library."""

    def __init__(self, path: str, dialect: str | None):
        self.match: Match = told(path, dialect)
        found = self.match.dialect or self.match.possible[0]
        self.network = changed(self.match.network, dialect=asdict(found))
        framework, self.backend = backend_for(self.match.layouts[0].framework)
        self.ends: dict[str, str] = {}  # the last operation of each section
        self.name = path
        self.kind = f"{self.network.name}, {found.name} dialect, in {framework}"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """What the network takes."""
        return (self.network.in_channels, *self.network.resolution)

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """Every operation, section by section."""
        return self._trace(self.network.computed_endpoints, images)

    def resumable(self, step: str) -> str | None:
        """The endpoint that a step is the value of, if it is."""
        return self.ends.get(step)

    def value(self, images: np.ndarray, name: str, folder: Path) -> np.ndarray:
        """The value of an endpoint."""
        if name not in self.network.computed_endpoints:
            known = ", ".join(self.network.computed_endpoints)
            raise RosettaError(f"{self.name}: unknown endpoint {name!r}; choose from {known}")
        model = self._model()
        return self.backend.endpoints(model, images, [name])[name]

    def trace_after(self, name: str, value: np.ndarray, folder: Path) -> Trace:
        """The operations that follow an endpoint."""
        known = self.network.computed_endpoints
        return self._trace(known[known.index(name) + 1 :], value)

    def _model(self) -> object:
        model = self.backend.build(self.network)
        weights = self.match.weights
        self.backend.load_weights(
            model, {n: np.asarray(weights[n], np.float32) for n in self.network.tensors}
        )
        return model

    def _trace(self, endpoints: Sequence[str], value: np.ndarray) -> Trace:
        model, found = self._model(), Trace()
        for endpoint in endpoints:
            steps = self.backend.trace(model, endpoint, value)
            for step in steps:
                output = step is steps[-1] and endpoint == self.network.output
                found.keep(endpoint if output else f"{endpoint}.{step.name}", step.value)
            self.ends[found[-1].name] = endpoint
            value = steps[-1].value
        return found


class CallableProgram:
    """`module:function`: an array in, an array out, or arrays by name, the output last."""

    kind = "callable"
    image_shape = None

    def __init__(self, what: str):
        module, _, function = what.partition(":")
        self.name = what
        here = str(Path.cwd())
        sys.path.insert(0, here)  # as `python -m` has it
        try:
            self.function: Callable = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise RosettaError(f"{what}: cannot be imported ({error})") from None
        finally:
            sys.path.remove(here)

    def trace(self, images: np.ndarray, folder: Path) -> Trace:
        """What it returns."""
        try:
            values = self.function(images)
        except Exception as error:  # whatever somebody else's code raises
            raise RosettaError(f"{self.name}: {type(error).__name__}: {error}") from None
        if not isinstance(values, Mapping):
            values = {"output": values}
        found = Trace()
        for name, value in values.items():
            found.keep(str(name), np.asarray(value))
        if not found or any(step.value.dtype.kind != "f" for step in found):
            raise RosettaError(f"{self.name}: must return a floating-point array, or some by name")
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
