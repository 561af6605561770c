"""Text from outside, such as names of files and of classes, as one line that a terminal shows."""

from __future__ import annotations

LONGEST = 10_000  # characters of a line; a path has at most 4,096 bytes


def one_line(text: str) -> str:
    r"""A text as it is, but for what a terminal would obey, or not show: `\n`, `\x1b`, `\udcff`.

    What is very long is shown without its middle.
    """
    shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    if len(shown) <= LONGEST:
        return shown
    return f"{shown[: LONGEST // 2]} ... {shown[-LONGEST // 2 :]}"
