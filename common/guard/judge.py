"""Whether two programs compute the same on what they are given, and the first place where not.

Both run in float64 where they can, which is the referee.  Outputs that are closer than is always
allowed agree.  Where they are further apart, what is allowed is what rounding does to these
programs on these inputs: see `allowance`.  Each program is run on quite other inputs as well, which
shows one that ignores them, and where it is measured, twice on the same, which shows one that is
random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..backends.align import difference, first_divergence
from ..errors import UsageError
from .allowance import IncomparableError, outputs_apart
from .finding import Apart, Finding
from .kind import Kind
from .measure import Measured, RandomError, Recorded, Run, end_of
from .parting import Parting, agreeing, parted
from .program import FLOAT32, FLOAT64, Given, GuardedProgram, UnfitError

__all__ = [
    "Apart",
    "Finding",
    "Measured",
    "Recorded",
    "UnfitError",
    "judge",
    "judge_all",
]

Pair = tuple[GuardedProgram, GuardedProgram]


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
        UsageError: a program has no value of a name in `after`, or cannot be run from the middle.
        RosettaError: a program fails on these inputs.
    """
    try:
        sides = _begun(first, second, given, after)
    except UnfitError as unfit:
        return _unfit((first, second), given, unfit)
    return _located(_judged(*sides, tolerance, atol), *sides, inside)


def judge_all(
    programs: Sequence[GuardedProgram],
    givens: Sequence[Given],
    tolerance: float | None = None,
    after: tuple[str, str] | None = None,
    *,
    atol: float | None = None,
    inside: bool = False,
) -> list[Finding]:
    """Compare every later program with the first, on all inputs; the worst finding first.

    Of the findings of a pair of programs only the worst says where they part.

    Raises:
        UsageError: as `judge`.
        RosettaError: a program fails on some of these inputs.
    """
    firsts: dict[int, Run] = {}  # of the first program, on each of the inputs
    found: list[Finding] = []
    for other in programs[1:]:
        findings: list[tuple[Finding, tuple[Run, Run] | None]] = []
        for number, given in enumerate(givens):
            pair = programs[0], other
            try:
                if after is None:
                    if number not in firsts:
                        firsts[number] = Run(programs[0], given)
                    sides = firsts[number], Run(other, given)
                else:
                    sides = _begun(*pair, given, after)
            except UnfitError as unfit:
                findings.append((_unfit(pair, given, unfit), None))
                continue
            findings.append((_judged(*sides, tolerance, atol), sides))
        findings.sort(key=lambda one: _badness(one[0]), reverse=True)
        worst, runs = findings[0]
        found.append(worst if runs is None else _located(worst, *runs, inside))
        found.extend(finding for finding, _ in findings[1:])
    return sorted(found, key=_badness, reverse=True)


def _badness(found: Finding) -> tuple[bool, bool, bool, float]:
    """What findings are put in order by, the worst last."""
    share = found.worst.share if found.outputs else 0.0
    differs = any(output.differs for output in found.outputs)
    return differs or found.incomparable, not found.agree, found.divergence is not None, share


def _begun(
    first: GuardedProgram, second: GuardedProgram, given: Given, after: tuple[str, str] | None
) -> tuple[Run, Run]:
    """Both programs on their inputs, or from a value of the first on."""
    if after is None:
        return Run(first, given), Run(second, given)
    values = [_value(side, name, given) for side, name in zip((first, second), after, strict=True)]
    # What the second continues from is the first's value, in the second's own order of axes.
    gap = difference(values[1], values[0])
    if gap is None:
        raise UsageError(f"{after[0]} and {after[1]} have different shapes", argument="after")
    return (
        Run(first, given, {after[0]: values[0]}),
        Run(second, given, {after[1]: values[1] + gap}),
    )


