"""A program on its inputs, and what rounding does to its outputs there.

Rounding is measured, never assumed: some programs multiply it by a thousand, some by 2^60.  A
program is run again with its inputs moved by many times what they are rounded by, and in float32
where it runs in float64: what that does to an output says how much of a difference is rounding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol, runtime_checkable

import numpy as np

from ..backends.judgement import NOISE
from ..backends.trace import Step, Trace
from ..errors import RosettaError
from .apart import apart, are_numbers, places_apart
from .noise import can_be_moved, moved, others
from .program import (
    FLOAT32,
    FLOAT64,
    NOTHING,
    Given,
    GuardedProgram,
    Outputs,
    UnfitError,
    check_unchanged,
    run_widest,
)

Changed = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
Shares = dict[str, float]  # of every output, in standard deviations

# From which movement on it is seen whether a program is random; what is less hides nothing.
RANDOM = {FLOAT64: 1e-9, FLOAT32: 1e-5}
STEADY = 1e-3  # in float32, of a program that runs in float64: no more is rounding, and not chance
RANDOM_SHARE = 1 / 8  # of a movement, that the same inputs cause again: so it was not the noise's
# A program in float64 follows noise in proportion, over this many times, but for this factor; one
# that rounds to float32 somewhere inside is moved by steps, or not at all.
LARGER, OUT_OF_PROPORTION = 2.0**20, 16.0
LINEAR = 1e-2  # of a spread: larger movements are in no proportion to anything
ABOVE_ROUNDING = 100.0  # times what float64 rounds by, for a movement to be one
FINER = 2.0**-29  # of float64 to float32, what each rounds by
TIES = 16.0  # times the noise, for whole numbers that rounding turns from one into another
PAIRS_OF_SIGNS = 2  # of that noise


@dataclass(frozen=True)
class Measured:
    """A program's outputs on its inputs, in its widest precision, and how far noise moves them."""

    program: GuardedProgram
    precision: str
    outputs: Outputs
    moved: Shares


@runtime_checkable
class Recorded(Protocol):
    """A program that was measured earlier, and cannot be run on other inputs."""

    def recorded(self, given: Given) -> Measured:
        """What was measured on these inputs.

        Raises:
            RosettaError: it was measured on others.
        """


class RandomError(UnfitError):
    """A program that is random, and what was run of it."""

    def __init__(self, run: Run, message: str):
        super().__init__(message)
        self.run = run


