"""Results as JSON text, which knows neither infinity nor NaN."""

from __future__ import annotations

import json
from typing import Any

from .result import plain


def as_json(found: Any) -> str:
    """Plain data, or dataclasses, as text with a line end; null stands for what is no number."""
    return json.dumps(plain(found), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
