"""Results as JSON text, which knows neither infinity nor NaN."""

from __future__ import annotations

import json
import re
from typing import Any

from .result import plain

# What a terminal may obey, and halves of pairs, which no file can hold.
ESCAPED = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def as_json(found: Any) -> str:
    """Plain data, or dataclasses, as text with a line end; null stands for what is no number."""
    text = json.dumps(plain(found), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    return ESCAPED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)
