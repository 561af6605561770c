"""The charts of a parity report: coordinates and classes of cells, which the template draws."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SHADES = 8  # of either half of the colour scale
DECADES = 4  # below the tolerance, and up to an error of 1 above it
WIDTH, HEIGHT = 640, 300  # of a chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 54, 110, 14, 26  # its margins
LABEL_HEIGHT = 14
LOWEST = 1e-16

RunContent = dict[str, Any]  # one run of a preset, as in the content of a report


def scientific(value: float | None) -> str:
    """`1.3e-05` the way people write it."""
    if value is None:
        return "∞"  # infinite, or not a number
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "\u2212")


def shade(error: float | None, tolerance: float) -> str:
    """The class of a cell: cool up to the tolerance, warm above, each on a logarithmic scale."""
    if error is None or not math.isfinite(error):
        return f"warm{SHADES - 1}"
    decades = math.log10(max(error, LOWEST) / tolerance)
    warm = error > tolerance
    share = decades / -math.log10(tolerance) if warm else 1 + decades / DECADES
    step = min(max(int(share * SHADES), 0), SHADES - 1)
    return f"{'warm' if warm else 'cool'}{step}"


def judged(run: RunContent, index: int) -> float | None:
    """The error of an endpoint that is held against the tolerance (see backends/comparison.py)."""
    endpoint, last = run["endpoints"][index], index in (-1, len(run["endpoints"]) - 1)
    error: float | None = endpoint["largest" if last else run["tolerance"]["inside"]]
    return error


def largest(errors: Iterable[float | None]) -> float | None:
    """The largest of some errors; None if one is no number."""
    errors = list(errors)
    known = [error for error in errors if error is not None]
    return max(known) if len(known) == len(errors) else None


def worst(run: RunContent) -> float | None:
    """The largest of the judged errors; None if one is no number."""
    return largest(judged(run, index) for index in range(len(run["endpoints"])))


# ------------------------------------------------------------------ charts


@dataclass(frozen=True)
class Line:
    """A run that differs: its points on the chart, and the one where it does so first."""

    label: str
    points: str
    end: tuple[float, float]
    first: tuple[float, float]
    labelled: bool  # not where another label is


@dataclass(frozen=True)
class Chart:
    """What the template draws: coordinates only."""

    width: int
    height: int
    grid: list[tuple[float, str]]  # height and label
    ticks: list[tuple[float, str]]  # place and label
    tolerance: float | None  # its height; None where there is none to draw
    band: str  # the runs that agree, as one polygon
    band_label: str
    lines: list[Line]
    left: int = LEFT
    right: int = WIDTH - RIGHT


def section(endpoint: str) -> str:
    """The part of a network that an endpoint is in: stem, stage 2 to 8, head, ...; or a flow."""
    first, *others = endpoint.split(".")
    return f"stage {others[0]}" if first == "stages" else first


def sections(run: RunContent) -> dict[str, float | None]:
    """The largest error of every section of the network."""
    found: dict[str, float | None] = {}
    for index, endpoint in enumerate(run["endpoints"]):
        name = section(endpoint["endpoint"])
        if name == "reductions":  # the value of the block before
            continue
        found[name] = largest((found.get(name, 0.0), judged(run, index)))
    return found


def charts(runs: Iterable[tuple[str, RunContent]]) -> list[Chart]:
    """One chart for all runs of an architecture, whose networks have the same sections."""
    alike: dict[tuple[str, ...], list[tuple[str, RunContent]]] = {}
    for label, run in runs:
        alike.setdefault(tuple(sections(run)), []).append((label, run))
    return [chart(some) for some in alike.values()]


def chart(runs: Sequence[tuple[str, RunContent]]) -> Chart:
    """The error along the network: a band for the runs that agree, a line for each other one."""
    rows = [(label, run, sections(run)) for label, run in runs]
    names = list(rows[0][2])
    tolerance = max(run["tolerance"]["limit"] for _, run, _ in rows)
    known = [error for _, _, errors in rows for error in errors.values() if error]
    low = math.floor(math.log10(max(min(known, default=tolerance), LOWEST)))
    high = max(0, math.ceil(math.log10(max(known, default=1.0))))

    def x(index: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * index / max(len(names) - 1, 1), 1)

    def y(error: float | None) -> float:
        power = high if error is None else math.log10(max(error, 10.0**low))
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - power) / (high - low), 1)

    agreeing = [
        {name: error for name, error in errors.items() if error is not None}
        for _, run, errors in rows
        if run["agrees"]
    ]
    band = ""
    if agreeing:
        top = [f"{x(i)},{y(max(e[name] for e in agreeing))}" for i, name in enumerate(names)]
        bottom = [f"{x(i)},{y(min(e[name] for e in agreeing))}" for i, name in enumerate(names)]
        band = " ".join([*top, *reversed(bottom)])
    lines: list[Line] = []
    for label, run, errors in rows:
        if not run["agrees"]:
            points = [(x(index), y(errors[name])) for index, name in enumerate(names)]
            limit = run["tolerance"]["limit"]
            over = [
                index
                for index, name in enumerate(names)
                if (error := errors[name]) is None or error > limit
            ]
            text = " ".join(f"{a},{b}" for a, b in points)
            near = [line for line in lines if abs(line.end[1] - points[-1][1]) < LABEL_HEIGHT]
            lines.append(Line(label, text, points[-1], points[over[0]], not near))
    powers = range(low, high + 1, max(1, (high - low) // 6))
    return Chart(
        WIDTH,
        HEIGHT,
        [(y(10.0**power), f"1e{power}".replace("-", "\u2212")) for power in powers],
        [(x(index), name.replace("stage ", "s")) for index, name in enumerate(names)],
        y(tolerance),
        band,
        f"{len(agreeing)} that agree{'s' if len(agreeing) == 1 else ''}",
        lines,
    )
