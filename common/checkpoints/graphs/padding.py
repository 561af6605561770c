"""Which padding rule the windows of a graph keep to, and so which dialects compute as it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...network import KERAS_HUB_MIXED, Padding, Rule, Size, same_padding, symmetric_padding
from .matching import MismatchError, Strided
from .values import Window

RULES: tuple[Rule, ...] = ("same", "symmetric")
# The paddings of a dialect: one rule for every window, or SAME in depthwise convolutions only.
Paddings = Literal["same", "symmetric", "mixed"]
PADDINGS: tuple[Paddings, ...] = (*RULES, "mixed")


def paddings(windows: Sequence[Strided], known: bool, mixed: bool) -> tuple[Paddings, ...]:
    """What explains the border of every window: several at sizes where all pad alike.

    `known` says whether the sizes of the windows' maps are those of the graph, and `mixed` whether
    somebody computes the network by two rules, which otherwise is a mistake.

    Raises:
        MismatchError: nothing does.
    """
    possible: set[Paddings] = set(PADDINGS if mixed else RULES)
    for window in windows:
        fitting = _fitting(window, known)
        if not fitting:
            raise MismatchError(f"{window.role} has a border that no padding rule gives it")
        fits_mixed = KERAS_HUB_MIXED.rule(window.kind) in fitting
        possible &= {*fitting, "mixed"} if fits_mixed else {*fitting}
        if not possible:
            raise MismatchError(f"{window.role} is padded by another rule than the layers after it")
    if len(possible) > 1 and not known and any(window.stride > 1 for window in windows):
        # The same numbers at any size are what the rule of one size is not.
        possible = {"symmetric"} if "symmetric" in possible else {"mixed"}
    return tuple(padding for padding in PADDINGS if padding in possible)


def _fitting(strided: Strided, known: bool) -> set[Rule]:
    window, kernel, stride = strided.window, strided.kernel, strided.stride
    if not strided.padded:
        return set(RULES) if window.pads == (0, 0, 0, 0) else set()
    symmetric = symmetric_padding(kernel)
    if isinstance(window.pads, str):
        alike = known and all(same_padding(n, kernel, stride) == symmetric for n in strided.size)
        return set(RULES) if stride == 1 or alike else {"same"}
    top, left, bottom, right = window.pads
    found: tuple[Padding, ...] = ((top, bottom), (left, right))
    if isinstance(window, Window) and window.ceil:
        if not known:
            return set()
        # What is rounded up is a border of the places that the last window lacks.
        found = tuple(
            (pads[0], pads[1] + -(size + sum(pads) - kernel) % stride)
            for pads, size in zip(found, strided.size, strict=True)
        )
    fitting: set[Rule] = {"symmetric"} if found == (symmetric, symmetric) else set()
    if all(_same(pads, n, strided, known) for pads, n in zip(found, strided.size, strict=True)):
        fitting.add("same")
    return fitting


def _same(pads: Padding, size: int, strided: Strided, known: bool) -> bool:
    sizes = [size] if known else range(strided.stride)
    return any(same_padding(n, strided.kernel, strided.stride) == pads for n in sizes)


def size_of(shape: Sequence[int | None], order: Sequence[int]) -> Size | None:
    """Height and width of an image, by the places of its axes N, C, H, W; None where open."""
    height, width = (shape[axis] for axis in order[2:])
    return None if height is None or width is None else (height, width)
