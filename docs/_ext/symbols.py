"""Symbols of pages: a letter of an equation, and what it is called in the programs."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Concept:
    """A symbol of a page, and what it is called in the programs."""

    key: str
    identifiers: tuple[str, ...]
    tex: str
    meaning: str

    @property
    def letter(self) -> str:
        """How a text writes it: as its equations do, or else by its key."""
        if match := re.fullmatch(r"(?:([A-Za-z])|\\([a-z]+))('*)", self.tex):
            latin, greek, primes = match.groups()
            try:
                letter = latin or unicodedata.lookup(f"GREEK SMALL LETTER {greek}")
            except KeyError:
                return self.key
            return letter + "\N{PRIME}" * len(primes)
        return self.key


def parse_concepts(text: str) -> dict[str, Concept]:
    """Symbols from `key: identifier, identifier | TeX | meaning; ...`, also one a line.

    Raises:
        ValueError: one has no identifier, or a key that is no word, or is there twice.
    """
    concepts: dict[str, Concept] = {}
    for entry in re.split(r"[;\n]", text):
        if not entry.strip():
            continue
        key, _, rest = entry.partition(":" if ":" in entry else "=")
        names, tex, meaning, *_ = (*(part.strip() for part in rest.split("|")), "", "")
        key = key.strip()
        identifiers = tuple(name.strip() for name in names.split(",") if name.strip())
        if not re.fullmatch(r"[A-Za-z]\w*", key) or not identifiers or key in concepts:
            raise ValueError(f"not a symbol, or there twice: {entry.strip()!r}")
        concepts[key] = Concept(key, identifiers, tex or key, meaning)
    return concepts


def all_concepts(env: BuildEnvironment) -> dict[str, dict[str, Concept]]:
    """The symbols of every page, by the name of the page."""
    if not hasattr(env, "rosetta_concepts"):
        env.rosetta_concepts = {}
    return env.rosetta_concepts


class ConceptRole(SphinxRole):
    """A word that lights up with its symbol: {con}`ratio <t>`, or {con}`t`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The word."""
        match = re.fullmatch(r"(?s)(.*\S)\s*<(\w+)>", self.text)
        text, key = match.groups() if match else (self.text, self.text)
        word = nodes.emphasis("", text, classes=["con", f"con-{key}"])
        word["concept"] = key
        word["is_letter"] = match is None
        return [word], []


def check_concepts(app: Sphinx, doctree: nodes.document) -> None:
    """Write symbols as letters; warn of what names none, and of those that nothing names."""
    concepts = all_concepts(app.env).get(app.env.docname, {})
    used: set[str] = set()
    for node in doctree.findall(nodes.Element):
        keys = [node["concept"]] if "concept" in node else []
        keys += node.get("concepts", []) if concepts else []
        if isinstance(node, nodes.math | nodes.math_block):
            keys = re.findall(r"\\con\s*\{(\w+)\}", node.astext())
        for key in keys:
            used.add(key)
            if key not in concepts:
                logger.warning("no symbol %r on this page", key, location=node, type="triptych")
            elif node.get("is_letter"):
                node[:] = [nodes.Text(concepts[key].letter)]
    for key in concepts.keys() - used:
        logger.warning(
            "symbol %r is in no text and no equation", key, location=doctree, type="triptych"
        )
