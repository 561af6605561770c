"""What the explorer shows of a network before a stage is opened.

Every number is that of the specification, or counted from it.  Nothing here knows Sphinx, so that
tests use it too.
"""

from __future__ import annotations

import inspect
import math
import sys
from dataclasses import dataclass
from functools import cache

from efficientnet_rosetta.common.architectures import PRESETS, resolve
from efficientnet_rosetta.common.cli.tables import stage_row
from efficientnet_rosetta.common.counting import Count, count, count_stages
from efficientnet_rosetta.common.network import Network, Size
from efficientnet_rosetta.common.spec import PRESETS as SCALED
from efficientnet_rosetta.common.spec import EfficientNetSpec, compound_scaling
from efficientnet_rosetta.common.spec import resolve as resolve_scaled
from scaled import BASE, COST, alone, predicted, side

STEPS, PER_PHI = 240, 20  # phi from 0 to 12 by 0.05
BASE_NAME = BASE.name.upper()
Card = tuple[str, str, str]  # heading, value, remark
COLUMNS = ("Stage", "Operator", "Resolution", "Channels", "Layers", "Params", "MACs")


@dataclass(frozen=True)
class Row:
    """A stage: the columns of Table 1, and what the stage costs.

    `resolution` is the stage's input, as in the paper; `stride` is what its output has of the
    image's.
    """

    stage: int
    operator: str
    resolution: str
    channels: int
    layers: int
    params: int
    macs: int
    stride: int

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
            digits = 2 - math.floor(math.log10(value / size / 0.9995))
            # What lies in the middle goes up, as it does in the script.
            return f"{value / size + 1e-9:.{max(digits, 0)}f}{letter}"
    return f"{value:.0f}"


def by(size: Size) -> str:
    """`112×112`"""
    return "×".join(map(str, size))


# ------------------------------------------------------------------ networks and their stages


def rows(network: Network) -> tuple[Row, ...]:
    """Table 1 of a network: the rows that `rosetta table` prints, with their costs."""
    costs, strides, stride = count_stages(network), {}, 1
    for section in network.maps:
        stride *= section.stride
        strides[section.stage] = stride
    return tuple(
        Row(
            stage,
            row.operator,
            by(row.input_size),
            row.channels,
            row.layers,
            costs[stage].trainable,
            costs[stage].macs,
            strides[stage],
        )
        for stage, row in ((number, stage_row(part)) for number, part in network.stages.items())
    )


@cache
def released() -> tuple[Shown, ...]:
    """The networks that there are weights of, each under a button of its own."""
    return tuple(_released(name) for name in PRESETS)


def _released(name: str) -> Shown:
    network, family = resolve(name), PRESETS[name].model
    stages = rows(network)
    title = network.title.removeprefix("Efficient").removeprefix("Net-").removeprefix("Net")
    if not isinstance(network, EfficientNetSpec):
        cards = _cards(network, stages)
        return Shown(name, title, family, None, _first_sentence(network), cards, stages)
    if name == BASE.name:
        note = f"{network.title} as released. The baseline, which the others are scaled from."
    else:
        note = (
            f"{network.title} as released. The φ of a card is what this coefficient alone would "
            "need. They differ: the released coefficients were rounded, and are not on the curve "
            "of equation 3."
        )
    cost = predicted(network)
    needed = {way: f" · alone φ {phi:.2f}" for way, phi in alone(network).items()}
    cards = _cards_of_rule(network, stages, cost, needed)
    return Shown(name, title, family, math.log(cost, COST), note, cards, stages)


def _first_sentence(network: Network) -> str:
    """What the specification of an architecture says of it first."""
    told = inspect.getdoc(sys.modules[type(network).__module__]) or ""
    return " ".join(told.partition("\n\n")[0].split())


@cache
def at_phi(phi: float) -> Shown:
    """What equation 3 builds."""
    scaling = compound_scaling(phi)
    network = resolve_scaled(
        BASE.name, width=scaling.width, depth=scaling.depth, resolution=scaling.resolution
    )
    stages = rows(network)
    macs = sum(row.macs for row in stages)
    nearest = min(SCALED.values(), key=lambda p: abs(math.log(_count(p.name).macs / macs)))
    note = (
        "Not a released network: what equation 3 builds at this φ. The released one of nearest "
        f"cost is {nearest.name.upper()}, with depth ×{nearest.depth:g}, width "
        f"×{nearest.width:g} and {nearest.resolution} pixels."
    )
    cards = _cards_of_rule(network, stages, COST**phi, {})
    name = f"φ = {phi:.2f}"
    return Shown(f"phi={phi:g}", name, PRESETS[BASE.name].model, phi, note, cards, stages)


@cache
def _count(name: str) -> Count:
    return count(resolve(name))


def _cards_of_rule(
    network: EfficientNetSpec, stages: tuple[Row, ...], cost: float, needed: dict[str, str]
) -> tuple[Card, ...]:
    """Those of a network on the way of the rule, with what else the rule says of it."""
    width, depth, resolution, *costs = _cards(network, stages)
    really = sum(row.macs for row in stages) / _count(BASE.name).macs
    found = (("Depth d", *depth[1:]), ("Width w", *width[1:]), ("Resolution r", *resolution[1:]))
    return (
        *(
            (heading, value, remark + needed.get(heading.split()[0].lower(), ""))
            for heading, value, remark in found
        ),
        *costs,
        ("Predicted cost", f"×{cost:.1f}", f"d·w²·r²; really ×{really:.1f}"),
    )


def _cards(network: Network, stages: tuple[Row, ...]) -> tuple[Card, ...]:
    """What a network is scaled by, how large it is, and what it costs."""
    params, macs = (sum(getattr(row, of) for row in stages) for of in ("params", "macs"))
    base = _count(BASE.name)
    scaling = dict(network.scaling)
    width = scaling.pop("width")
    ((name, length),) = scaling.items()
    blocks = f"{len(network.blocks)} blocks"
    return (
        ("Width", _times(width), f"stem {network.maps[0].out_channels}"),
        (name.replace("_", " ").capitalize(), _times(length), blocks),
        ("Resolution", f"{network.resolution[0]} px", f"×{side(network):.2f} of {BASE_NAME}"),
        ("Parameters", short(params), f"×{params / base.trainable:.2f} of {BASE_NAME}"),
        ("MACs", short(macs), f"×{macs / base.macs:.1f} of {BASE_NAME}"),
    )


def _times(value: float) -> str:
    """A multiplier; or how many there are, which is whole."""
    return str(value) if isinstance(value, int) else f"×{value:.2f}"
