"""Numbers, tables and names of tests in pages, checked while the pages are built.

{fact}`parameters.b0`                                 5,288,548
{pin}`parity_tests/test_forward.py::test_any_size`    the test, linked to its line
{mistake}`ReLU for swish`                             a mistake that `rosetta mutants` makes
{notebook}`read_mbconv`                               its title, linked to where it opens in Colab

    ```{generated} layouts
    ```

What is not known is a warning, with which the strict build fails.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.osutil import relative_uri

import facts
import notebooks
from sources import source_link
from tables import GENERATED
from triptych import tri_box

log = logging.getLogger(__name__)
Made = tuple[list[nodes.Node], list[nodes.system_message]]


class _Checked(SphinxRole):
    """A role whose text must be known."""

    def run(self) -> Made:
        """The nodes, or a warning and the text as it is."""
        try:
            return [self.made()], []
        except ValueError as error:
            log.warning("%s", error, location=self.get_location())
            return [nodes.literal(self.rawtext, self.text)], []

    def made(self) -> nodes.Node:
        """The node for this text.

        Raises:
            ValueError: the text names nothing.
        """
        raise NotImplementedError


class FactRole(_Checked):
    """A number by its name, or a network."""

    def made(self) -> nodes.Node:
        """The number as text; what has more than a number and its unit may wrap."""
        text = facts.fact(self.text)
        kinds = ["fact", "effect"] if self.text in facts.effects() else ["fact"]
        kinds += ["words"] if len(text.split()) > 3 else []
        return nodes.inline(self.rawtext, text, classes=kinds)


class PinRole(_Checked):
    """A test, linked to where it is."""

    def made(self) -> nodes.Node:
        """The link, which says the last part of the name only."""
        path, line = facts.pinned(self.text)
        shown = self.text.rpartition("::")[2].rpartition("/")[2]
        name = nodes.literal("", classes=["pin"])
        for part in re.split(r"(?<=[^_]_)(?=[^_])", shown):  # a long name breaks at an underscore
            name += [nodes.Text(part), nodes.raw("", "<wbr>", format="html")]
        del name.children[-1]
        return source_link(self.env, self.env.docname, path, line, name)


class MistakeRole(_Checked):
    """A mistake that is made on purpose, by its name in the table of mistakes."""

    def made(self) -> nodes.Node:
        """The name, linked to its row of that table."""
        facts.mistake(self.text)
        here = relative_uri(f"{self.env.docname}.html", "explore/parity.html")
        link = nodes.reference(
            "", "", internal=True, refuri=f"{here}#{facts.anchor(self.text)}", classes=["mistake"]
        )
        link += nodes.Text(self.text)
        return link


class NotebookRole(_Checked):
    """A notebook by its name."""

    def made(self) -> nodes.Node:
        """Its title, linked to where it opens."""
        address = notebooks.address(self.text)
        return nodes.reference("", notebooks.title(self.text), refuri=address)


class GeneratedDirective(SphinxDirective):
    """A table, a list or a curve that is made from the code or the results."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """What the registered function gives, parsed where it stands; HTML as it is."""
        name = self.arguments[0]
        if name not in GENERATED:
            known = ", ".join(GENERATED)
            raise self.error(f"nothing generated is called {name!r}; choose from {known}")
        text = GENERATED[name]()
        for path in facts.RESULTS.iterdir():
            self.env.note_dependency(str(path))
        if text.startswith("<"):
            return [nodes.raw("", text, format="html")]
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def check_bites(app: Sphinx, doctree: nodes.document) -> None:
    """Warn of a box on what bites that does not name its effect, or no test that holds it."""
    what = {"effect": "a measured effect, {fact}", "pin": "the test that holds it, {pin}"}
    for box in doctree.findall(tri_box):
        has = {kind for node in box.findall(nodes.Element) for kind in node.get("classes", ())}
        for kind in box.get("named", ()):
            if kind not in has:
                log.warning("what bites does not name %s", what[kind], location=box)


def add_search(app: Sphinx, page: str, template: str, context: Any, tree: nodes.document) -> None:
    """The script of the page of weights, on that page."""
    if tree and any('id="weights-spellings"' in raw.astext() for raw in tree.findall(nodes.raw)):
        app.add_js_file("weights.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register roles and directive."""
    app.add_role("fact", FactRole())
    app.add_role("pin", PinRole())
    app.add_role("mistake", MistakeRole())
    app.add_role("notebook", NotebookRole())
    app.add_directive("generated", GeneratedDirective)
    app.connect("doctree-read", check_bites)
    app.add_css_file("pages.css")
    app.connect("html-page-context", add_search)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
