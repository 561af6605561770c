"""How far apart outputs are, and how much of that rounding explains.

Outputs that differ by no more than `FLOOR` agree.  Of others it is measured what rounding does to
these programs on these inputs, and the larger of both programs counts:

- Both in float64: what noise of 2^-40 on the inputs does, or `NARROW_SHARE` times what float32 does
  to the program, scaled to float64, where operations inside round more than the inputs show.
- One in float32: `NARROW_SHARE` times what float32 does to the one that also runs in float64.
- Both in float32: `NARROW_OPERATIONS` times what one rounding of the inputs does, each number by
  itself and all together.

Equal programs need little of that.  Measured at 64 to 224 pixels on B0, Lite0, the V2 of tests and
Xception with calibrated weights, in PyTorch, in Keras and as the ONNX graphs of both, and on
ResNet-18, MobileNetV3, ConvNeXt and a ViT of timm's and a BERT beside their ONNX graphs: in float64
the error was 1/480 of the noise's effect at most and 1.9 times the scaled one, beside float64 1.4
times what float32 does, and in float32 1.5 times what one rounding of the inputs does.
"""

from __future__ import annotations

import numpy as np

from ..backends.align import difference, spread_of
from ..backends.comparison import TOLERANCES
from ..backends.judgement import NARROW_SHARE, SATURATED
from .apart import apart, are_numbers, is_mask, resolution, share_apart
from .contract import CONTRACT
from .finding import Apart
from .fitness import check_agreement, check_numbers
from .measure import FINER, Run, no_number
from .program import FLOAT32, FLOAT64, UnfitError

FLOOR = {precision: found.limit for precision, found in TOLERANCES.items()}  # always allowed
# How many times what moving its inputs by one rounding does to a program in float32 all rounding
# may do, which occurs in every operation and not in the inputs alone.
NARROW_OPERATIONS = 30.0
# An allowance of more than this proves nothing: mistakes are as large.  It is of the spread of an
# output, and of what quite other inputs change in it, if that is less.
VAGUE = {FLOAT64: SATURATED, FLOAT32: 1e-2}
# Movement of an output from which on it is not in proportion to noise: rounding explains anything.
EVERYTHING = 0.03
UNMEASURED = 1e-2  # what rounding may explain where nothing of a program can be moved
# What quite other inputs change in an output, in units of what its numbers are rounded by: less is
# nothing that could be compared.
CHANGES = 100.0
# Programs in float64 that are further apart than this do not differ by some value in float32.
MIXED = 1e-3
MANY_TIES = 0.1  # of an output of whole numbers, of which nothing can be said then


class IncomparableError(UnfitError):
    """The outputs of two programs cannot be held against one another."""


def outputs_apart(
    first: Run, second: Run, tolerance: float | None = None, atol: float | None = None
) -> tuple[Apart, ...]:
    """How far apart every output of the first is from its counterpart in the second.

    Raises:
        UnfitError: nothing can be said of one of them, or they cannot be compared.
    """
    pairs = counterparts(first, second)
    check_numbers(first, second, pairs)
    for side in (first, second):
        # What is no number differs, whatever the inputs.
        if not any(map(no_number, side.outputs.values())):
            side.depends  # noqa: B018 - which raises where it does not
        if tolerance is not None or atol is not None:
            side.check_same_twice()
    found = []
    for name, other in pairs.items():
        if tolerance is not None or atol is not None:
            found.append(_said(first, second, name, other, tolerance, atol))
        elif are_numbers(first.outputs[name]) or are_numbers(second.outputs[other]):
            found.append(_numbers(first, second, name, other))
        else:
            found.append(_whole(first, second, name, other))
    if all(output.agrees for output in found):
        check_agreement(first, second)
    return tuple(found)


def counterparts(first: Run, second: Run) -> dict[str, str]:
    """The outputs of the first, and those of the second that are to be the same: by name, or order.

    A function cannot be seen into, and may return values on the way by name; those before as many
    as the other program returns are not compared.

    Raises:
        IncomparableError: one returns more of them, or shapes cannot be compared.
    """
    one, two = list(first.outputs), list(second.outputs)
    if len(one) > len(two) and _has_names(first):
        one = one[-len(two) :]
    elif len(two) > len(one) and _has_names(second):
        two = two[-len(one) :]
    if len(one) != len(two):
        raise IncomparableError(
            f"{first.program.name} returns {len(one)} outputs ({', '.join(one)}), "
            f"{second.program.name} {len(two)} ({', '.join(two)}); return the same ones"
            f"{_broken(first, second)}"
        )
    pairs = dict(zip(one, one if set(one) == set(two) else two, strict=True))
    for name, other in pairs.items():
        shapes = first.outputs[name].shape, second.outputs[other].shape
        if difference(first.outputs[name], second.outputs[other]) is None:
            raise IncomparableError(
                f"{first.program.name} and {second.program.name} have outputs of the shapes "
                f"{shapes[0]} and {shapes[1]}, which cannot be compared ({name} and {other})"
                f"{_broken(first, second)}"
            )
    return pairs


