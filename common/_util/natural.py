"""The order in which people count: `2.png` before `10.png`."""

from __future__ import annotations

import re

NUMBER = re.compile(r"(\d+)", re.ASCII)


def natural(text: str) -> tuple[tuple[str, int, str], ...]:
    """A key to sort names by, in which digits count as the number that they are."""
    parts = NUMBER.split(text)
    # Text and number take turns; the digits themselves tell `1` from `01`.
    return tuple(
        (text.casefold(), int(digits[:400] or 0), text + digits)
        for text, digits in zip(parts[::2], [*parts[1::2], ""], strict=True)
    )
