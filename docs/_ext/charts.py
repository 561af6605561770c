"""Curves as SVG, for pages: readable without scripts, in light and dark, on a phone.

Colours are the site's variables (site.css).  No text is below 13 pixels on a phone, whose column is
as wide as a drawing; a desk shows it larger (pages.css).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 358, 240
LEFT, TOP, BOTTOM = 42, 26, 40  # room for labels around the plot; the y axis is named above
LETTER = 8.4  # of names to the right of it, which may be capitals
APART = 15  # between two names beside the ends of curves
COLOURS = {name: f"var(--{name})" for name in ("paper", "torch", "keras")}
GREY, GRID = "var(--quiet)", "var(--line)"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Curve:
    """A curve with its name; `colour` is a key of COLOURS, or else it is grey."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str = ""
    dashes: str = ""


@dataclass(frozen=True)
class Axis:
    """The range of an axis, what is marked on it, and what it says."""

    name: str
    low: float
    high: float
    ticks: Sequence[float]
    text: Callable[[float], str] = "{:g}".format
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value is, from 0 to 1."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = (math.log10(part) for part in (low, high, max(value, self.low)))
        return min(1.0, max(0.0, (value - low) / (high - low)))


def decades(name: str, low: int, high: int, every: int = 1) -> Axis:
    """A logarithmic axis between two powers of ten."""
    ticks = [10.0**power for power in range(low, high + 1, every)]
    return Axis(name, 10.0**low, 10.0**high, ticks, power_of_ten, logarithmic=True)


def power_of_ten(value: float) -> str:
    """10⁻⁵"""
    return f"10{str(round(math.log10(value))).translate(SUPERSCRIPT)}"


def lines(
    title: str, curves: Sequence[Curve], x: Axis, y: Axis, level: tuple[float, str] | None = None
) -> str:
    """A figure of curves, each named at its end; `level` is a dashed line across, and its name."""
    right_end = WIDTH - 5 - LETTER * max(len(curve.name) for curve in curves)

    def place(across: float, up: float) -> tuple[float, float]:
        return (
            LEFT + x.share(across) * (right_end - LEFT),
            HEIGHT - BOTTOM - y.share(up) * (HEIGHT - TOP - BOTTOM),
        )

    parts = []
    for tick in y.ticks:
        (left, height), (right, _) = place(x.low, tick), place(x.high, tick)
        parts.append(_line(left, height, right, height, GRID))
        parts.append(_text(left - 6, height + 4, y.text(tick), "end"))
    for tick in x.ticks:
        across, low = place(tick, y.low)
        parts.append(_line(across, low, across, low + 4, GREY))
        parts.append(_text(across, low + 17, x.text(tick), "middle"))
    parts.append(_text((LEFT + right_end) / 2, HEIGHT - 5, x.name, "middle"))
    parts.append(_text(2, 11, y.name, "start"))
    if level:
        (left, height), (right, _) = place(x.low, level[0]), place(x.high, level[0])
        parts.append(_line(left, height, right, height, GREY, "6 4"))
        parts.append(_text(left + 4, height - 4, level[1], "start"))
    ends = []
    for curve in curves:
        colour = COLOURS.get(curve.colour, GREY)
        points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in curve.points)
        dashes = f";stroke-dasharray:{curve.dashes}" if curve.dashes else ""
        style = f"fill:none;stroke:{colour};stroke-width:2{dashes}"
        parts.append(f'<polyline points="{points}" style="{style}"/>')
        ends.append((*place(*curve.points[-1])[::-1], curve.name, colour))
    above = -math.inf
    for height, across, name, colour in sorted(ends):
        above = max(height, above + APART)
        parts.append(_text(across + 5, above + 4, name, "start", colour))
    return _figure(title, parts)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "") -> str:
    dashed = f";stroke-dasharray:{dashes}" if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'style="stroke:{colour}{dashed}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = GREY) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'style="fill:{colour}">{escape(text)}</text>'
    )


def _figure(title: str, parts: Sequence[str]) -> str:
    return (
        f'<figure class="chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg><figcaption>{escape(title)}</figcaption></figure>"
    )
