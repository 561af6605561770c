"""Golden outputs: what a program computed earlier, to hold another one to.

They are a safetensors file, which any reader of these opens: the tensor `0.inputs.0` is the first
input by position of the first comparison, `0.inputs.mask` one by name, `0.outputs.float64.output`
an output, in the precision in which it was computed.  The metadata say which program it was, which
test wrote them, a digest of the inputs, and what rounding explains of every output, which was
measured when the program was there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from .._util.atomic import replacing
from .._util.result import plain
from ..errors import DamagedFileError, FileError, UsageError
from ..weights import tensors_file
from .fitness import check_agreement, check_numbers
from .measure import Measured, Run
from .program import (
    FLOAT32,
    FLOAT64,
    NHWC,
    Given,
    GuardedProgram,
    Input,
    OpaqueProgram,
    Outputs,
)

FORMAT = "efficientnet-rosetta golden outputs"
SCHEMA = 1  # grows when the meaning of a file changes
SAID = ("program", "kind", "test", "precision", "layout", "inputs")  # in the metadata
FOLDER = "golden"  # beside the file of a test
UPDATE = "run pytest with --parity-update where the first program is"


@dataclass(frozen=True)
class Golden:
    """A file of golden outputs that a test names; `write` is whether the test may make it."""

    path: Path
    write: bool = True


class GoldenProgram(OpaqueProgram):
    """What a program computed earlier, in place of the program.

    Raises:
        FileError: the file is missing, of another version, or no golden outputs.
    """

    def __init__(self, path: Path, name: str | None = None):
        self.path = path
        self.said, self.tensors = _read(path)
        self.name = name or f"the golden outputs {path.stem}"
        self.kind = f"golden outputs of {self.said['program']}, {self.said['kind']}"
        self.test: str = self.said["test"]
        self.precision: str = self.said["precision"]
        self.givens = [
            _given(number, one, self.tensors, self.said["layout"])
            for number, one in enumerate(self.said["inputs"])
        ]
        self.digests = [one["digest"] for one in self.said["inputs"]]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that were kept."""
        return (FLOAT32, FLOAT64) if self.precision == FLOAT64 else (FLOAT32,)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Those that the outputs were computed from."""
        first = self.givens[0]
        names = (*(f"input {place}" for place in range(len(first.args))), *first.kwargs)
        return tuple(
            Input(name, array.shape, str(array.dtype), first.layout)
            for name, array in zip(names, first.arrays, strict=True)
        )

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """What it computed from these inputs.

        Raises:
            FileError: it was given others, or in another precision.
        """
        prefix = f"{self._number(given)}.outputs.{precision}."
        found = {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if name.startswith(prefix)
        }
        if not found:
            raise FileError(self.path, f"has no outputs in {precision}; {UPDATE}")
        return found

    def recorded(self, given: Given) -> Measured:
        """The outputs, and how far rounding moved them when they were written."""
        said = self.said["inputs"][self._number(given)]["moved"]
        moved = {name: float("inf") if far is None else far for name, far in said.items()}
        return Measured(self, self.precision, self.run(given, self.precision), moved)

    def _number(self, given: Given) -> int:
        found = digest(given)
        if found not in self.digests:
            raise FileError(self.path, f"was computed from other inputs than these; {UPDATE}")
        return self.digests.index(found)


def write(path: Path, program: GuardedProgram, givens: Sequence[Given], test: str) -> None:
    """Run a program, and keep what it computes as golden outputs, with the inputs.

    Raises:
        UsageError: another test has written the file.
        RosettaError: the program fails, its outputs say nothing, or the file cannot be written.
    """
    check_author(path, test)
    tensors: dict[str, np.ndarray] = {}
    inputs = []
    precision = FLOAT32
    for number, given in enumerate(givens):
        run = Run(program, given)
        check_numbers(run, run, {name: name for name in run.outputs})
        check_agreement(run, run)
        precision, moved = run.precision, run.moved
        kept = {precision: run.outputs}
        if run.float32 is not None:  # for a program that runs in float32 alone
            kept[FLOAT32] = run.float32
        for place, array in enumerate(given.args):
            tensors[f"{number}.inputs.{place}"] = array
        for name, array in given.kwargs.items():
            tensors[f"{number}.inputs.{name}"] = array
        for wide, outputs in kept.items():
            tensors |= {f"{number}.outputs.{wide}.{name}": out for name, out in outputs.items()}
        inputs.append(
            {
                "args": len(given.args),
                "kwargs": list(given.kwargs),
                "digest": digest(given),
                "moved": plain(moved),  # JSON has no infinity
            }
        )
    said = {
        "program": program.name,
        "kind": program.kind,
        "test": test,
        "precision": precision,
        "layout": givens[0].layout,
        "inputs": inputs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": FORMAT, "schema": str(SCHEMA), "golden": json.dumps(said)}
    with replacing(path) as temporary:
        tensors_file.write(temporary, tensors, metadata)


def check_author(path: Path, test: str) -> None:
    """See that a file was not written by another test, which would then be held to nothing.

    Raises:
        UsageError: it was.
    """
    try:
        author = _read(path)[0]["test"]
    except FileError:  # missing, of another version, or damaged: to be written again
        return
    if author != test:
        raise UsageError(
            f"{path}: is written by {author}, and {test} would write it too; say "
            "parity.golden(..., write=False) in the one that is only held to it, or delete the "
            "file if the other test is gone"
        )


def digest(given: Given) -> str:
    """A digest of inputs, in whichever types and order of axes they are given."""
    found = hashlib.sha256()
    names = (*("" for _ in given.args), *given.kwargs)
    for name, array in sorted(zip(names, given.arrays, strict=True), key=lambda pair: pair[0]):
        is_number = array.dtype.kind == "f"
        wide = array.astype(np.float64 if is_number else np.int64)
        if is_number and array.ndim == 4 and given.layout == NHWC:
            wide = wide.transpose(0, 3, 1, 2)
        found.update(f"{name} {wide.dtype} {wide.shape}\n".encode())
        found.update(np.ascontiguousarray(wide).data.cast("B"))
    return found.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a file says, and its tensors.

    Raises:
        FileError: as `GoldenProgram`.
    """
    if not path.is_file():
        raise FileError(path, f"there are no golden outputs here; {UPDATE}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            # In the order in which they were written, which is that of the outputs.
            tensors = {name: file.get_tensor(name) for name in file.offset_keys()}
    except (SafetensorError, OSError) as error:
        raise DamagedFileError(path, f"is no safetensors file ({error}); {UPDATE}") from error
    if metadata.get("format") != FORMAT:
        raise FileError(path, f"is no file of golden outputs; {UPDATE}")
    if metadata.get("schema") != str(SCHEMA):
        raise FileError(
            path,
            f"has golden outputs of version {metadata.get('schema')}, and this is version "
            f"{SCHEMA}; {UPDATE}",
        )
    try:
        said = json.loads(metadata["golden"])
        lacks = [key for key in SAID if key not in said]
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedFileError(path, f"its metadata are damaged ({error}); {UPDATE}") from error
    if lacks:
        raise DamagedFileError(path, f"its metadata lack {', '.join(lacks)}; {UPDATE}")
    return said, tensors


def _given(
    number: int, said: Mapping[str, Any], tensors: Mapping[str, np.ndarray], layout: str
) -> Given:
    names = [f"{number}.inputs.{place}" for place in range(said["args"])]
    return Given(
        tuple(tensors[name] for name in names),
        {name: tensors[f"{number}.inputs.{name}"] for name in said["kwargs"]},
        layout,
    )
