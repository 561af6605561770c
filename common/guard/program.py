"""What a program is to a comparison: inputs in, named arrays out, and every value on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np

from ..backends.trace import Trace
from ..errors import RosettaError, UsageError, reason

FLOAT32, FLOAT64 = "float32", "float64"
NCHW, NHWC = "NCHW", "NHWC"  # the order of the axes of images
NOTHING: Mapping[str, np.ndarray] = MappingProxyType({})
Outputs = dict[str, np.ndarray]  # by name, in the order in which the program returns them


class UnfitError(RosettaError):
    """A program of which nothing can be said, such as one that writes into its inputs."""


@contextmanager
def told_as_errors_of(program: str, more: str = "") -> Iterator[None]:
    """Say of what somebody else's code raises which program it is of, and what more there is."""
    try:
        yield
    except RosettaError:
        raise
    except Exception as error:
        raise RosettaError(f"{program}: {type(error).__name__}: {reason(error)}{more}") from error


@dataclass(frozen=True)
class Given:
    """What a program is called with: arrays by position, and arrays by name.

    `layout` is the order of the axes of the images among them, which are its arrays of four axes;
    every program is given them in its own.
    """

    args: tuple[np.ndarray, ...] = ()
    kwargs: Mapping[str, np.ndarray] = field(default_factory=dict)
    layout: str = NCHW

    @classmethod
    def of(
        cls,
        inputs: np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray],
        layout: str = NCHW,
    ) -> Given:
        """One array, several, or some by name."""
        if isinstance(inputs, Mapping):
            named = {str(name): np.asarray(value) for name, value in inputs.items()}
            return cls((), named, layout)
        if isinstance(inputs, Sequence) and not isinstance(inputs, np.ndarray):
            return cls(tuple(map(np.asarray, inputs)), {}, layout)
        return cls((np.asarray(inputs),), {}, layout)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All of them."""
        return (*self.args, *self.kwargs.values())

    def changed(self, arrays: Sequence[np.ndarray]) -> Given:
        """The same with other arrays, in the order of `arrays`."""
        first = len(self.args)
        named = dict(zip(self.kwargs, arrays[first:], strict=True))
        return Given(tuple(arrays[:first]), named, self.layout)

    def in_precision(self, precision: str) -> Given:
        """The same, its floating-point arrays in a precision; whole numbers stay what they are."""
        return self.changed(
            [a.astype(precision) if a.dtype.kind == "f" else a for a in self.arrays]
        )


@dataclass(frozen=True)
class Input:
    """What a program says of one of its inputs; a side that is open is None.

    `layout` is the order of the axes of one of four, where the shape alone does not say it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    layout: str | None = None


class GuardedProgram(Protocol):
    """A program of anybody's."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def kind(self) -> str:
        """What it is, in words: "torch.nn.Module", "ONNX file"."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it may be run in: float32, and float64 where it can be told to.

        Whether float64 does on certain inputs is known when it has run: see `run_widest`.
        """

    @property
    def inputs(self) -> tuple[Input, ...] | None:
        """What it says of its inputs; None where it says nothing."""

    @property
    def sees_inside(self) -> bool:
        """Whether a trace has more than the outputs, and can go on from values given to it."""

    def goes_on_from(self, step: str) -> bool:
        """Whether a trace can go on from the value of a step, for `instead`."""

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs.

        Raises:
            UnfitError: it writes into its inputs.
            RosettaError: it fails, or returns something else than arrays.
        """

    def trace(
        self,
        given: Given,
        precision: str = FLOAT32,
        instead: Mapping[str, np.ndarray] = NOTHING,
    ) -> Trace:
        """Every floating-point value on the way, each with those that it is made from.

        The outputs come last, under the names of `run`, or these with a number where a step has the
        name already; those that are whole numbers are not there.  `instead` are values by the names
        of steps of an earlier trace, in the program's own order of axes, which stand in place of
        its own from there on; the trace then begins after the last of them.

        Raises:
            UsageError: there is no step of a name in `instead`, or the program cannot be seen into.
            RosettaError: as `run`.
        """


class OpaqueProgram:
    """A program that is not seen into, so that its trace is its outputs."""

    name: str
    sees_inside = False

    def goes_on_from(self, step: str) -> bool:
        """Never."""
        return False

    def run(self, given: Given, precision: str = FLOAT32) -> Outputs:
        """Its outputs."""
        raise NotImplementedError

    def trace(
        self,
        given: Given,
        precision: str = FLOAT32,
        instead: Mapping[str, np.ndarray] = NOTHING,
    ) -> Trace:
        """Those of its outputs that are no whole numbers.

        Raises:
            UsageError: it was to be run from the middle.
            RosettaError: as `run`.
        """
        if instead:
            raise UsageError(f"{self.name} cannot be run from the middle", argument="after")
        found = Trace()
        for name, value in self.run(given, precision).items():
            if value.dtype.kind == "f":
                found.keep(name, value)
        return found


def run_widest(program: GuardedProgram, given: Given) -> tuple[str, Outputs]:
    """The outputs in the widest precision that a program runs in on these inputs, and which it is.

    Raises:
        UnfitError: it writes into its inputs.
        RosettaError: it fails in float32 too.
    """
    if FLOAT64 in program.precisions:
        try:
            return FLOAT64, program.run(given, FLOAT64)
        except UnfitError:
            raise
        except RosettaError:  # a type that is written down inside of it, or no such operation
            pass
    return FLOAT32, program.run(given, FLOAT32)


def rest_of(trace: Trace, instead: Mapping[str, np.ndarray], program: str) -> Trace:
    """What of a trace comes after the last of the steps that were given; all if none were.

    Raises:
        UsageError: the program has no step of such a name.
    """
    if not instead:
        return trace
    places = {step.name: place for place, step in enumerate(trace)}
    for name in instead:
        if name not in places:
            raise UsageError(f"{program} has no value {name!r}", argument="after")
    kept = trace[max(places[name] for name in instead) + 1 :]
    names = {step.name for step in kept}
    return Trace(
        replace(step, inputs=tuple(name for name in step.inputs if name in names)) for step in kept
    )


def check_unchanged(
    program: str, before: Sequence[np.ndarray], after: Sequence[np.ndarray]
) -> None:
    """Hold a program to leave what it was given alone.

    Raises:
        UnfitError: it did not.
    """
    for one, other in zip(before, after, strict=True):
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            raise UnfitError(f"{program} writes into its inputs; have it copy them first")


def standing_in(
    program: str, step: str, shape: Sequence[int], instead: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """What stands in for the value of a step, if anything does.

    Raises:
        UsageError: it has another shape.
    """
    value = instead.get(step)
    if value is not None and tuple(value.shape) != tuple(shape):
        raise UsageError(
            f"{step} of {program} has the shape {tuple(shape)}; it was given one of "
            f"{tuple(value.shape)}",
            argument="after",
        )
    return value
