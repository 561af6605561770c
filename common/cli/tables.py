"""The rows that the command line and the pages print: stages, recipes, sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from ..architectures import ARCHITECTURES, PRESETS, resolve
from ..network import Activation, MapSection, Section, Size
from ..spec import DROP_PATH_RATE

if TYPE_CHECKING:
    from ..catalogue.records import Record
    from ..checkpoints.layouts import Layout
    from ..training.recipes import Recipe, RecipeStage

RECIPE_UNITS = {
    "every": " epochs",
    "batch": " images",
    "warmup_steps": " steps",
    "minival": " of the training images",
}


@dataclass(frozen=True)
class StageRow:
    """A row of the table of a network: what its sections are, and the first one's input."""

    operator: str
    input_size: Size
    channels: int
    layers: int
    stride: int


def stage_row(sections: tuple[Section, ...]) -> StageRow:
    """The row of a stage, from its sections."""
    maps = [section for section in sections if isinstance(section, MapSection)]
    first = maps[0]
    operator = ", ".join(dict.fromkeys(section.operator for section in sections))
    return StageRow(operator, first.input_size, first.out_channels, len(maps), first.stride)


def scaling(values: dict[str, float]) -> str:
    """`width 1, depth 1.1`"""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())


def sizes(presets: tuple[str, ...]) -> str:
    """`b0-b7, l2`: presets that follow one another in their architecture, joined."""
    known = list(PRESETS)

    def alike(pair: tuple[int, str]) -> tuple[int, str]:
        place, name = pair
        return known.index(name) - place, name.rstrip("0123456789")

    parts = []
    for _, run in groupby(enumerate(presets), alike):
        names = [name for _, name in run]
        to = " to " if "-" in names[0] else "-"
        parts.append(f"{names[0]}{to}{names[-1]}" if len(names) > 1 else names[0])
    return ", ".join(parts)


LAYOUT_HEADINGS = ("Layout", "Library", "Sizes", "Reads", "Writes", "Dialects")


def layout_rows(layouts: Iterable[Layout]) -> Iterator[tuple[str, ...]]:
    """Name, library, networks, formats read and written, and dialects of each layout."""
    for layout in layouts:
        dialects = dict.fromkeys(d.name for found in layout.dialects.values() for d in found)
        yield (
            layout.name,
            layout.library,
            "any" if layout.any_network else sizes(layout.presets),
            ", ".join(layout.formats_read),
            ", ".join(layout.forms) or "-",
            ", ".join(dialects),
        )


