"""Programs as HTML: coloured, by the line, with the symbols of a page marked.

Keywords, strings and comments have colours of their own; the rest is text as it is, so that a page
does not become several times as heavy as what it shows.  Programs that Sphinx paints have the same
two styles.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from pygments import lex
from pygments.lexer import Lexer
from pygments.lexers import PythonLexer
from pygments.style import Style
from pygments.token import Comment, Generic, Keyword, Name, Operator, String, Token, _TokenType

# Classes of the style sheet that Pygments writes.
COLOURED = {Comment: "c", Keyword: "k", Operator.Word: "ow", String: "s", Name.Tag: "nt"}


def _styles(text: str, keyword: str, string: str, comment: str) -> dict[_TokenType, str]:
    """The second half is for what commands print, and for what a commit changes."""
    return {
        Token: text,
        Keyword: keyword,
        Operator.Word: keyword,
        Name.Tag: keyword,
        String: string,
        Comment: comment,
        Generic.Prompt: keyword,
        Generic.Inserted: string,
        Generic.Deleted: comment,
        Generic.Heading: keyword,
    }


class Light(Style):
    """By day."""

    background_color = "#ffffff"
    styles = _styles("#1d2129", "#6d3fb0", "#0b6b3a", "#5f6975")


class Dark(Style):
    """By night."""

    background_color = "#171b21"
    styles = _styles("#e4e7ec", "#c5a6ff", "#85d6a4", "#98a3b1")


def painted_lines(
    code: str, symbols: Mapping[str, str] | None = None, lexer: Lexer | None = None
) -> list[str]:
    """The lines of a program as HTML; names among `symbols` get the class of their symbol."""
    lines = [""]
    open_class = ""
    for kind, text in lex(code, lexer or PythonLexer(stripnl=False, ensurenl=False)):
        wanted = _class(kind, text, symbols or {})
        for number, piece in enumerate(text.split("\n")):
            if number:
                lines[-1] += "</span>" if open_class else ""
                lines.append("")
                open_class = ""
            if piece and (wanted != open_class or "con" in wanted):
                lines[-1] += "</span>" if open_class else ""
                lines[-1] += f'<span class="{wanted}">' if wanted else ""
                open_class = wanted
            lines[-1] += escape(piece, quote=False)
    lines[-1] += "</span>" if open_class else ""
    return lines


def _class(kind: _TokenType, text: str, symbols: Mapping[str, str]) -> str:
    if kind in Name and text in symbols:
        return f"con con-{symbols[text]}"
    return next((style for token, style in COLOURED.items() if kind in token), "")
