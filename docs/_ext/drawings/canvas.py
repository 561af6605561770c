"""What drawings are made of: texts, lines, arrows, slabs of tensors, windows and axes, as SVG.

Positions and lengths are in units of the drawing, of which one is 0.98 CSS pixels at least: a
drawing is shown larger where there is room, and scrolls where there is not.  So texts of 13.5 units
are of 13 pixels or more.  Colours
come from classes (docs/_static/drawings.css), with which one drawing serves light, dark and print.

A text may name symbols, `"{k} = 5"`: each is set as the letter that the equations have for it, and
lights up together with them where its page knows the symbol.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]

# What a symbol looks like; the TeX of the equations says the same of it.
LETTERS = {
    "C": "C",
    "D": "C\u2032",
    "H": "H",
    "L": "L",
    "M": "M",
    "N": "N",
    "P": "P",
    "R": "R",
    "alpha": "\u03b1",
    "beta": "β",
    "d": "d",
    "eta": "η",
    "g": "g",
    "gamma": "\u03b3",
    "i": "i",
    "k": "k",
    "p": "p",
    "phi": "φ",
    "r": "r",
    "s": "s",
    "t": "t",
    "w": "w",
    "x": "x",
    "y": "y",
}
COLUMN, WIDE = 358, 760  # units: what fits beside the programs and on a phone; what fits a page
DEPTH = 0.3  # of a slab, seen at an angle, over its height


@dataclass
class Canvas:
    """A drawing in the making; `title` is what somebody hears who does not see it."""

    width: float
    height: float
    title: str
    parts: list[str] = field(default_factory=list)

    # ---------------------------------------------------------------- out

    @property
    def symbols(self) -> set[str]:
        """The symbols that are in it."""
        return set(re.findall(r"\bcon-(\w+)", "".join(self.parts)))

    def svg(self, known: Collection[str] = ()) -> str:
        """The drawing; symbols that are not `known` to its page are letters like others."""
        body = re.sub(
            r" con con-(\w+)",
            lambda match: match[0] if match[1] in known else "",
            "".join(self.parts),
        )
        title = escape(self.title)
        size = f"{self.width:g}"
        return (
            f'<svg viewBox="0 0 {size} {self.height:g}" role="img" aria-label="{title}" '
            f'style="min-width:{0.98 * self.width:.0f}px;max-width:{1.15 * self.width:.0f}px">'
            f"<title>{title}</title>{body}</svg>"
        )

    # ---------------------------------------------------------------- texts

    def text(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> None:
        """A line of text on the baseline `y`; `{k}` in it is the symbol k."""
        pieces = []
        for number, piece in enumerate(re.split(r"\{(\w+)\}", text)):
            if number % 2:
                pieces.append(f'<tspan class="symbol con con-{piece}">{LETTERS[piece]}</tspan>')
            else:
                pieces.append(escape(piece))
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}"{_class(kind)} text-anchor="{anchor}">'
            f"{''.join(pieces)}</text>"
        )

    def lines(
        self, x: float, y: float, texts: Sequence[str], anchor: str = "start", kind: str = ""
    ) -> None:
        """Lines of text below one another, the first on the baseline `y`."""
        for number, text in enumerate(texts):
            self.text(x, y + 18 * number, text, anchor, kind)

    # ---------------------------------------------------------------- shapes

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        kind: str = "front",
        opacity: float = 1,
    ) -> None:
        """A box by its upper left corner; `kind` is what it stands for."""
        faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            f"{_class(kind)}{faint}/>"
        )

    def polygon(self, points: Sequence[Point], kind: str) -> None:
        """A closed shape."""
        self.parts.append(f'<polygon points="{_points(points)}"{_class(kind)}/>')

    def path(self, points: Sequence[Point], kind: str = "line") -> None:
        """Lines through points."""
        self.parts.append(f'<polyline points="{_points(points)}"{_class(kind)}/>')

    def dot(self, x: float, y: float, radius: float = 3, kind: str = "dot") -> None:
        """A filled circle."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"{_class(kind)}/>')

    def arrow(self, *points: Point, kind: str = "line") -> None:
        """Lines through points, with a head at the last, which they reach along an axis."""
        (before, below), (x, y) = points[-2:]
        if abs(x - before) > abs(y - below):
            back = -7 if x > before else 7
            neck, head = (x + back, y), [(x, y), (x + back, y - 4), (x + back, y + 4)]
        else:
            back = -7 if y > below else 7
            neck, head = (x, y + back), [(x, y), (x - 4, y + back), (x + 4, y + back)]
        self.path([*points[:-1], neck], kind)
        self.polygon(head, "head")

    def plus(self, x: float, y: float) -> None:
        """A sum."""
        self.dot(x, y, 10, "sum")
        self.path([(x - 5, y), (x + 5, y)])
        self.path([(x, y - 5), (x, y + 5)])

    def slab(self, x: float, y: float, length: float, height: float) -> float:
        """A tensor: `height` is the side of its maps, `length` its channels, (x, y) below left.

        Returns how far the slab goes to the right of `x`.
        """
        over, up = DEPTH * height * 0.8, DEPTH * height * 0.6
        top, right = y - height, x + length
        self.rect(x, top, length, height, "front")
        self.polygon(
            [(x, top), (x + over, top - up), (right + over, top - up), (right, top)], "top"
        )
        self.polygon(
            [(right, top), (right + over, top - up), (right + over, y - up), (right, y)], "side"
        )
        return length + over

    def window(self, x: float, y: float, side: float, kind: str = "window") -> None:
        """The frame of what a step reads."""
        self.rect(x, y, side, side, kind)

    # ---------------------------------------------------------------- axes

    def axes(self, plot: Plot, across: Sequence[float], up: Sequence[float]) -> None:
        """The two axes of a plot, with marks at these values."""
        left, right = plot.left, plot.left + plot.width
        bottom = plot.top + plot.height
        for value in up:
            _, y = plot.place(0, value)
            self.path([(left, y), (right, y)], "grid")
            self.text(left - 6, y + 4, f"{value:g}", "end", "quiet")
        for value in across:
            x, _ = plot.place(value, 0)
            self.path([(x, bottom), (x, bottom + 4)])
            self.text(x, bottom + 18, f"{value:g}", "middle", "quiet")
        self.path([(left, bottom), (right, bottom)])


@dataclass(frozen=True)
class Plot:
    """A part of a drawing where values are places: from 0 to `most` across, to `high` up."""

    left: float
    top: float
    width: float
    height: float
    most: float
    high: float

    def place(self, across: float, up: float) -> Point:
        """Where a pair of values is."""
        return (
            self.left + self.width * across / self.most,
            self.top + self.height * (1 - up / self.high),
        )

    def points(self, values: Sequence[Point]) -> list[Point]:
        """Where pairs of values are."""
        return [self.place(*value) for value in values]


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