def recipe_rows(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Item, value and source of every number of a recipe, and of what the network itself has."""
    for item, source in recipe.sources.items():
        if item == "stages":
            for number in range(len(recipe.stages)):
                yield f"stage {number + 1}", "\n".join(_stage_words(recipe, number)), source
            continue
        value = in_words(getattr(recipe, item)) + RECIPE_UNITS.get(item, "")
        yield item.replace("_", " "), value, source
    yield from _network_rows(recipe)


def _stage_words(recipe: Recipe, number: int) -> Iterator[str]:
    """How long a stage of a recipe is, how large its images are, and what else is its own."""
    epochs = sum(recipe.stage_of(epoch) == number for epoch in range(recipe.epochs))
    yield f"{epochs} epochs at {recipe.stages[number].image_size} pixels"
    yield from stage_words(recipe.stages[number])


def stage_words(stage: RecipeStage) -> Iterator[str]:
    """What is done to the images of a stage, and how much is dropped."""
    if stage.augmentation.policy is not None:
        yield str(stage.augmentation.policy)
    if stage.mixing is not None:
        yield from (line for line in in_words(stage.mixing).splitlines() if not line.endswith(" 0"))
    if stage.dropout is not None:
        yield f"dropout {stage.dropout:.3g}"


def number_rows(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """All that can be set of a recipe: name and value as an option has them, and what it may be."""
    from ..training.numbers import numbers

    for number in numbers(recipe).values():
        yield f"{number.name}={number.as_text}", number.allowed


def _network_rows(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """What training needs beside a recipe: numbers that are the network's own, by default."""
    from ..training.recipes import NETWORK_SOURCES

    presets = (recipe.preset,) if recipe.preset else ARCHITECTURES[recipe.architecture].presets
    networks = [resolve(preset) for preset in presets]
    dropout = sorted({network.dropout for network in networks})
    functions = {
        operation.function
        for section in networks[0].sections
        for operation in section.path
        if isinstance(operation, Activation)
    }
    values = {
        "batch norm": f"{networks[0].dialect.momentum:g} of the statistics kept",
        "activation": ", ".join(sorted(functions)),
        "stochastic depth": f"survival {1 - DROP_PATH_RATE:g} of the last block",
        "dropout": " to ".join(f"{rate:g}" for rate in dict.fromkeys((dropout[0], dropout[-1]))),
    }
    given = set()
    if recipe.batch_norm is not None:
        given.add("batch norm")
    if any(stage.dropout is not None for stage in recipe.stages):
        given.add("dropout")
    for item, source in NETWORK_SOURCES[recipe.architecture].items():
        if item in given:
            continue
        yield item, values[item], f"the network's; {source}"


def in_words(value: object) -> str:
    """A number as it is, and what has several of them one by one, a line each."""
    if isinstance(value, tuple):
        return "\n".join(map(in_words, value))
    if not is_dataclass(value):
        return _short(value)
    parts = {field.name: getattr(value, field.name) for field in fields(value)}
    given = {name: part for name, part in parts.items() if part not in (None, False)}
    return "\n".join(
        f"{name.replace('_', ' ')} {_short(part)}".rstrip() for name, part in given.items()
    )


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(f"{part:.3g}" for part in value)
    if isinstance(value, bool):
        return "" if value else "no"
    if name := getattr(value, "name", None):  # of a policy
        return str(name)
    if value is None:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


# ------------------------------------------------------------------ published checkpoints

# Architectures by name, and what they are called above a column; the rest is other networks.
KINDS = {
    "efficientnet": "V1",
    "lite": "Lite",
    "v2": "V2",
    "v2_rw": "V2",
    "edgetpu": "EdgeTPU",
    "xception": "Xception",
}
OTHER = "other"
WEIGHTS_HEADINGS = (
    *("Name", "Network", "Trained with", "Top-1", "Pixels", "Classes", "Parameters"),
    *("Dialect", "Licence"),
)
WEIGHTS_NUMBERS = ("Top-1", "Pixels", "Classes", "Parameters")
NOT_STATED = "-"
NAMED = 3  # records in a line about a finding


def kind_of(record: Record) -> str:
    """The architecture that a checkpoint is of, by its name above a column."""
    return KINDS[PRESETS[record.preset].name] if record.preset else OTHER


def weights_rows(records: Iterable[Record]) -> Iterator[tuple[str, ...]]:
    """Reference, network, training, accuracy, size and terms of each published checkpoint."""
    for record in records:
        yield (
            record.reference,
            record.preset or f"({record.network})",
            record.training or NOT_STATED,
            NOT_STATED if record.top1 is None else f"{record.top1:.4g}",
            str(record.size or NOT_STATED),
            f"{record.classes:,}" if record.classes else "none",
            NOT_STATED if record.parameters is None else f"{record.parameters / 1e6:.1f}M",
            record.dialect or NOT_STATED,
            record.licence or "not stated",
        )


def remarks(records: Iterable[Record]) -> Iterator[str]:
    """What was found wrong, or cannot be ported, in a line each with the names it is true of."""
    names: dict[str, list[str]] = {}
    for record in records:
        for finding in record.findings:
            names.setdefault(f"finding: {{}}: {finding}", []).append(record.reference)
        if record.unported:
            names.setdefault(f"not ported: {{}}: {record.unported}", []).append(record.reference)
    for remark, found in names.items():
        yield remark.format(_listed(found))


def _listed(names: Sequence[str]) -> str:
    """`a, b, c and 4 more`"""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
