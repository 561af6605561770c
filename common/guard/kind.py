"""The kinds of mistakes that are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KindName = Literal[
    "padding",
    "stride",
    "epsilon",
    "statistics",
    "activation",
    "layout",
    "order of channels",
    "scale",
    "weights",
    "missing operation",
    "wiring",
    "pooling",
    "interpolation",
    "randomness",
    "not a number",
    "unknown",
]


@dataclass(frozen=True)
class Kind:
    """The likeliest kind of a mistake, and what speaks for it, as a sentence."""

    name: KindName
    why: str
