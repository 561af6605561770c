"""Drawings in pages.

    ```{drawing} mbconv
    What is drawn, to which scale, and what to look at.
    ```

The text is the caption.  In a page with a triptych, the symbols of a drawing are those of the page,
and a symbol that the page does not know is a warning, with which the strict build fails.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from drawings import DRAWINGS
from drawings.canvas import COLUMN
from sources import root_of
from symbols import all_concepts


class drawn(nodes.General, nodes.Element):  # noqa: N801  (docutils names nodes like this)
    """A drawing by its name, with its caption inside."""


class DrawingDirective(SphinxDirective):
    """A drawing that is made from the specification."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The figure."""
        self.assert_has_content()
        name = self.arguments[0]
        if name not in DRAWINGS:
            known = ", ".join(sorted(DRAWINGS))
            raise self.error(f"no drawing is called {name!r}; choose from {known}")
        figure = drawn("", canvas=DRAWINGS[name].made())
        figure["concepts"] = sorted(figure["canvas"].symbols)
        # What it is made of: a page whose drawing would be another is read anew.
        for folder in ("docs/_ext/drawings", "common"):
            for path in sorted((root_of(self.env) / folder).glob("*.py")):
                self.env.note_dependency(str(path))
        self.set_source_info(figure)
        self.state.nested_parse(self.content, self.content_offset, figure)
        return [figure]


def _visit(self: HTML5Translator, node: drawn) -> None:
    canvas = node["canvas"]
    known = all_concepts(self.builder.env).get(self.builder.current_docname, {})
    width = "column" if canvas.width <= COLUMN else "wide"
    self.body.append(f'<figure class="drawing {width}"><div class="drawing-box">')
    self.body.append(f"{canvas.svg(known)}</div><figcaption>")


def _depart(self: HTML5Translator, node: drawn) -> None:
    self.body.append("</figcaption></figure>\n")


def _nothing(self: nodes.NodeVisitor, node: nodes.Node) -> None:
    """Other writers have the caption alone."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and its node, for every writer."""
    others = dict.fromkeys(("latex", "text", "man", "texinfo"), (_nothing, _nothing))
    app.add_node(drawn, html=(_visit, _depart), **others)
    app.add_directive("drawing", DrawingDirective)
    app.add_css_file("drawings.css")
    return {"parallel_read_safe": False, "parallel_write_safe": True}
