"""Papers by their numbers: `arXiv 1905.11946` in the text of a page is a link to that paper."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

NUMBER = re.compile(r"(arXiv \d{4}\.\d{5})")
AS_THEY_ARE = (nodes.reference, nodes.literal, nodes.literal_block, nodes.title, nodes.raw)


def address_of(paper: str) -> str:
    """Where a paper is, given as `arXiv 1905.11946`."""
    return paper.replace("arXiv ", "https://arxiv.org/abs/")


def link_papers(app: Sphinx | None, doctree: nodes.document) -> None:
    """Make a link of every number that is not in one, in code or in a heading."""
    for text in list(doctree.findall(nodes.Text)):
        pieces = NUMBER.split(text)
        if len(pieces) == 1 or _is_within(text, AS_THEY_ARE):
            continue
        made: list[nodes.Node] = []
        for piece in filter(None, pieces):
            if NUMBER.fullmatch(piece):
                made.append(nodes.reference("", piece, refuri=address_of(piece)))
            else:
                made.append(nodes.Text(piece))
        text.parent.replace(text, made)


def _is_within(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    while node := node.parent:
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the links where pages are read."""
    app.connect("doctree-read", link_papers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
