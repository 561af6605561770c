"""The model explorer: every released network, and what the scaling rule builds between them.

All numbers are computed while the pages are built (`explored.py`, `opened.py`), and the script of
the page shows what is there.  The page itself has the stages of the released networks.  What most
readers never ask for is in two further scripts, each loaded when it is first asked for: the blocks
of all stages, and the networks of the slider.  The lines of code of every operation are a table of
the page, which the script takes its links from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri
from sphinx.writers.html5 import HTML5Translator

from efficientnet_rosetta.common.architectures import resolve
from excerpts import Library
from explored import COLUMNS, PER_PHI, STEPS, Shown, at_phi, released
from inline import as_json, compact
from lines_of_code import Place, Programs, Step
from opened import Block, Operation, blocks
from sources import source_link

ROOT = Path(__file__).resolve().parents[2]
PAGE = "explore/models"
LINES = ("Class", "Step", "Specification", "PyTorch", "Keras")


@cache
def opened() -> dict[str, dict[int, tuple[Block, ...]]]:
    """The blocks of each stage of each released network."""
    programs = Programs(Library(ROOT))
    return {shown.key: blocks(resolve(shown.key), programs) for shown in released()}


def steps() -> tuple[Step, ...]:
    """Every step in which there is an operation of a released network, in the order of a pass."""
    found = {
        step_key(group.step): group.step
        for stages in opened().values()
        for stage in stages.values()
        for block in stage
        for group in block.groups
    }
    order = list(dict.fromkeys(step.program for step in found.values()))

    def place(step: Step) -> tuple[int, int]:
        _, torch, _ = step.places
        return order.index(step.program), torch[-1].first

    return tuple(sorted(found.values(), key=place))


def step_name(step: Step) -> str:
    """How a step is cited."""
    return f"{step.program}, {step.name}"


def step_key(step: Step) -> str:
    """The id of the row of a step in the table of lines."""
    return f"lines-{step.program}-{step.name}".lower()


# ------------------------------------------------------------------ what the script reads


@dataclass
class Packed:
    """Plain values in which what is said several times stands once, and its number otherwise."""

    texts: dict[str, int] = field(default_factory=lambda: {"": 0})
    alike: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def text(self, text: str) -> int:
        """The number of a text; that of none is 0."""
        return self.texts.setdefault(text, len(self.texts))

    @staticmethod
    def number(values: object, known: dict[str, int]) -> int:
        """The number of values that can be written as JSON."""
        return known.setdefault(json.dumps(values), len(known))

    def shown(self, shown: Shown) -> dict[str, Any]:
        """A network, and what the columns of its stages hold beside that."""
        return {
            "phi": None if shown.phi is None else round(shown.phi, 2),
            "note": self.text(shown.note),
            "cards": [[self.text(part) for part in card] for card in shown.cards],
            "rows": [
                [self.text(row.resolution), row.channels, row.layers, row.params, row.macs]
                for row in shown.rows
            ],
        }

    def block(self, block: Block) -> list[Any]:
        """Its name, the number of what is the same in others, and what is its own.

        That is how often it is dropped, and the receptive fields of its operations.
        """
        operations = [line for group in block.groups for line in group.operations]
        fields = list(dict.fromkeys([*(line.field for line in operations), block.field]))
        alike = [
            self.text(block.operator),
            self.text(block.channels),
            self.text(block.size),
            block.cost.trainable,
            block.cost.macs,
            fields.index(block.field),
            [
                [
                    self.number([step_key(group.step), step_name(group.step)], self.steps),
                    *(self.operation(line, fields) for line in group.operations),
                ]
                for group in block.groups
            ],
        ]
        dropped = None if block.dropped is None else round(block.dropped, 4)
        return [self.text(block.role), self.number(alike, self.alike), dropped, fields]

    def operation(self, line: Operation, fields: list[int | None]) -> list[int]:
        """Its cells; of what changes neither channels nor map only the name and the parameters."""
        cells = [self.text(line.label), line.cost.trainable]
        if line.channels:
            cells += [self.text(line.channels), self.text(line.size)]
            cells += [line.cost.macs, fields.index(line.field)]
        return cells


def data() -> dict[str, Any]:
    """What the page shows before anything is opened or moved, as plain values.

    The slider begins and ends with `slider`, of which there are `per_phi` steps in a phi of 1.
    """
    packed = Packed()
    networks = [
        {"key": shown.key, "name": shown.name, "family": shown.family}
        | packed.shown(shown)
        | {
            "stages": [
                [
                    *(row.stage, packed.text(row.operator), row.stride),
                    len(opened()[shown.key][row.stage]),
                ]
                for row in shown.rows
            ]
        }
        for shown in released()
    ]
    return {
        "released": networks,
        "slider": {"steps": STEPS, "per_phi": PER_PHI},
        "texts": list(packed.texts),
    }


def blocks_data() -> dict[str, Any]:
    """The blocks of each stage of each released network, as plain values."""
    packed = Packed()
    networks = {
        shown.key: [
            [packed.block(block) for block in stage] for stage in opened()[shown.key].values()
        ]
        for shown in released()
    }
    return {
        "networks": networks,
        "alike": [json.loads(text) for text in packed.alike],
        "steps": [json.loads(text) for text in packed.steps],
        "texts": list(packed.texts),
    }


def curve_data() -> dict[str, Any]:
    """The networks of the slider, as plain values.

    The rule scales the first of the released networks, and leaves its stages as they are.  These
    networks are not opened: 241 more would make the blocks eight times as many.
    """
    packed = Packed()
    networks = [packed.shown(at_phi(step / PER_PHI)) for step in range(STEPS + 1)]
    return {"networks": networks, "texts": list(packed.texts)}


# What is loaded when it is first asked for, each in a script of its own.
PARTS = {"blocks": blocks_data, "curve": curve_data}


def part_script(name: str) -> str:
    """The script that hands a part to the explorer."""
    return f"explorerParts.{name} = {compact(PARTS[name]())};\n"


# ------------------------------------------------------------------ the page


class explorer_data(nodes.General, nodes.Element):  # noqa: N801  (docutils names nodes like this)
    """The numbers, for the script."""


def _visit_data(self: HTML5Translator, node: explorer_data) -> None:
    page = self.builder.get_target_uri(self.builder.current_docname)
    parts = {name: relative_uri(page, _written(self.builder, name)) for name in PARTS}
    text = as_json({**data(), "parts": parts})
    self.body.append(f'<script type="application/json" id="explorer-data">{text}</script>\n')
    raise nodes.SkipNode


def _written(builder: Builder, name: str) -> str:
    """Write the script of a part, and give its address, which changes with what is in it."""
    text = part_script(name)
    path = Path(builder.outdir) / "_static" / f"explorer_{name}.js"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"_static/{path.name}?v={hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _skip(self: nodes.NodeVisitor, node: nodes.Node) -> None:
    raise nodes.SkipNode


def table(head: tuple[str, ...], body: list[nodes.row], name: str) -> nodes.table:
    """A table of a class that the style sheet and the script know."""
    group = nodes.tgroup("", cols=len(head))
    group += [nodes.colspec("", colwidth=1) for _ in head]
    group += nodes.thead("", row(head))
    group += nodes.tbody("", *body)
    return nodes.table("", group, classes=[name])


def row(cells: tuple[str | list[nodes.Node], ...]) -> nodes.row:
    """A row of texts, or of what else can stand in a paragraph."""
    parts = ([nodes.Text(cell)] if isinstance(cell, str) else cell for cell in cells)
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *part)) for part in parts))


class Explorer(SphinxDirective):
    """B0's table, which the script makes into every network's."""

    def run(self) -> list[nodes.Node]:
        """The table and the numbers."""
        base = [row(line.cells) for line in released()[0].rows]
        shown = nodes.container("", table(COLUMNS, base, "explorer-table"), classes=["explorer"])
        return [shown, explorer_data()]


class ExplorerLines(SphinxDirective):
    """Where each step stands: in the specification, in PyTorch and in Keras."""

    def run(self) -> list[nodes.Node]:
        """The table."""
        body = []
        for step in steps():
            cells = (list(self._links(places)) for places in step.places)
            body.append(row(([nodes.literal("", step.program)], step.name, *cells)))
            body[-1]["ids"] = [step_key(step)]
        return [table(LINES, body, "explorer-lines")]

    def _links(self, places: tuple[Place, ...]) -> Iterator[nodes.Node]:
        before = ""
        for place in places:
            self.env.note_dependency(str(ROOT / place.path))
            if before:
                yield nodes.Text(", ")
            file = "" if place.path == before else f"{Path(place.path).name} "
            text = nodes.Text(file + place.lines)
            yield source_link(self.env, self.env.docname, place.path, place.first, text)
            before = place.path


def _add_files(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Only the page of the explorer has its script and its style."""
    if doctree is not None and any(doctree.findall(explorer_data)):
        app.add_js_file("explorer.js", loading_method="defer")
        app.add_css_file("explorer.css")


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives."""
    app.add_node(
        explorer_data,
        html=(_visit_data, None),
        **dict.fromkeys(("latex", "text", "man", "texinfo"), (_skip, None)),
    )
    app.add_directive("explorer", Explorer)
    app.add_directive("explorer-lines", ExplorerLines)
    app.connect("html-page-context", _add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
