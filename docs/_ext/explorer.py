"""The model explorer: every released network, and what the scaling rule builds between them.

All numbers are computed here, from the specification and by counting, while the pages are built;
the page has them as JSON, and its script shows what is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from efficientnet_rosetta.common import xception
from efficientnet_rosetta.common.cli.tables import StageRow, stage_row
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.edgetpu import EDGETPU
from efficientnet_rosetta.common.lite import LITE
from efficientnet_rosetta.common.network import Architecture, Network
from efficientnet_rosetta.common.spec import PRESETS, EfficientNetSpec, compound_scaling, resolve
from efficientnet_rosetta.common.v2 import V2
from efficientnet_rosetta.common.v2_rw import V2_RW
from scaled import COST, alone, counted, predicted, side

STEPS, PER_PHI = 240, 20  # phi from 0 to 12 by 0.05
BASE = PRESETS["b0"]
Card = tuple[str, str, str]  # heading, value, remark
COLUMNS = ("Stage", "Operator", "Resolution", "Channels", "Layers", "Params", "MACs")


@dataclass(frozen=True)
class Row:
    """A stage: the columns of Table 1, and what the stage costs.

    `resolution` is the stage's input, as in the paper.
    """

    stage: int
    operator: str
    resolution: str
    channels: int
    layers: int
    params: int
    macs: int

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as it is written."""
        numbers = (str(self.channels), str(self.layers), short(self.params), short(self.macs))
        return (str(self.stage), self.operator, self.resolution, *numbers)


@dataclass(frozen=True)
class Shown:
    """A network as the explorer shows it.

    `phi` is where its cost is on the slider, which has no place for what no rule scales.
    """

    key: str
    name: str
    family: str
    phi: float | None
    note: str
    cards: tuple[Card, ...]
    rows: tuple[Row, ...]


