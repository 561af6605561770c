"""Figures in pages that a reader can change.

    ```{live} padding
    What is drawn, and what to try.
    ```

The text is the caption.  Without a script the first picture stands there, and no controls.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri
from sphinx.writers.html5 import HTML5Translator

from live import LIVE
from sources import root_of


class live_figure(nodes.General, nodes.Element):  # noqa: N801  (docutils names nodes like this)
    """A figure by its name, with its caption inside."""


class LiveDirective(SphinxDirective):
    """A figure of `docs/_ext/live`."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The figure."""
        self.assert_has_content()
        name = self.arguments[0]
        if name not in LIVE:
            raise self.error(f"no live figure is called {name!r}; choose from {', '.join(LIVE)}")
        for pattern in ("docs/_ext/live/*.py", "docs/_ext/drawings/*.py", "docs/results/seen.json"):
            for path in sorted(root_of(self.env).glob(pattern)):
                self.env.note_dependency(str(path))
        figure = live_figure("", figure=name)
        self.set_source_info(figure)
        self.state.nested_parse(self.content, self.content_offset, figure)
        return [figure]


def _visit(self: HTML5Translator, node: live_figure) -> None:
    page = self.builder.get_target_uri(self.builder.current_docname)
    html = LIVE[node["figure"]].html(relative_uri(page, "_static"))
    self.body.append(f'<figure class="drawing live" data-live="{node["figure"]}">{html}')
    self.body.append("<figcaption>")


def _depart(self: HTML5Translator, node: live_figure) -> None:
    self.body.append("</figcaption></figure>\n")


def _nothing(self: nodes.NodeVisitor, node: nodes.Node) -> None:
    """Other writers have the caption alone."""


def _add_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give a page the scripts of its own figures."""
    names = [figure["figure"] for figure in doctree.findall(live_figure)] if doctree else []
    if names:
        app.add_css_file("live.css")
        for name in ("live", *(f"live_{name}" for name in dict.fromkeys(names))):
            app.add_js_file(f"{name}.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and its node, for every writer."""
    others = dict.fromkeys(("latex", "text", "man", "texinfo"), (_nothing, _nothing))
    app.add_node(live_figure, html=(_visit, _depart), **others)
    app.add_directive("live", LiveDirective)
    app.connect("html-page-context", _add_scripts)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
