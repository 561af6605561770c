"""Figures that a reader can change: what stands in a page of them, and what their scripts read.

Each has a form of controls, which is hidden until its script (`docs/_static/live_*.js`) has come,
and a first picture, which is all that there is without it.  Nothing here knows Sphinx, so that
tests use it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from inline import as_json


@dataclass(frozen=True)
class Live:
    """A figure by its name, which its script has as well: `live_{name}.js`.

    `controls` are HTML, and `still` gives the first picture as HTML where it is told the address of
    the static files; `data` is what the script reads.
    """

    name: str
    controls: str
    still: Callable[[str], str]
    data: Callable[[], Any]

    def html(self, static: str) -> str:
        """All of the figure but its caption."""
        return (
            f'<script type="application/json">{as_json(self.data())}</script>'
            f'<form class="live-controls" hidden>{self.controls}</form>'
            f'<div class="live-still">{self.still(static)}</div>'
        )


LIVE: dict[str, Live] = {}


def register(live: Live) -> None:
    """Make a figure known to pages.

    Raises:
        ValueError: there is one of that name.
    """
    if live.name in LIVE:
        raise ValueError(f"two live figures are called {live.name!r}")
    LIVE[live.name] = live


# ------------------------------------------------------------------ controls


def slider(name: str, label: str, values: Sequence[int], chosen: int, shown: str = "") -> str:
    """A slider over numbers that are equally far apart, with the chosen one beside it.

    `shown` is what is beside it at first, where that is not the number.
    """
    step, called = values[1] - values[0], escape(label)
    return (
        f'<div class="live-slider"><span>{called} <b>{escape(shown or str(chosen))}</b></span>'
        f'<input type="range" name="{name}" aria-label="{called}" min="{values[0]}" '
        f'max="{values[-1]}" step="{step}" value="{chosen}" autocomplete="off"></div>'
    )


def choice(name: str, label: str, options: Iterable[tuple[str, str]]) -> str:
    """One of some options, each a value and its name; the first is chosen."""
    buttons = "".join(
        f'<label><input type="radio" name="{name}" value="{escape(value)}" autocomplete="off"'
        f"{'' if number else ' checked'}> <span>{escape(text)}</span></label>"
        for number, (value, text) in enumerate(options)
    )
    return f"<fieldset><legend>{escape(label)}</legend>{buttons}</fieldset>"


def button(name: str, text: str) -> str:
    """A button, whose meaning the script knows by its name."""
    return f'<button type="button" name="{name}">{escape(text)}</button>'


def said(words: str) -> str:
    """The sentence below a picture, which a screen reader reads again after every change."""
    return f'<p class="live-said" aria-live="polite">{escape(words, quote=False)}</p>'
