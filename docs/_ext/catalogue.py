"""The page of published checkpoints: tables by architecture, and a command for each target.

Rows say in `data-words` what they are found by, and the spellings that the program knows are on the
page as JSON, so that its script (weights.js) finds what `rosetta weights` does.  Without the script
everything is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from itertools import groupby

from efficientnet_rosetta.common.architectures import ARCHITECTURES, PRESETS, resolve
from efficientnet_rosetta.common.catalogue.records import Record, records
from efficientnet_rosetta.common.catalogue.search import (
    EMPTY_WORDS,
    SHORTEST_PREFIX,
    SPELLINGS,
    vocabulary,
)
from efficientnet_rosetta.common.checkpoints.formats.detect import SUFFIXES
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS
from efficientnet_rosetta.common.cli.tables import (
    KINDS,
    OTHER,
    WEIGHTS_HEADINGS,
    kind_of,
    remarks,
    sizes,
    weights_rows,
)
from efficientnet_rosetta.common.network import DIALECTS

NAME = "NAME"  # in a command, of a row of the table
SHOWN = [heading for heading in WEIGHTS_HEADINGS if heading != "Network"]
# The longest suffix of each format, as `.pth` says more than `.pt`.
SUFFIX_OF = {format: suffix for suffix, format in reversed(SUFFIXES.items())} | {
    "tf-checkpoint": "/model.ckpt"
}


def by_kind() -> dict[str, list[Record]]:
    """The records by the name of their architecture above a column, the others last."""
    found: dict[str, list[Record]] = {kind: [] for kind in (*KINDS.values(), OTHER)}
    for record in records():
        found[kind_of(record)].append(record)
    return found


# ------------------------------------------------------------------ a table of checkpoints


def table(kind: str) -> str:
    """One table of an architecture in HTML, a group of rows for each network."""
    presets = list(PRESETS)
    found = sorted(
        by_kind()[kind],
        key=lambda r: (
            presets.index(r.preset) if r.preset else 0,
            r.network if kind == OTHER else "",
        ),
    )
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in SHOWN)
    bodies = "".join(
        _body(title, list(group)) for title, group in groupby(found, key=_network_title)
    )
    return (
        '<div class="table-wrapper docutils container">'
        f'<table class="docutils weights"><thead><tr>{head}</tr></thead>{bodies}</table></div>'
    )


def _network_title(record: Record) -> str:
    return record.network if record.preset is None else resolve(record.preset).title


def _body(title: str, group: list[Record]) -> str:
    heading = (
        f'<tr class="weights-network"><th scope="rowgroup" colspan="{len(SHOWN)}">'
        f"{escape(title)}</th></tr>"
    )
    return f"<tbody>{heading}{''.join(map(_row, group))}</tbody>"


def _row(record: Record) -> str:
    (values,) = weights_rows([record])
    cells = dict(zip(WEIGHTS_HEADINGS, values, strict=True))
    shown = "".join(
        f"<td><code>{escape(record.reference)}</code>"  # HTML need not say where a cell ends
        if heading == "Name"
        else f"<td>{escape(cells[heading])}"
        for heading in SHOWN
    )
    words = " ".join(sorted(vocabulary()[record.reference]))
    dialect = f' data-dialect="{record.dialect}"' if record.unported is None else ""
    return f'<tr data-words="{escape(words)}"{dialect}>{shown}</tr>'


# ------------------------------------------------------------------ a command for each target


def commands(kind: str) -> str:
    """In HTML, how the checkpoints of an architecture are ported: a list for each dialect."""
    architectures = [name for name, known in KINDS.items() if known == kind]
    spoken = dict.fromkeys(record.dialect for record in by_kind()[kind] if record.unported is None)
    parts = []
    for dialect in filter(None, spoken):
        lines = "\n".join(_commands(architectures, dialect))
        parts.append(
            f"<p>Of the dialect <code>{dialect}</code>:</p>"
            f'<div class="highlight"><pre class="weights-commands" data-dialect="{dialect}">'
            f"{escape(lines)}</pre></div>"
        )
    return f'<div class="weights-targets">{"".join(parts)}</div>'


def _commands(architectures: list[str], dialect: str) -> Iterator[str]:
    """One line for each layout that is written, and computes something of them in the dialect."""
    presets = [preset for name in architectures for preset in ARCHITECTURES[name].presets]
    for name in dict.fromkeys(layout.name for layout in LAYOUTS if layout.forms):
        layouts = [layout for layout in LAYOUTS if layout.name == name and layout.forms]
        held = tuple(
            preset
            for preset in presets
            if any(la.holds(preset) and la.runs(preset, DIALECTS[dialect]) for la in layouts)
        )
        if held:
            (form, *_) = next(la for la in layouts if la.holds(held[0])).forms
            limits = f"  # {sizes(held)}" if len(held) < len(presets) else ""
            yield f"rosetta port {NAME} ported{SUFFIX_OF[form]} --to {name}{limits}"


# ------------------------------------------------------------------ what the script needs


def spellings() -> str:
    """The spellings that the program knows, as JSON for the script."""
    known = {
        "spellings": [
            (pattern.pattern, re.sub(r"\\(\d)", r"$\1", spelling))
            for pattern, spelling in SPELLINGS
        ],
        "empty": list(EMPTY_WORDS),
        "shortestPrefix": SHORTEST_PREFIX,
    }
    text = json.dumps(known).replace("<", "\\u003c")  # nothing in it ends the element
    return f'<script type="application/json" id="weights-spellings">{text}</script>'


def findings() -> str:
    """What is known to be wrong of published checkpoints, as a list in Markdown."""
    found = [remark for remark in remarks(records()) if remark.startswith("finding: ")]
    return "\n".join(f"- {_quoted(remark.removeprefix('finding: '))}" for remark in found)


def _quoted(remark: str) -> str:
    """The names before the colon as code."""
    names, _, said = remark.partition(": ")
    listed = re.sub(r"[\w-]+:[\w./-]+", lambda name: f"`{name[0]}`", names)
    return f"{listed}: {said}"
