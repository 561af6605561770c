"""Whether two programs compute the same on what they are given, and the first place where not.

Both run in float64 where they can, which is the referee.  What is allowed is what rounding does to
these programs on these inputs: each is run once more with noise on its inputs, and what that moves
an output by is allowed, or, where a program runs in float32 only, some times what float32 does to
the other one.  The same second run shows a program that is random, and one whose output does not
depend on its inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..backends.align import difference, first_divergence, spread_of
from ..backends.comparison import TOLERANCES
from ..backends.judgement import FLOOR, NARROW_SHARE, NOISE, SATURATED
from ..errors import RosettaError
from .finding import Apart, Finding
from .kinds import kind_of
from .program import FLOAT32, FLOAT64, Given, GuardedProgram, Outputs

__all__ = ["Apart", "Finding", "judge", "judge_all"]

# In float32 a program is given noise of the last digit of its inputs, and all its operations are
# rounded like them.
NARROW_NOISE, NARROW_OPERATIONS = 2.0**-23, 100.0
# From which relative error on values inside two programs in float64 are said to differ.
INSIDE = 1e-9


@dataclass(frozen=True)
class Measured:
    """A program's outputs on its inputs, in its widest precision, and with noise on these."""

    program: GuardedProgram
    precision: str
    outputs: Outputs
    moved: dict[str, float]  # how far noise moves each output, in standard deviations


@runtime_checkable
class Recorded(Protocol):
    """A program that was measured earlier, and cannot be run on other inputs."""

    def recorded(self, given: Given) -> Measured:
        """What was measured on these inputs.

        Raises:
            RosettaError: it was measured on others.
        """


def judge(
    first: GuardedProgram,
    second: GuardedProgram,
    given: Given,
    tolerance: float | None = None,
    after: tuple[str, str] | None = None,
    *,
    atol: float | None = None,
    inside: bool = False,
) -> Finding:
    """Run both programs on inputs, and find the first value that they do not agree on.

    `tolerance` is what is allowed of every output, in standard deviations of the first program's,
    and `atol` the same in the output's own units; by default it is what rounding explains.  `after`
    names a value of each program: only what follows is run, from the first's value.  With `inside`
    the values on the way are paired even where the outputs agree.

    Raises:
        RosettaError: a program fails on these inputs.
    """
    programs = first, second
    names = first.name, second.name
    kinds = first.kind, second.kind
    wide: list[str] = [
        FLOAT64 if FLOAT64 in program.precisions else FLOAT32 for program in programs
    ]
    precisions = wide[0], wide[1]
    try:
        runs = [measured(*pair, given) for pair in zip(programs, precisions, strict=True)]
        outputs = _apart(runs[0], runs[1], given, tolerance)
    except UnfitError as unfit:
        return Finding(names, kinds, precisions, unfit=str(unfit))
    found = Finding(names, kinds, precisions, outputs)
    if found.agree:
        return found
    traces = [
        program.trace(given, precision)
        for program, precision in zip(programs, precisions, strict=True)
    ]
    inside = INSIDE if set(precisions) == {FLOAT64} else TOLERANCES[FLOAT32].limit
    divergence = first_divergence(traces[0], traces[1], inside)
    kind = None if divergence is None else kind_of(divergence, traces[0], traces[1])
    return Finding(names, kinds, precisions, outputs, None, divergence, kind)


def judge_all(
    programs: Sequence[GuardedProgram],
    givens: Sequence[Given],
    tolerance: float | None = None,
    *,
    atol: float | None = None,
) -> list[Finding]:
    """Compare every later program with the first, on all inputs; the worst finding first.

    Only the worst of each pair of programs says where they part.

    Raises:
        RosettaError: a program fails on some of these inputs.
    """
    return [
        judge(programs[0], other, given, tolerance, atol=atol)
        for other in programs[1:]
        for given in givens
    ]


class UnfitError(RosettaError):
    """A program of which nothing can be said."""


def measured(program: GuardedProgram, precision: str, given: Given) -> Measured:
    """Run a program twice, the second time with noise on its inputs.

    Raises:
        UnfitError: it is random, does not depend on its inputs, changes them, or is no number.
    """
    if isinstance(program, Recorded):
        return program.recorded(given)
    outputs = _unchanging(program, given, precision)
    noise = NOISE if precision == FLOAT64 else NARROW_NOISE
    noisy = program.run(_noisy(given, noise, precision), precision)
    _check_finite(program, outputs)
    moved = {name: _in_spreads(value, noisy[name]) for name, value in outputs.items()}
    if max(moved.values()) > SATURATED:
        again = program.run(given, precision)
        if any(not np.array_equal(value, again[name]) for name, value in outputs.items()):
            raise UnfitError(
                f"{program.name} is random: two runs on the same inputs differ; seed it, or run it "
                "in inference"
            )
    if not any(moved.values()):
        other = program.run(_other(given), precision)
        if all(np.array_equal(value, other[name]) for name, value in outputs.items()):
            raise UnfitError(
                f"the output of {program.name} does not depend on its inputs: quite other ones "
                "give the same, to the bit"
            )
    return Measured(program, precision, outputs, moved)


