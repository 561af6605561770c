"""Python as HTML: coloured, by the line, with the symbols of a page marked."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from pygments import lex
from pygments.lexer import Lexer
from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES, Name


def painted_lines(
    code: str, symbols: Mapping[str, str] | None = None, lexer: Lexer | None = None
) -> list[str]:
    """The lines of a program as HTML; names among `symbols` get the class of their symbol."""
    lines = [""]
    for kind, text in lex(code, lexer or PythonLexer(stripnl=False, ensurenl=False)):
        style = next(STANDARD_TYPES[k] for k in reversed(kind.split()) if k in STANDARD_TYPES)
        symbol = symbols.get(text) if symbols and kind in Name else None
        if symbol:
            style = f"{style} con con-{symbol}".strip()
        for number, piece in enumerate(text.split("\n")):
            if number:
                lines.append("")
            if piece:
                html = escape(piece, quote=False)
                lines[-1] += f'<span class="{style}">{html}</span>' if style else html
    return lines
