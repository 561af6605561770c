"""Links a word of our own to the glossary where a page first has it.

Writers need not think of it.  Only those words are in the list that have no other meaning on these
pages; where a word has, such as section or role, a writer says {term}`role` where ours is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

# As the glossary has them; in prose each may end in an s.
WORDS = (
    "calibrated weights",
    "canonical",
    "dialect",
    "endpoint",
    "fingerprint",
    "golden outputs",
    "layout",
    "minival",
    "preset",
    "receptive field",
    "specification",
    "verdict",
)
HOME = "reference/glossary"
UNREAD = ("reference/api/",)  # pages that nobody reads from the top, made from docstrings
PROSE = (nodes.paragraph, nodes.emphasis, nodes.strong)
FIRST = {word: re.compile(rf"(?i)(?<![\w/.-]){word}s?\b(?![\w/-])") for word in WORDS}


def link_first(app: Sphinx, doctree: nodes.document) -> None:
    """Link what the page does not link there already."""
    page = app.env.docname
    if page == HOME or page.startswith(UNREAD):
        return
    for word, pattern in FIRST.items():
        found = next(_met(doctree, word, pattern), None)
        if isinstance(found, nodes.Text):
            _link(found, word, pattern, page)


def _met(doctree: nodes.document, word: str, pattern: re.Pattern[str]) -> Iterator[nodes.Node]:
    """Places of a word in the order of the page: a link to it, or a text of prose that has it."""
    for node in doctree.findall():
        if isinstance(node, addnodes.pending_xref):
            if node["reftype"] == "term" and node["reftarget"] == word:
                yield node
        elif isinstance(node, nodes.Text) and _is_prose(node) and pattern.search(node):
            yield node


def _is_prose(text: nodes.Text) -> bool:
    """Whether a reader meets it in a sentence: not in a title, a table, a link, code or a label."""
    parent = text.parent
    if not isinstance(parent, PROSE):
        return False
    while parent is not None:
        if isinstance(parent, nodes.table | nodes.reference | addnodes.pending_xref):
            return False
        if "tri-label" in parent["classes"]:  # has a link already, to the file that it names
            return False
        parent = parent.parent
    return True


def _link(text: nodes.Text, word: str, pattern: re.Pattern[str], page: str) -> None:
    match = pattern.search(text)
    assert match is not None
    link = addnodes.pending_xref(
        "",
        nodes.inline("", match[0], classes=["xref", "std", "std-term"]),
        refdomain="std",
        reftype="term",
        reftarget=word,
        refdoc=page,
        refexplicit=True,
        refwarn=True,
    )
    before, after = text[: match.start()], text[match.end() :]
    parts = [nodes.Text(before), link, nodes.Text(after)]
    text.parent.replace(text, [part for part in parts if part.astext()])


def setup(app: Sphinx) -> dict[str, Any]:
    """Look at each page when it has been read."""
    app.connect("doctree-read", link_first)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
