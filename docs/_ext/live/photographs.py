"""Gates and class activation maps on photographs, as `python docs/seen.py` has measured them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

from drawings.canvas import COLUMN, Canvas
from efficientnet_rosetta.common.spec import MBConvBlock, resolve
from facts import result
from live.registry import Live, choice, register, said, slider

# The photographs by the names of their files, as words.
NAMES = {"coffee": "coffee", "chelsea": "a cat", "rocket": "a rocket"}
FIRST = next(iter(NAMES))


@cache
def seen() -> dict[str, Any]:
    """What was measured."""
    found: dict[str, Any] = result("seen")
    return found


def picture(static: str, name: str, size: int, at: tuple[float, float] = (0, 0)) -> str:
    """A square picture of the pages inside a drawing."""
    return (
        f'<image href="{static}/seen/{name}.webp" x="{at[0]:g}" y="{at[1]:g}" width="{size}" '
        f'height="{size}"/>'
    )


# ------------------------------------------------------------------ class activation maps

SIDE = resolve("b0").resolution[0]  # pixels of a photograph, and units of its drawing
DARKEST = 0.85
EVIDENCE = (
    "{word}: probability {probability}. Its logit is {logit}, the mean of the {cells} cells, which "
    "go from {least} to {most}."
)


def bounds(centres: list[float]) -> list[float]:
    """Where the part of each cell begins and ends: halfway to the next, or at the edge."""
    between = [(before + after) / 2 for before, after in pairwise(centres)]
    return [0.0, *between, float(SIDE)]


def shade(cells: list[list[float]]) -> list[list[float]]:
    """How dark each cell is painted, from none where its evidence is most to `DARKEST`."""
    most = max(map(max, cells))
    return [[DARKEST * (1 - max(cell, 0) / most) for cell in row] for row in cells]


def evidence(found: dict[str, Any]) -> str:
    """Of one class, in words."""
    cells = [cell for row in found["cells"] for cell in row]
    return EVIDENCE.format(
        word=found["word"],
        probability=f"{found['probability']:.2f}",
        logit=f"{sum(cells) / len(cells):.1f}",
        cells=len(cells),
        least=f"{min(cells):.1f}",
        most=f"{max(cells):.1f}",
    )


def still_evidence(static: str) -> str:
    """The first photograph, and the most likely of its classes."""
    found = seen()["evidence"][FIRST][0]
    canvas = Canvas(SIDE, SIDE, f"{NAMES[FIRST]}, bright where the evidence is for {found['word']}")
    canvas.parts.append(picture(static, FIRST, SIDE))
    rows, columns = bounds(seen()["rows"]), bounds(seen()["columns"])
    shades = shade(found["cells"])
    for (top, bottom), line in zip(pairwise(rows), shades, strict=True):
        for (left, right), dark in zip(pairwise(columns), line, strict=True):
            canvas.rect(left, top, right - left, bottom - top, "dark", round(dark, 2))
    return f"{canvas.svg()}{said(evidence(found))}"


def data_of_evidence() -> dict[str, Any]:
    """Classes and cells of every photograph."""
    return {
        "evidence": seen()["evidence"],
        "names": NAMES,
        "darkest": DARKEST,
        "said": EVIDENCE,
    }


register(
    Live(
        "evidence",
        choice("photograph", "Photograph", NAMES.items())
        + choice(
            "rank", "Class", [(str(n), f["word"]) for n, f in enumerate(seen()["evidence"][FIRST])]
        ),
        still_evidence,
        data_of_evidence,
    )
)

# ------------------------------------------------------------------ gates

ACROSS = 12  # maps side by side in the picture of all of them, as docs/seen.py lays them
HIGH = 64  # units of a gate of one
GATED = "The gate of channel {channel} is {gates}."


@cache
def gated() -> MBConvBlock:
    """The block whose gates were measured."""
    (found,) = (block for block in resolve("b0").blocks if block.role == seen()["role"])
    return found


def crop(channel: int) -> str:
    """The part of the picture of all maps that a channel has, as a `viewBox`."""
    height, width = gated().output_size
    return f"{channel % ACROSS * width} {channel // ACROSS * height} {width} {height}"


def strengths(channel: int) -> str:
    """The gate of a channel on each photograph, in words."""
    *before, last = (f"{seen()['gates'][name][channel]:.2f} on {NAMES[name]}" for name in NAMES)
    return GATED.format(channel=channel, gates=f"{', '.join(before)} and {last}")


def still_gates(static: str) -> str:
    """A map before its gate and after it, and the gates of all channels."""
    channel, gates = seen()["strongest"], seen()["gates"][FIRST]
    before, after = "before its gate", f"times {gates[channel]:.2f}"
    return (
        f'<div class="live-maps">{_map(static, channel, before)}'
        f"{_map(static, channel, after, gates[channel])}</div>"
        f"{_bars(gates, channel).svg()}{said(strengths(channel))}"
    )


def _map(static: str, channel: int, label: str, gate: float = 1) -> str:
    """A map of a channel.  Where less is let through, nothing shows through it."""
    height, width = gated().output_size
    nothing = round(255 * seen()["zero"])
    size = f'width="{ACROSS * width}" height="{gated().expanded_channels // ACROSS * height}"'
    return (
        f'<div><svg viewBox="{crop(channel)}" role="img" aria-label="a map, {label}">'
        f'<rect {size} fill="rgb({nothing} {nothing} {nothing})"/>'
        f'<image href="{static}/seen/{FIRST}-maps.webp" {size} opacity="{gate:g}"/></svg>'
        f"<span>{label}</span></div>"
    )


def _bars(gates: list[float], channel: int) -> Canvas:
    canvas = Canvas(COLUMN, HIGH + 22, f"the gates of all {len(gates)} channels")
    wide = (COLUMN - 8) / len(gates)
    for number, gate in enumerate(gates):
        kind = "chosen" if number == channel else "filled"
        canvas.rect(4 + wide * number, HIGH * (1 - gate), wide - 0.4, HIGH * gate, kind)
    canvas.path([(4, HIGH), (COLUMN - 4, HIGH)])
    canvas.text(4, HIGH + 17, f"the gates of all {len(gates)} channels", kind="quiet")
    return canvas


def data_of_gates() -> dict[str, Any]:
    """Gates of every photograph, and where the maps are in their picture."""
    return {
        "gates": seen()["gates"],
        "names": NAMES,
        "across": ACROSS,
        "size": gated().output_size,
        "high": HIGH,
        "said": GATED,
    }


register(
    Live(
        "gates",
        choice("photograph", "Photograph", NAMES.items())
        + slider("channel", "channel", range(gated().expanded_channels), seen()["strongest"]),
        still_gates,
        data_of_gates,
    )
)
