"""What the published EfficientNet-Lite says of photographs, and what one wrong thing does to it."""

from __future__ import annotations

from html import escape
from typing import Any

NETWORKS = {"lite0": "Lite0", "lite1": "Lite1", "lite2": "Lite2"}
WIDTH, ROW, NAMES, VALUES = 640, 26, 290, 150  # of the drawing, in its own units


def rows_of_words(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """For every photograph the most likely word of each network."""
    said = found["words"]
    return [
        (f"`{name}`", *(_cell(*said[preset][name][0]) for preset in NETWORKS))
        for name in said["lite0"]
    ]


def _cell(word: str, share: float) -> str:
    return f"{word} {share:.4f}"


def bars_of_effects(found: dict[str, Any]) -> str:
    """The root mean square of every change as a bar, the largest first, with what it leaves."""
    effects = sorted(found["effects"].items(), key=lambda item: -item[1]["rms"])
    largest = max(effect["rms"] for _, effect in effects)
    room = WIDTH - NAMES - VALUES
    lines = []
    for number, (name, effect) in enumerate(effects):
        top, length = number * ROW, max(1.0, room * effect["rms"] / largest)
        left = f"{effect['rms']:.2g}, {effect['kept']} of {effect['of']} words right"
        lines += [
            f'<text x="{NAMES - 8}" y="{top + 17}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{NAMES}" y="{top + 5}" width="{length:.1f}" height="16"/>',
            f'<text x="{NAMES + length + 6:.1f}" y="{top + 17}">{left}</text>',
        ]
    height = ROW * len(effects)
    title = "What one wrong thing does to the logits of EfficientNet-Lite0"
    return (
        f'<figure class="chart effects"><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{title}">{"".join(lines)}</svg></figure>'
    )