def short(value: float) -> str:
    """Three digits and a letter: 5288548 -> "5.29M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= size * 0.9995:
            digits = 2 - math.floor(math.log10(value / size) + 1e-4)
            return f"{value / size:.{max(digits, 0)}f}{letter}"
    return f"{value:.0f}"


def stage_rows(network: Network) -> dict[int, StageRow]:
    """The rows that `rosetta table` prints, by the number of the stage."""
    return {stage: stage_row(sections) for stage, sections in network.stages.items()}


def rows(network: Network) -> tuple[Row, ...]:
    """Table 1 of a network."""
    costs = count_stages(network)
    return tuple(
        Row(
            stage,
            row.operator,
            "×".join(map(str, row.input_size)),
            row.channels,
            row.layers,
            costs[stage].trainable,
            costs[stage].macs,
        )
        for stage, row in stage_rows(network).items()
    )


@cache
def released() -> tuple[Shown, ...]:
    """The networks that there are weights of, each under a button of its own."""
    later = (_later(family, name) for family in LATER for name in family.presets)
    return (*(_released(name) for name in PRESETS), *later, _xception())


def _released(name: str) -> Shown:
    network = resolve(name)
    cost = predicted(network)
    note = f"EfficientNet-{name.upper()} as released. "
    if name == BASE.name:
        note += "The baseline, which the others are scaled from."
    else:
        note += (
            "The φ of a card is what this coefficient alone would need. They differ: the released "
            "coefficients were rounded, and are not on the curve of equation 3."
        )
    return Shown(
        name,
        name.upper(),
        "EfficientNet",
        math.log(cost, COST),
        note,
        _cards(
            network, cost, {way: f" · alone φ {phi:.2f}" for way, phi in alone(network).items()}
        ),
        rows(network),
    )


# What is said of the networks that came after the first EfficientNets.
LATER = {
    LITE: (
        "EfficientNet-Lite",
        "as its builder has it: B0's table without squeeze-and-excitation, and with ReLU6.",
    ),
    V2: ("EfficientNetV2", "as its own paper and code have it. Its first stages are fused."),
    V2_RW: ("EfficientNetV2 of timm", "as timm has it, which drew and scaled it."),
    EDGETPU: (
        "EfficientNet-EdgeTPU",
        "as its builder has it: fused first stages, ReLU, and no squeeze-and-excitation.",
    ),
}


def _later(architecture: Architecture, name: str) -> Shown:
    network = architecture.resolve(name)
    family, note = LATER[architecture]
    side = network.resolution[0] / BASE.resolution
    return Shown(
        name,
        network.title.removeprefix("Efficient").removeprefix("Net-").removeprefix("Net"),
        # The networks of a family have the same stages, of which M, L and XL of V2 have one more.
        f"{family}, {len(network.stages)} stages",
        None,
        f"{network.title} {note}",
        (
            ("Width", f"×{network.width:.2f}", f"stem {network.stem.out_channels}"),
            ("Depth", f"×{network.depth:.2f}", f"{len(network.blocks)} blocks"),
            ("Resolution", f"{network.resolution[0]} px", f"×{side:.2f} of B0"),
            *_costs(network),
        ),
        rows(network),
    )


def _xception() -> Shown:
    network = xception.resolve()
    stem = " and ".join(str(part.out_channels) for part in network.stem)
    side = network.resolution[0] / BASE.resolution
    return Shown(
        network.name,
        network.title,
        network.title,
        None,
        "Xception as figure 5 of its own paper draws it, stage by stage. No φ scales it.",
        (
            ("Width", f"×{network.width:.2f}", f"stem {stem}"),
            ("Middle blocks", str(network.middle_blocks), f"{len(network.blocks)} blocks in all"),
            ("Resolution", f"{network.resolution[0]} px", f"×{side:.2f} of B0"),
            *_costs(network),
        ),
        rows(network),
    )


def at_phi(phi: float) -> Shown:
    """What equation 3 builds."""
    scaling = compound_scaling(phi)
    network = resolve("b0", width=scaling.width, depth=scaling.depth, resolution=scaling.resolution)
    macs = count(network).macs
    nearest = min(PRESETS.values(), key=lambda p: abs(math.log(count(resolve(p.name)).macs / macs)))
    note = (
        f"Not a released network: equation 3 at φ = {phi:.2f}. The released one of nearest cost is "
        f"{nearest.name.upper()}, with depth ×{nearest.depth:g}, width ×{nearest.width:g} and "
        f"{nearest.resolution} pixels."
    )
    return Shown(
        f"phi={phi:g}",
        f"φ = {phi:.2f}",
        "EfficientNet",
        phi,
        note,
        _cards(network, COST**phi, {}),
        rows(network),
    )


def _cards(network: EfficientNetSpec, cost: float, needed: dict[str, str]) -> tuple[Card, ...]:
    ratio = counted(network)
    return (
        (
            "Depth d",
            f"×{network.depth:.2f}",
            f"{len(network.blocks)} blocks{needed.get('depth', '')}",
        ),
        (
            "Width w",
            f"×{network.width:.2f}",
            f"stem {network.stem.out_channels}{needed.get('width', '')}",
        ),
        (
            "Resolution r",
            f"{network.resolution[0]} px",
            f"×{side(network):.2f}{needed.get('resolution', '')}",
        ),
        *_costs(network),
        ("Predicted cost", f"×{cost:.1f}", f"d·w²·r²; really ×{ratio:.1f}"),
    )  # fmt: skip


def _costs(network: Network) -> tuple[Card, Card]:
    total, base = count(network), count(resolve())
    return (
        (
            "Parameters",
            short(total.trainable),
            f"×{total.trainable / base.trainable:.2f} of B0",
        ),
        ("MACs", short(total.macs), f"×{total.macs / base.macs:.1f} of B0"),
    )


def data() -> dict[str, object]:
    """Everything that the page needs, as plain values.

    Stages and operators are those of the family; the remaining cells are in the rows, followed by
    the two numbers that the bars show.
    """
    families: dict[str, list[tuple[str, ...]]] = {}

    def plain(shown: Shown) -> dict[str, object]:
        families.setdefault(shown.family, [row.cells[:2] for row in shown.rows])
        rows = [[*row.cells[2:], row.params, row.macs] for row in shown.rows]
        phi = None if shown.phi is None else round(shown.phi, 2)
        return asdict(shown) | {"phi": phi, "rows": rows}

    return {
        "released": [plain(shown) for shown in released()],
        "curve": [plain(at_phi(step / PER_PHI)) for step in range(STEPS + 1)],
        "families": families,
    }


# ------------------------------------------------------------------ the page


class explorer_data(nodes.General, nodes.Element):  # noqa: N801  (docutils names nodes like this)
    """The numbers, for the script."""


def _visit_data(self: HTML5Translator, node: explorer_data) -> None:
    text = json.dumps(data(), ensure_ascii=False, separators=(",", ":"))
    # What could end the element, or begin a comment in it.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    self.body.append(f'<script type="application/json" id="explorer-data">{text}</script>\n')
    raise nodes.SkipNode


def _skip(self: nodes.NodeVisitor, node: nodes.Node) -> None:
    raise nodes.SkipNode


def table(shown: Shown) -> nodes.table:
    """Table 1 of a network, as a table."""
    group = nodes.tgroup("", cols=len(COLUMNS))
    group += [nodes.colspec("", colwidth=1) for _ in COLUMNS]
    group += nodes.thead("", _row(COLUMNS))
    group += nodes.tbody("", *(_row(row.cells) for row in shown.rows))
    return nodes.table("", group, classes=["explorer-table"])


def _row(cells: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))


class Explorer(SphinxDirective):
    """B0's table, which the script makes into every network's."""

    def run(self) -> list[nodes.Node]:
        """The table and the numbers."""
        return list(self._nodes())

    def _nodes(self) -> Iterator[nodes.Node]:
        yield nodes.container("", table(released()[0]), classes=["explorer"])
        yield explorer_data()


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.add_node(
        explorer_data,
        html=(_visit_data, None),
        **dict.fromkeys(("latex", "text", "man", "texinfo"), (_skip, None)),
    )
    app.add_directive("explorer", Explorer)
    app.add_js_file("explorer.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