def _value(program: GuardedProgram, name: str, given: Given) -> np.ndarray:
    """A value inside a program.

    Raises:
        UsageError: it has none of this name, or cannot be seen into.
    """
    if not program.sees_inside:
        raise UsageError(f"{program.name} cannot be run from the middle", argument="after")
    for step in program.trace(given, Run(program, given).precision):
        if step.name == name:
            return np.array(step.value)
    raise UsageError(f"{program.name}: has no value {name!r}", argument="after")


def _judged(first: Run, second: Run, tolerance: float | None, atol: float | None) -> Finding:
    """How far apart the outputs are, or why nothing can be said of them."""
    pair = first.program, second.program
    try:
        outputs = outputs_apart(first, second, tolerance, atol)
        if any(output.differs for output in outputs):
            for side in (first, second):  # what is random has no place where it parts
                side.check_same_twice()
    except UnfitError as unfit:
        return _unfit(pair, first.given, unfit)
    return replace(
        _finding(pair, first.given),
        precisions=(first.precision, second.precision),
        outputs=outputs,
    )


def _finding(pair: Pair, given: Given) -> Finding:
    first, second = pair
    return Finding(
        names=(first.name, second.name),
        kinds=(first.kind, second.kind),
        precisions=(first.precisions[-1], second.precisions[-1]),
        inputs=tuple(f"{array.dtype} {array.shape}" for array in given.arrays),
    )


def _unfit(pair: Pair, given: Given, error: UnfitError) -> Finding:
    incomparable = isinstance(error, IncomparableError)
    found = replace(_finding(pair, given), unfit=str(error), incomparable=incomparable)
    if not isinstance(error, RandomError) or not error.run.program.sees_inside:
        return found
    one, other = (
        error.run.program.trace(error.run.given, error.run.precision, error.run.instead)
        for _ in range(2)
    )
    divergence = first_divergence(one, other, 0.0)
    if divergence is None:
        return found
    # A value that only one of the runs has is as random as one that both have.
    where = divergence.operation or divergence.counterpart
    why = f"two runs of {error.run.program.name} differ first in {where}"
    return replace(found, divergence=divergence, kind=Kind("randomness", why))


def _located(found: Finding, first: Run, second: Run, inside: bool) -> Finding:
    """The same, with the place where the programs part if they differ."""
    differs = any(output.differs for output in found.outputs)
    if not differs and not (inside and found.unfit is None):
        return found
    if first.program.sees_inside != second.program.sees_inside:
        return found  # what one shows of its inside has no counterpart, and is no difference
    precision = FLOAT32 if first.is_narrow or second.is_narrow else FLOAT64
    one, other = (
        side.program.trace(side.given, side.precision, side.instead) for side in (first, second)
    )
    if not differs:
        return replace(found, pairs=agreeing(one, other, precision))
    if not one or not other:
        return found  # whole numbers alone, which have no place in a trace
    ends = (
        (end_of(one, found.worst.output) or one[-1]).name,
        (end_of(other, found.worst.other) or other[-1]).name,
    )
    parting = parted(one, other, ends, precision, first.given.arrays)
    if not first.program.sees_inside:  # an output that differs has no mark of what made it so
        return replace(found, divergence=parting.divergence, pairs=parting.pairs)
    return replace(
        found,
        divergence=parting.divergence,
        jump=parting.jump,
        kind=parting.kind,
        pairs=parting.pairs,
        resume=_resume(parting, first.program, second.program),
    )


def _resume(
    parting: Parting, first: GuardedProgram, second: GuardedProgram
) -> tuple[str, str] | None:
    """The last values that agree and that both programs can go on from."""
    if parting.divergence is None or parting.divergence.after is None:
        return None
    names = [pair[:2] for pair in parting.pairs]
    if parting.divergence.after not in names:
        return None
    known = names[: names.index(parting.divergence.after) + 1]
    return next(
        (
            (one, other)
            for one, other in reversed(known)
            if first.goes_on_from(one) and second.goes_on_from(other)
        ),
        None,
    )
