"""Drawings by their names, each with the numbers that it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drawings.canvas import Canvas


@dataclass(frozen=True)
class Drawing:
    """`draw` is given the numbers, `of` takes them from the specification."""

    draw: Callable[[Any], Canvas]
    of: Callable[[], Any]

    def made(self) -> Canvas:
        """The drawing as the specification has it now."""
        return self.draw(self.of())


DRAWINGS: dict[str, Drawing] = {}


def drawing(name: str, of: Callable[[], Any]) -> Callable[[Callable[[Any], Canvas]], Any]:
    """Register what a page may ask for, and where its numbers are from."""

    def register(draw: Callable[[Any], Canvas]) -> Callable[[Any], Canvas]:
        if name in DRAWINGS:
            raise ValueError(f"two drawings are called {name!r}")
        DRAWINGS[name] = Drawing(draw, of)
        return draw

    return register