def _has_names(run: Run) -> bool:
    """Whether a function has named what it returns, which is otherwise called by its place."""
    return not run.program.sees_inside and not any(name.isdigit() for name in run.outputs)


def _broken(first: Run, second: Run) -> str:
    """What a function is to keep to, where one of the two is one."""
    sees = first.program.sees_inside and second.program.sees_inside
    return "" if sees else f"; {CONTRACT}"


def _said(
    first: Run, second: Run, name: str, other: str, tolerance: float | None, atol: float | None
) -> Apart:
    """An output that is held to what the caller allows; whole numbers are numbers then."""
    one, two = first.outputs[name], second.outputs[other]
    if tolerance is not None:
        return Apart(name, apart(one, two), tolerance, other, one.shape)
    wide = one.astype(np.float64)
    unit = spread_of(wide[~is_mask(wide)]) or 1.0
    return Apart(name, apart(one, two, unit), (atol or 0.0) / unit, other, one.shape)


def _numbers(first: Run, second: Run, name: str, other: str) -> Apart:
    """An output of floating-point numbers, which is held to what rounding explains."""
    one, two = first.outputs[name], second.outputs[other]
    error = apart(one, two)
    if no_number(one) or no_number(two):
        return Apart(name, error, FLOOR[first.precision], other, one.shape)
    found = _held(first, second, name, other, error)
    if found.agrees or error > MIXED or FLOAT32 in (first.precision, second.precision):
        return found
    for side in (first, second):
        side.is_narrow = side.is_narrow or side.rounds_inside()
    return _held(first, second, name, other, error)


def _held(first: Run, second: Run, name: str, other: str, error: float) -> Apart:
    value = first.outputs[name]
    precision = FLOAT32 if first.is_narrow or second.is_narrow else FLOAT64
    floor, most = FLOOR[precision], VAGUE[precision]
    depends = None if first.depends is None else first.depends[name]
    if depends:  # what is the same for any inputs, to the bit, is a constant and compared as one
        if depends < CHANGES * resolution(value, precision):
            return Apart(name, error, 0.0, other, value.shape, float("inf"))
        most *= min(1.0, depends)
    if error <= min(floor, most):
        return Apart(name, error, min(floor, most), other, value.shape)
    rounding = max(floor, _explained(first, second, name, other))
    if rounding > most:
        for side in (first, second):  # one that is random is nowhere near itself in float32
            side.check_same_twice()
        return Apart(name, error, min(floor, most), other, value.shape, rounding)
    return Apart(name, error, rounding, other, value.shape)


def _explained(first: Run, second: Run, name: str, other: str) -> float:
    """What rounding explains of an output, in standard deviations."""
    both = ((first, name), (second, other))
    wide = [(side, output) for side, output in both if not side.is_narrow]
    if len(wide) == len(both):
        return max(_in_float64(side, output) for side, output in both)
    known = [side.narrowed[output] for side, output in wide if side.narrowed is not None]
    if known:
        return _in_proportion(known[0], NARROW_SHARE)
    if not any(side.can_be_moved for side, _ in both):
        return UNMEASURED
    return _in_proportion(max(side.moved[output] for side, output in both), NARROW_OPERATIONS)


def _in_float64(side: Run, output: str) -> float:
    """What one program's rounding in float64 explains: the noise is as much, on the inputs alone.

    What float32 does to the program says what its own operations do.
    """
    found = _in_proportion(side.moved[output], 1.0)
    if side.narrowed is not None and side.narrowed[output] < EVERYTHING:
        found = max(found, NARROW_SHARE * FINER * side.narrowed[output])
    return found


def _in_proportion(moved: float, times: float) -> float:
    return float("inf") if moved > EVERYTHING else times * moved


def _whole(first: Run, second: Run, name: str, other: str) -> Apart:
    """An output of whole numbers: equal in all places but those where rounding turns them."""
    one, two = first.outputs[name], second.outputs[other]
    none = np.zeros(one.shape, bool)
    if not share_apart(one, two, none):
        return Apart(name, 0.0, 0.0, other, one.shape)
    ties, others = first.ties(name), second.ties(other)
    if others.shape == ties.shape:
        ties |= others
    many = float(np.mean(ties)) > MANY_TIES
    error = share_apart(one, two, none if many else ties)
    return Apart(name, error, 0.0, other, one.shape, float("inf") if many else None)