class Run:
    """A program on its inputs, in its widest precision; everything else once it is asked for.

    `instead` are values by the names of steps, from which on the program is run in place of its
    inputs.

    Raises:
        UnfitError: it changes its inputs, or returns nothing.
        RosettaError: it fails.
    """

    def __init__(
        self,
        program: GuardedProgram,
        given: Given,
        instead: Mapping[str, np.ndarray] = NOTHING,
    ):
        self.program, self.given, self.instead = program, given, instead
        self.recorded = program.recorded(given) if isinstance(program, Recorded) else None
        if self.recorded is not None:
            self.precision, self.outputs = self.recorded.precision, self.recorded.outputs
        else:
            before = [np.array(array) for array in given.arrays]
            self.precision, self.outputs = self._run()
            check_unchanged(program.name, before, given.arrays)
        if not self.outputs:
            raise UnfitError(f"{program.name} returns nothing that could be compared")
        if self.precision == FLOAT64 and self._returns_float32():
            self.precision = FLOAT32
        # Whether somewhere inside it rounds to float32, although it takes float64.
        self.is_narrow = self.precision == FLOAT32

    def _run(self) -> tuple[str, Outputs]:
        if not self.instead:
            return run_widest(self.program, self.given)
        precision = self.program.precisions[-1]
        return precision, self._again(precision)

    def _returns_float32(self) -> bool:
        return any(are_numbers(v) and v.dtype.itemsize < 8 for v in self.outputs.values())

    @property
    def given_arrays(self) -> Sequence[np.ndarray]:
        """What it begins with: its inputs, or the values in place of them."""
        return tuple(self.instead.values()) if self.instead else self.given.arrays

    def _again(self, precision: str, change: Changed | None = None) -> Outputs:
        """Its outputs in a precision, with other arrays to begin with."""
        if not self.instead:
            given = self.given
            if change is not None:
                given = given.in_precision(precision)
                given = given.changed(change(given.arrays))
            return self.program.run(given, precision)
        values: Sequence[np.ndarray] = [v.astype(precision) for v in self.instead.values()]
        instead = dict(zip(self.instead, change(values) if change else values, strict=True))
        trace = self.program.trace(self.given, precision, instead)
        ends = [(name, end_of(trace, name)) for name in self._names]
        return {name: step.value for name, step in ends if step is not None}

    @cached_property
    def _names(self) -> list[str]:
        """Those of its outputs."""
        return list(self.program.run(self.given, self.program.precisions[0]))

    @cached_property
    def float32(self) -> Outputs | None:
        """Its outputs in float32; None where it does not run in that."""
        if self.precision == FLOAT32:
            return self.outputs
        try:
            return self._again(FLOAT32)
        except RosettaError:  # a program for float64 alone
            return None

    @cached_property
    def narrowed(self) -> Shares | None:
        """How far float32 is from float64; None where it does not run in both."""
        if self.precision == FLOAT32 or self.float32 is None:
            return None
        return self._far(self.float32)

    @cached_property
    def moved(self) -> Shares:
        """How far noise moves every output.

        Raises:
            UnfitError: the same inputs move it as well, twice in a row: it is random.
        """
        if self.recorded is not None:
            return self.recorded.moved
        share = self.noise
        found = self._moved_by(share)
        if self.precision == FLOAT32:
            together = self._far(self._again(FLOAT32, lambda a: moved(a, share, "together")))
            found = {name: max(far, together[name]) for name, far in found.items()}
        if max(found.values()) > RANDOM[self.precision]:
            self._check_same_twice(RANDOM_SHARE * max(found.values()))
        return found

    @property
    def noise(self) -> float:
        """What inputs are moved by: in float64 many times rounding, in float32 once."""
        if self.precision == FLOAT64:
            return NOISE
        types = [v.dtype for v in self.outputs.values() if are_numbers(v)]
        return float(max((np.finfo(t).eps for t in types), default=2.0**-23))

    @property
    def can_be_moved(self) -> bool:
        """Whether noise can be put on what it begins with, or on a value inside."""
        return can_be_moved(self.given_arrays) or self.program.sees_inside

    def _moved_by(self, share: float) -> Shares:
        """How far noise of some share of the inputs moves every output."""
        arrays = self.given_arrays
        if not can_be_moved(arrays) and not self.instead and self.program.sees_inside:
            return self._from_first_step(share)
        return self._far(self._again(self.precision, lambda arrays: moved(arrays, share)))

    def _from_first_step(self, share: float) -> Shares:
        """The same for a program of whole numbers: the first value that is none is moved."""
        trace = self.program.trace(self.given, self.precision)
        if len(trace) <= len(self.outputs):
            return dict.fromkeys(self.outputs, 0.0)
        first = trace[0]
        (value,) = moved([np.asarray(first.value)], share)
        rest = self.program.trace(self.given, self.precision, {first.name: value})
        ends = [(name, end_of(rest, name)) for name in self.outputs]
        return self._far(self.outputs | {n: step.value for n, step in ends if step is not None})

    def _far(self, outputs: Outputs) -> Shares:
        """How far other outputs are from these."""
        return {
            name: apart(value, outputs[name])
            if are_numbers(value)
            else float(not np.array_equal(value, outputs[name]))
            for name, value in self.outputs.items()
        }

    def check_same_twice(self) -> None:
        """Hold the program to give the same on the same inputs.

        Raises:
            UnfitError: it does not.
        """
        self._check_same_twice(0.0)

    def check_steady(self) -> None:
        """The same, at the cost of a run in float32: a random program is not near itself there.

        Two random programs agree where both began with the same seed.

        Raises:
            UnfitError: it is random.
        """
        if self.narrowed is None or max(self.narrowed.values()) > STEADY:
            self.check_same_twice()

    def _check_same_twice(self, above: float) -> None:
        if self.recorded is not None:
            return
        twice = max(self._far(self._again(self.precision)).values())
        if twice > max(RANDOM[self.precision], above):
            raise RandomError(
                self,
                f"{self.program.name} is random: two runs on the same inputs differ by "
                f"{twice:.1e} standard deviations; seed it, or run it in inference",
            )

    @cached_property
    def depends(self) -> Shares | None:
        """How far quite other inputs move every output; None where it does not take them.

        Raises:
            UnfitError: they move none, not by one bit.
        """
        if self.recorded is not None or self.instead:
            return None
        try:
            # Float32 is faster, and what it says is enough where it says much.
            found = self._far(self._again(self.program.precisions[0], others))
            if min(found.values()) < RANDOM[FLOAT32]:
                found = self._far(self._again(self.precision, others))
        except RosettaError:  # numbers that belong together, such as lengths and places
            return None
        if not any(found.values()):
            raise UnfitError(
                f"the output of {self.program.name} does not depend on its inputs: quite other "
                "ones give the same, to the bit"
            )
        return found

    def rounds_inside(self) -> bool:
        """Whether it rounds to float32 somewhere, seen by how it follows larger and smaller noise.

        Of numbers that are rounded to float32, one in many thousands is moved by noise of 2^-40,
        and then by far more than that.
        """
        if self.recorded is not None or self.narrowed is None:
            return False
        if not can_be_moved(self.given_arrays):
            return False
        large, found = max(self._moved_by(LARGER * NOISE).values()), max(self.moved.values())
        expected, rounding = large / LARGER, FINER * max(self.narrowed.values())
        if large > LINEAR or max(expected, found) < ABOVE_ROUNDING * rounding:
            return False
        return not expected / OUT_OF_PROPORTION < found < expected * OUT_OF_PROPORTION

    def ties(self, name: str) -> np.ndarray:
        """Where a whole number of an output is so near another that rounding may turn it."""
        value = self.outputs[name]
        found = np.zeros(value.shape, bool)
        if self.recorded is not None:
            return found
        runs = [] if self.float32 is None else [self.float32]
        for seed in range(PAIRS_OF_SIGNS):
            for sign in (1, -1):
                change = partial(moved, share=sign * TIES * self.noise, seed=seed)
                runs.append(self._again(self.precision, change))
        for outputs in runs:
            differ = places_apart(value, outputs[name])
            found |= True if differ is None else differ
        return found


def end_of(trace: Trace, output: str) -> Step | None:
    """The step of a trace that is an output; None where the output is not of numbers."""
    numbered = re.compile(rf"{re.escape(output)}( \d+)?")  # as `Trace.keep` tells names apart
    return next((step for step in reversed(trace) if numbered.fullmatch(step.name)), None)


def no_number(value: np.ndarray) -> bool:
    """Whether an output has no finite number."""
    return are_numbers(value) and bool(value.size) and not np.isfinite(value).any()