def _unchanging(program: GuardedProgram, given: Given, precision: str) -> Outputs:
    """The outputs of a program, which is to leave its inputs alone."""
    before = [np.array(array) for array in given.arrays]
    outputs = program.run(given, precision)
    if any(
        not np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        for one, other in zip(before, given.arrays, strict=True)
    ):
        raise UnfitError(f"{program.name} writes into its inputs; have it copy them first")
    if not outputs:
        raise UnfitError(f"{program.name} returns nothing that could be compared")
    return outputs


def _check_finite(program: GuardedProgram, outputs: Outputs) -> None:
    for name, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).any():
            raise UnfitError(f"{program.name} returns no number at all as {name}")


def _noisy(given: Given, noise: float, precision: str) -> Given:
    """The same inputs, each number moved up or down by a share of itself."""
    random = np.random.default_rng(0)
    return given.changed(
        [
            (array * (1 + noise * random.choice((-1.0, 1.0), array.shape))).astype(precision)
            if array.dtype.kind == "f"
            else array
            for array in given.in_precision(precision).arrays
        ]
    )


def _other(given: Given) -> Given:
    """Quite other inputs of the same shapes and range: the same numbers in another order."""
    random = np.random.default_rng(1)
    return given.changed(
        [random.permutation(array.reshape(-1)).reshape(array.shape) for array in given.arrays]
    )


def _apart(
    first: Measured, second: Measured, given: Given, tolerance: float | None
) -> tuple[Apart, ...]:
    """How far apart every output of the first is from its counterpart in the second."""
    pairs = _counterparts(first, second)
    narrow = {} if tolerance is not None else _narrow(first, second, given)
    found = []
    for name, other in pairs.items():
        one, two = first.outputs[name], second.outputs[other]
        error = _in_spreads(one, two)
        if tolerance is not None:
            allowed = tolerance
        elif name in narrow:
            allowed = max(FLOOR[FLOAT32], narrow[name])
        else:
            allowed = max(FLOOR[FLOAT64], first.moved[name], second.moved[other])
        found.append(Apart(name, error, allowed))
    return tuple(found)


def _counterparts(first: Measured, second: Measured) -> dict[str, str]:
    """The outputs of the first, and those of the second that are to be the same: by name, or order.

    Raises:
        UnfitError: there are more of them in one program, or shapes cannot be compared.
    """
    one, two = first.outputs, second.outputs
    if len(one) != len(two):
        raise UnfitError(
            f"{first.program.name} returns {len(one)} outputs ({', '.join(one)}), "
            f"{second.program.name} {len(two)} ({', '.join(two)}); return the same ones"
        )
    pairs = (
        {name: name for name in one} if set(one) == set(two) else dict(zip(one, two, strict=True))
    )
    for name, other in pairs.items():
        if difference(one[name], two[other]) is None:
            raise UnfitError(
                f"{name} of {first.program.name} has the shape {one[name].shape}, {other} of "
                f"{second.program.name} {two[other].shape}; these cannot be compared"
            )
    return pairs


def _narrow(first: Measured, second: Measured, given: Given) -> dict[str, float]:
    """What float32 explains of every output, where one of the two runs in it; else nothing."""
    if FLOAT32 not in (first.precision, second.precision):
        return {}
    wide = next((runs for runs in (first, second) if runs.precision == FLOAT64), None)
    if wide is None:
        moves = {
            name: max(first.moved[name], second.moved[other])
            for name, other in _counterparts(first, second).items()
        }
        return {name: NARROW_OPERATIONS * moved for name, moved in moves.items()}
    outputs = wide.program.run(given, FLOAT32)
    own = {name: _in_spreads(value, outputs[name]) for name, value in wide.outputs.items()}
    names = _counterparts(first, second)
    return {
        name: NARROW_SHARE * own[name if wide is first else other] for name, other in names.items()
    }


def _in_spreads(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference in standard deviations of the first; infinite where it is no number.

    Whole numbers and truth values are equal, or infinitely far apart.
    """
    if first.dtype.kind != "f" or second.dtype.kind != "f":
        same = first.shape == second.shape and np.array_equal(first, second)
        return 0.0 if same else float("inf")
    gap: Any = difference(first, second)
    if gap is None or not np.isfinite(gap).all():
        return float("inf")
    largest, spread = float(np.abs(gap).max(initial=0)), spread_of(first)
    if largest == 0:
        return 0.0
    return largest / spread if spread else float("inf")
