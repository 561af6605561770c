"""How inputs reach a program: under its names, in its types and in its order of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..errors import RosettaError, UsageError
from .program import NCHW, NHWC, Given, Input, UnfitError

Result = TypeVar("Result")
AXES = {(NCHW, NHWC): (0, 2, 3, 1), (NHWC, NCHW): (0, 3, 1, 2)}
FEW = (1, 2, 3, 4)  # channels that images are likely to have


def turned(value: np.ndarray, layout: str, wanted: str) -> np.ndarray:
    """Images (N, ?, ?, ?) of one order of axes in another one."""
    return value if layout == wanted else value.transpose(AXES[layout, wanted])


def layout_of(said: Input, usual: str | None = None) -> str | None:
    """The order of axes that a declared shape shows, or else what is usual; None: not an image."""
    if len(said.shape) != 4:
        return None
    first, last = said.shape[1] in FEW, said.shape[3] in FEW
    if first == last:
        return said.layout or usual
    return NCHW if first else NHWC


class Arranger:
    """Gives a program its images in the order of axes that it takes.

    That is `layout`, where it was said.  Otherwise the declared shape of an input tells, or what is
    `usual` for programs of the kind; where the program does not take that, the other one.  Without
    anything usual the program has to take one of the two only.
    """

    def __init__(self, program: str, layout: str | None, usual: str | None):
        if layout not in (None, NCHW, NHWC):
            raise UsageError(
                f"{program}: layout is {layout!r}; choose from {NCHW}, {NHWC}", argument="layout"
            )
        self.program, self.usual = program, usual
        self.known = layout

    def call(
        self, given: Given, declared: Sequence[Input] | None, run: Callable[[Given], Result]
    ) -> Result:
        """What the program makes of inputs in its own order of axes.

        Raises:
            RosettaError: it takes neither order; or both, and nothing tells which one is meant.
        """
        ways = {
            layout: self._arranged(given, declared, layout)
            for layout in ([self.known] if self.known else self._in_turn())
        }
        if len(ways) == 2 and _alike(*ways.values()):
            return run(ways[NCHW])
        found: dict[str, Result] = {}
        refused: RosettaError | None = None
        for layout, arranged in ways.items():
            try:
                found[layout] = run(arranged)
            except (UnfitError, UsageError):
                raise
            except RosettaError as error:
                refused = refused or error
            if found and (self.usual or self.known):
                break
        if not found:
            assert refused is not None
            raise refused
        if len(found) == 2:
            raise UsageError(
                f"{self.program} takes images as {NCHW} and as {NHWC}, and nothing tells which one "
                "is meant; say which",
                argument="layout",
            )
        ((self.known, result),) = found.items()
        return result

    def _in_turn(self) -> tuple[str, str]:
        return (NHWC, NCHW) if self.usual == NHWC else (NCHW, NHWC)

    def _arranged(self, given: Given, declared: Sequence[Input] | None, layout: str) -> Given:
        """Inputs with every image in the order that its declaration shows, or in this one."""
        said = _by_place(given, declared)
        arrays = [
            turned(array, given.layout, self._wanted(array, given.layout, one, layout))
            if array.ndim == 4
            else array
            for array, one in zip(given.arrays, said, strict=True)
        ]
        return replace(given.changed(arrays), layout=layout)

    def _wanted(self, array: np.ndarray, layout: str, said: Input | None, otherwise: str) -> str:
        if said is None or len(said.shape) != 4:
            return otherwise
        fitting = [
            order
            for order in (NCHW, NHWC)
            if all(
                side in (None, mine)
                for side, mine in zip(
                    said.shape[1:], turned(array, layout, order).shape[1:], strict=True
                )
            )
        ]
        if len(fitting) == 1:
            return fitting[0]
        return otherwise if self.known else layout_of(said, otherwise) or otherwise


def _by_place(given: Given, declared: Sequence[Input] | None) -> list[Input | None]:
    """What is declared of each array, by its name or place; None where nothing is."""
    if declared is None or len(declared) != len(given.arrays):
        return [None] * len(given.arrays)
    named = {one.name: one for one in declared}
    if not set(given.kwargs) <= set(named):
        return list(declared)
    free = iter(one for one in declared if one.name not in given.kwargs)
    return [*(next(free) for _ in given.args), *(named[name] for name in given.kwargs)]


def _alike(one: Given, other: Given) -> bool:
    return all(
        a is b or (a.shape == b.shape and a.strides == b.strides)
        for a, b in zip(one.arrays, other.arrays, strict=True)
    )


def bound(
    program: str, given: Given, declared: Sequence[Input], precision: str | None = None
) -> dict[str, np.ndarray]:
    """The inputs under the names, in the order and types that a program declares.

    One array may have any name.  With a precision, what is declared as floating-point numbers is in
    that instead.

    Raises:
        UsageError: there are others than the program has, or one has another shape, or numbers
            that its type cannot hold.
    """
    named = dict(given.kwargs)
    names = [one.name for one in declared]
    if len(declared) == len(named) == 1 and not given.args:
        named = dict(zip(names, named.values(), strict=True))
    free = [name for name in names if name not in named]
    if len(given.args) != len(free) or len(named) + len(free) != len(names):
        raise UsageError(
            f"{program} takes {', '.join(names)}; it was given {len(given.args)} inputs by "
            f"position and {', '.join(named) or 'none'} by name"
        )
    named |= dict(zip(free, given.args, strict=True))
    if precision is not None:
        declared = [
            replace(one, dtype=precision) if "float" in one.dtype else one for one in declared
        ]
    return {one.name: _typed(program, named[one.name], one) for one in declared}


def _typed(program: str, array: np.ndarray, said: Input) -> np.ndarray:
    """An array in the type that is declared.

    Raises:
        UsageError: it has another shape but for the number of examples, or is to be whole numbers,
            and is not.
    """
    fits = len(said.shape) == array.ndim and all(
        side in (None, mine) for side, mine in zip(said.shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise UsageError(
            f"{program} takes the shape {shape_in_words(said.shape)} as {said.name}; it was given "
            f"{shape_in_words(array.shape)}"
        )
    wanted = np.dtype(said.dtype)
    if wanted.kind in "iub" and array.dtype.kind == "f":
        limits = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        if not (np.equal(array, np.round(array)).all() and _within(array, *limits)):
            raise UsageError(
                f"{program} takes {said.dtype} as {said.name}; it was given numbers that are not "
                "whole, or out of its range"
            )
    return np.ascontiguousarray(array, wanted).reshape(array.shape)


def _within(array: np.ndarray, least: int, most: int) -> bool:
    return not array.size or bool(array.min() >= least and array.max() <= most)


def shape_in_words(shape: Sequence[int | None]) -> str:
    """A shape as it is written, an open side as "?"."""
    return f"({', '.join('?' if side is None else str(side) for side in shape)})"
