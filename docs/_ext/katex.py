"""Equations set by KaTeX while the pages are built, so that no reader's browser has to.

`\\con{t}{...}` marks a part of an equation as the symbol `t` of the page, which lights up together
with the identifiers that it is in the programs.  TeX that KaTeX cannot set is a warning, and so
ends a strict build.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import quickjs
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

SCRIPT = Path(__file__).parent / "vendored" / "katex" / "katex.min.js"
# Classes are all that an equation may add to a page.
RENDER = r"""
function trust(context) {
  if (context.command === "\\htmlClass") return true;
  throw new katex.ParseError(`${context.command} is not for equations`);
}
function render(tex, displayMode) {
  return JSON.stringify(katex.renderToString(tex, {
    displayMode, throwOnError: true, trust,
    strict: code => code === "htmlExtension" ? "ignore" : "error",
    macros: {"\\con": "\\htmlClass{con con-#1}{#2}"},
  }));
}
"""
logger = logging.getLogger(__name__)


class TexError(ValueError):
    """TeX that KaTeX cannot set."""


@cache
def _engine() -> quickjs.Context:
    engine = quickjs.Context()
    engine.eval(SCRIPT.read_text(encoding="utf-8") + RENDER)
    return engine


@cache
def render(tex: str, display: bool = False) -> str:
    """TeX as HTML, with MathML beside it for those who have it read out.

    Raises:
        TexError: with what KaTeX says of it.
    """
    try:
        # The engine hands over a string only where it is not the result of adding others up.
        return json.loads(_engine().get("render")(tex, display))
    except quickjs.JSException as error:
        raise TexError(str(error).splitlines()[0]) from error


def _rendered(node: nodes.Node, display: bool) -> str:
    try:
        return render(node.astext(), display)
    except TexError as error:
        logger.warning("%s", error, location=node, type="katex")
        return ""


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """An equation in a line of text."""
    self.body.append(f'<span class="math">{_rendered(node, False)}</span>')
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """An equation of its own; its number, if it has one, is that of the paper: `\\tag{2}`."""
    self.body.append(self.starttag(node, "div", CLASS="math-block"))
    self.body.append(_rendered(node, True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def add_style(app: Sphinx, page: str, template: str, context: object, tree: nodes.document) -> None:
    """The style sheet, on pages with an equation, or a drawing with letters."""
    if tree and any(
        isinstance(node, nodes.math | nodes.math_block) or node.get("concepts")
        for node in tree.findall(nodes.Element)
    ):
        app.add_css_file("katex/katex.min.css")


def setup(app: Sphinx) -> dict[str, object]:
    """Register the renderer; its script stays out of the pages."""
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_block, None))
    app.connect("html-page-context", add_style)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
