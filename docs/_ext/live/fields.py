"""The part of a photograph that one value of a map depends on, after each block of B0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from drawings.canvas import COLUMN, Canvas
from efficientnet_rosetta.common.network import MapSection, Network
from efficientnet_rosetta.common.spec import resolve
from live.photographs import FIRST, SIDE, picture
from live.registry import Live, register, said, slider
from receptive import receptive_fields

MIDDLE = 50  # of 100, from the first value of a row or column to the last
TOP = 40  # units above the photograph
SAID = (
    "After {name} a value depends on {field} × {field} pixels. They cover {share} of the "
    "photograph. The map has {size} × {size} values, and the field of the next one begins {step} "
    "pixels further on."
)


@dataclass(frozen=True)
class Seen:
    """What a value sees along one axis: `field` pixels, the first value from pixel `first` on.

    Each next value sees as many, which begin `step` pixels later.
    """

    name: str
    size: int
    first: int
    step: int
    field: int

    def reach(self, percent: int) -> tuple[int, int]:
        """The first pixel that a value depends on, and the one after the last."""
        start = self.first + self.step * (percent * (self.size - 1) // 100)
        return start, start + self.field


@cache
def sections() -> tuple[Seen, ...]:
    """After the stem, every block and the head of B0, without gates, which see everything."""
    return tuple(_sections(resolve("b0")))


def _sections(network: Network) -> Iterator[Seen]:
    fields = receptive_fields(network)
    for section in network.maps:
        field = fields[section.role]
        yield Seen(_name(section), section.output_size[0], field.start, field.stride, field.size)


def _name(section: MapSection) -> str:
    kind, *numbers = (part for part in section.role.split(".") if part != "blocks")
    if not numbers:
        return f"the {kind}"
    stage, repeat = numbers
    return f"block {int(repeat) + 1} of stage {stage}"


def share(seen: Seen, row: int, column: int) -> str:
    """How much of the photograph is in the field of a value."""
    (top, bottom), (left, right) = seen.reach(row), seen.reach(column)
    high, wide = min(bottom, SIDE) - max(top, 0), min(right, SIDE) - max(left, 0)
    percent = 100 * high * wide // SIDE**2
    return "all" if percent == 100 else f"{percent} %" if percent else "less than 1 %"


def chosen() -> int:
    """The section to begin with: the first whose values see a quarter of the photograph."""
    return next(number for number, seen in enumerate(sections()) if 2 * seen.field >= SIDE)


def words(seen: Seen) -> str:
    """What a value in the middle sees."""
    return SAID.format(**asdict(seen), share=share(seen, MIDDLE, MIDDLE))


def still(static: str) -> str:
    """The photograph, and the field of a value in the middle of the map."""
    seen = sections()[chosen()]
    left = (COLUMN - SIDE) / 2
    canvas = Canvas(COLUMN, SIDE + 2 * TOP, f"{FIRST}, and the part of it that a value depends on")
    start, end = seen.reach(MIDDLE)
    field = (left + start, TOP + start, end - start, end - start)
    canvas.rect(*field, "zeros")  # of which the photograph leaves what is beyond its edges
    canvas.parts.append(picture(static, FIRST, SIDE, (left, TOP)))
    canvas.parts.append(f'<path class="unseen" d="{_around(seen, left)}"/>')
    canvas.rect(*field, "field")
    return f"{canvas.svg()}{said(words(seen))}"


def _around(seen: Seen, left: float) -> str:
    """The photograph without what is seen of it."""
    start, end = (min(max(edge, 0), SIDE) for edge in seen.reach(MIDDLE))
    whole = f"M{left:g} {TOP}h{SIDE}v{SIDE}h-{SIDE}z"
    return f"{whole}M{left + start:g} {TOP + start}v{end - start}h{end - start}v-{end - start}z"


def data() -> dict[str, Any]:
    """The numbers of every section."""
    return {
        "sections": [asdict(seen) for seen in sections()],
        "side": SIDE,
        "said": SAID,
    }


register(
    Live(
        "fields",
        slider("section", "after", range(len(sections())), chosen(), sections()[chosen()].name)
        + slider("row", "down", range(101), MIDDLE, f"{MIDDLE} %")
        + slider("column", "across", range(101), MIDDLE, f"{MIDDLE} %"),
        still,
        data,
    )
)
