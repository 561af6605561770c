"""Where the zeros go around a map, and which pixels a window then reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drawings.blocks import example
from drawings.canvas import COLUMN, Canvas
from drawings.registry import drawing
from efficientnet_rosetta.common.network import Padding, same_padding, symmetric_padding
from efficientnet_rosetta.common.spec import resolve

SHOWN = 4  # pixels that are drawn at each end of a side
ROOM, GAP = 170.0, 14.0  # units of a map, and of the pixels between

Place = Callable[[int], float | None]


@dataclass(frozen=True)
class Side:
    """One axis of a map under both rules: its pixels, the window, the stride."""

    size: int
    kernel: int
    stride: int

    @property
    def rules(self) -> tuple[tuple[str, str, Padding], ...]:
        """Framework, what it does, zeros before and after."""
        same = same_padding(self.size, self.kernel, self.stride)
        return (
            ("torch", "PyTorch, symmetric", symmetric_padding(self.kernel)),
            ("keras", "TensorFlow, SAME", same),
        )

    @property
    def shift(self) -> int:
        """By how many pixels the windows of the two rules are apart."""
        (_, _, symmetric), (_, _, same) = self.rules
        return symmetric[0] - same[0]


def stem() -> tuple[Side, ...]:
    """The first convolution of B0, at its own size and at one pixel more."""
    sides = []
    for more in (0, 1):
        network = resolve("b0", resolution=resolve("b0").resolution[0] + more)
        sides.append(Side(network.stem.input_size[0], network.stem.kernel, network.stem.stride))
    return tuple(sides)


def inside() -> tuple[Side, ...]:
    """A depthwise convolution at the size that it has in B0, and at one pixel more."""
    block = example()
    sizes = (block.input_size[0], block.input_size[0] + 1)
    return tuple(Side(size, block.kernel, block.stride) for size in sizes)


@drawing("padding of a block", of=inside)
@drawing("padding", of=stem)
def padding(sides: tuple[Side, ...]) -> Canvas:
    """Both rules beside each other, for an even map and for an odd one."""
    told = [
        f"at {side.size} pixels with a window of {side.kernel} and a stride of {side.stride}, "
        + "; ".join(f"{name} puts {b} before and {a} after" for _, name, (b, a) in side.rules)
        for side in sides
    ]
    canvas = Canvas(COLUMN, 4 + 264 * len(sides), "Zeros around a map: " + ". ".join(told))
    for number, side in enumerate(sides):
        top = 264.0 * number
        canvas.text(4, top + 18, f"{side.size} × {side.size} pixels", kind="strong")
        canvas.text(COLUMN - 4, top + 18, f"{{k}} = {side.kernel}, {{s}} = {side.stride}", "end")
        for column, (framework, name, zeros) in enumerate(side.rules):
            left = 4 + 180.0 * column
            canvas.text(left, top + 40, name, kind=framework)
            canvas.text(left, top + 57, f"zeros: {zeros[0]} before, {zeros[1]} after", kind="quiet")
            _map(canvas, side, zeros, (left, top + 66), framework)
        apart = abs(side.shift)
        words = f"{apart} pixel apart: every window is shifted" if apart else "The same windows"
        canvas.text(4, top + 253, words, kind="good" if not apart else "paper")
    return canvas


def _map(
    canvas: Canvas, side: Side, zeros: Padding, at: tuple[float, float], framework: str
) -> None:
    """The four corners of a map, zeros around it, first and last window, centres of windows."""
    before, after = zeros
    most = max(max(pair) for _, _, pair in side.rules)
    cell = (ROOM - GAP) / (2 * most + 2 * SHOWN)
    starts = list(range(-before, side.size + after - side.kernel + 1, side.stride))
    last = starts[-1] + side.kernel - 1

    def place(pixel: int) -> float | None:
        """Where a row or a column begins, or None where it is not drawn."""
        if pixel < SHOWN:
            return (pixel + most) * cell
        if pixel >= side.size - SHOWN:
            return (most + 2 * SHOWN + pixel - side.size) * cell + GAP
        return None

    drawn = [pixel for pixel in range(-before, side.size + after) if place(pixel) is not None]
    for row in drawn:
        for column in drawn:
            inside = 0 <= row < side.size and 0 <= column < side.size
            unread = max(row, column) > last
            kind = "pixel" if inside else "unread" if unread else "zero"
            canvas.rect(at[0] + _at(place, column), at[1] + _at(place, row), cell, cell, kind)
    half = side.kernel * cell / 2
    whole = [start for start in starts if _is_whole(place, start, side.kernel, cell)]
    for row in whole:
        for column in whole:
            x, y = at[0] + _at(place, column), at[1] + _at(place, row)
            canvas.dot(x + half, y + half, 2.6, f"dot-{framework}")
            if row == column and row in (starts[0], starts[-1]):
                canvas.window(x, y, side.kernel * cell, f"window of-{framework}")


def _at(place: Place, pixel: int) -> float:
    found = place(pixel)
    if found is None:
        raise ValueError(f"pixel {pixel} is not drawn")
    return found


def _is_whole(place: Place, start: int, kernel: int, cell: float) -> bool:
    """Whether all pixels of a window are drawn, and beside one another."""
    first, last = place(start), place(start + kernel - 1)
    return first is not None and last is not None and last - first < kernel * cell
