"""Data for scripts, as JSON: in a script of its own, or inside an element of a page."""

from __future__ import annotations

import json
from typing import Any


def compact(data: Any) -> str:
    """Data without spaces, and with its letters as they are."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def as_json(data: Any) -> str:
    """Data inside an element of a page, without what could end it or begin a comment."""
    text = compact(data)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
