"""Padding along one axis: the same convolution by both rules, below each other.

Pixels have the values 1, 2, 3, ... and all weights are 1, so that an output is the sum of what its
window reads.  The script draws what this module draws, for any size, kernel and stride.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

from drawings.canvas import COLUMN, Canvas
from drawings.padding import Side
from efficientnet_rosetta.common.network import Padding
from live.registry import Live, register, said, slider

SIZES, KERNELS, STRIDES = tuple(range(6, 13, 2)), (3, 5, 7), (1, 2, 3)
DEFAULT = Side(8, 3, 2)
CELL, LEFT = 18, 6  # units
TOP, LANE = 28, 9  # of a strip: its title; between windows that would be over each other

SAME = "The same. Both rules read the same pixels for each of the {outputs} outputs."
APART = (
    "{shift} pixel apart. Both rules give {outputs} outputs, and every window of PyTorch begins "
    "{shift} pixel before that of TensorFlow."
)


def outputs(side: Side, zeros: Padding) -> list[tuple[int, int]]:
    """Of every window: its first pixel, counted from 0, and the sum of what it reads."""
    before, after = zeros
    starts = range(-before, side.size + after - side.kernel + 1, side.stride)
    return [(first, _sum(side, first)) for first in starts]


def _sum(side: Side, first: int) -> int:
    read = range(max(first, 0), min(first + side.kernel, side.size))
    return sum(pixel + 1 for pixel in read)


def verdict(side: Side) -> str:
    """What both rules make of it, in words."""
    (_, _, zeros), *_ = side.rules
    words = APART if side.shift else SAME
    return words.format(outputs=len(outputs(side, zeros)), shift=side.shift)


def strips(side: Side) -> Canvas:
    """The map with its zeros by both rules, the windows, and the outputs."""
    lanes = math.ceil(side.kernel / side.stride)
    high = TOP + CELL + LANE * lanes + 48
    title = f"{side.size} pixels, a window of {side.kernel}, a stride of {side.stride}. "
    canvas = Canvas(COLUMN, 2 * high, title + verdict(side))
    for number, (framework, name, zeros) in enumerate(side.rules):
        _strip(canvas, side, (framework, name, zeros), lanes, number * high)
    return canvas


def _strip(
    canvas: Canvas, side: Side, rule: tuple[str, str, Padding], lanes: int, top: float
) -> None:
    framework, name, (before, after) = rule
    found = outputs(side, (before, after))
    last = found[-1][0] + side.kernel - 1
    origin = LEFT + CELL * (side.kernel - 1) // 2  # of pixel 0, which both rules have in one place
    canvas.text(4, top + 16, name, kind=framework)
    canvas.text(COLUMN - 4, top + 16, f"zeros {before} | {after}", "end", "quiet")
    for pixel in range(-before, side.size + after):
        is_zero = not 0 <= pixel < side.size
        kind = ("zero" if pixel <= last else "unread") if is_zero else "pixel"
        x = origin + CELL * pixel
        canvas.rect(x, top + TOP, CELL, CELL, kind)
        value = "0" if is_zero else str(pixel + 1)
        canvas.text(x + CELL / 2, top + TOP + 13.5, value, "middle")
    below = top + TOP + CELL + LANE * lanes
    for number, (first, value) in enumerate(found):
        left, right = origin + CELL * first + 2, origin + CELL * (first + side.kernel) - 2
        y = top + TOP + CELL + LANE * (number % lanes) + 7
        middle = (left + right) / 2
        canvas.path([(left, y - 4), (left, y), (right, y), (right, y - 4)], f"of-{framework}")
        canvas.dot(middle, y, 2.6, f"dot-{framework}")
        canvas.rect(middle - CELL / 2, below + 8, CELL, CELL, "frame")
        canvas.text(middle, below + 21.5, str(value), "middle", framework)
    canvas.text(COLUMN - 4, below + 21.5, "outputs", "end", "quiet")


def still(_: str) -> str:
    """An even map and an odd one, which follows it."""
    return "".join(_part(side) for side in both(DEFAULT))


def _part(side: Side) -> str:
    same = str(not side.shift).lower()
    return (
        f'<div class="live-part" data-same="{same}"><p class="live-title">{side.size} pixels</p>'
        f"{strips(side).svg()}{said(verdict(side))}</div>"
    )


def both(side: Side) -> tuple[Side, Side]:
    """A map, and the one that has a pixel more."""
    return side, Side(side.size + 1, side.kernel, side.stride)


def data() -> dict[str, Any]:
    """Zeros of each rule by "size kernel stride", for all that can be chosen, and sentences."""
    sizes = sorted({size + more for size in SIZES for more in (0, 1)})
    sides = [Side(*given) for given in product(sizes, KERNELS, STRIDES)]
    return {
        "zeros": {
            f"{side.size} {side.kernel} {side.stride}": [zeros for _, _, zeros in side.rules]
            for side in sides
        },
        "rules": [[framework, name] for framework, name, _ in DEFAULT.rules],
        "same": SAME,
        "apart": APART,
    }


register(
    Live(
        "padding",
        slider(
            "n", "pixels n", SIZES, DEFAULT.size, " and ".join(str(s.size) for s in both(DEFAULT))
        )
        + slider("k", "kernel k", KERNELS, DEFAULT.kernel)
        + slider("s", "stride s", STRIDES, DEFAULT.stride),
        still,
        data,
    )
)
