"""What pages take from the code as a whole: tables, lists and curves, as MyST.

A page writes the directive {generated} with the name of one of them.  Nothing here knows Sphinx, so
that tests use it too.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import typer.main

import augmenting  # noqa: F401 - which registers its own
import catalogue
import guarded_pair  # noqa: F401
import installing  # noqa: F401
import notebooks  # noqa: F401
import public_api
import tables_of_reading  # noqa: F401
import workflows
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.catalogue.records import libraries
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS, Form, Layout
from efficientnet_rosetta.common.checkpoints.layouts.schema import BY_NAME
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.cli.tables import (
    LAYOUT_HEADINGS,
    layout_rows,
    recipe_rows,
    sizes,
    stage_words,
)
from efficientnet_rosetta.common.guard.message import ADVICE
from efficientnet_rosetta.common.images.families import FAMILIES
from efficientnet_rosetta.common.network import DIALECTS, Dialect, Network
from efficientnet_rosetta.common.training.recipes import RECIPES
from efficientnet_rosetta.common.xception import XCEPTION
from facts import layout_names, project
from generating import GENERATED, generated, rows_of, stated, table
from tables_of_results import rows_by_name

WORDS = tomllib.loads((Path(__file__).parents[1] / "words.toml").read_text(encoding="utf-8"))
EXTRAS, ITEMS, FORMATS = WORDS["extras"], WORDS["items"], WORDS["formats"]
ABSENT = ("none", "-")  # value and source of what a recipe does not have

# ------------------------------------------------------------------ networks and conventions


@rows_of("extras")
def extras() -> Iterator[dict[str, Any]]:
    """The extras of pyproject.toml and what they bring."""
    for name, needs in project()["optional-dependencies"].items():
        packages = [re.match(r"[\w-]+(\[.*\])?", need)[0] for need in needs]
        yield {"name": name, "use": EXTRAS[name], "packages": ", ".join(packages)}


@rows_of("dialects")
def dialects() -> Iterator[dict[str, Any]]:
    """Every dialect with its numbers, and who runs it."""
    for dialect in DIALECTS.values():
        speakers = ", ".join(_speakers(dialect))
        yield {"dialect": dialect, "taken": 1 - dialect.momentum, "layouts": speakers}


def _speakers(dialect: Dialect) -> Iterator[str]:
    """Names of layouts, each with the networks that it has in this dialect if it has others."""
    for name in layout_names():
        named = [layout for layout in LAYOUTS if layout.name == name and not layout.any_network]
        spoken = dict.fromkeys(preset for layout in named for preset in layout.presets)
        held = [p for p in spoken if any(dialect in one.dialects.get(p, ()) for one in named)]
        if held:
            yield name if len(held) == len(spoken) else f"{name} ({sizes(tuple(held))})"


@generated("recipes")
def recipes() -> str:
    """The paper's recipe and the released code's, each number with its source."""
    columns = [
        {item: (value.replace("\n", ", "), source) for item, value, source in recipe_rows(recipe)}
        for recipe in (RECIPES["paper"], RECIPES["official"])
    ]
    rows = [
        (ITEMS.get(item, item), *(cell for column in columns for cell in column.get(item, ABSENT)))
        for item in dict.fromkeys(item for column in columns for item in column)
    ]
    return table(("Item", "Paper", "By", "Released code", "By"), rows, "tall")


@rows_of("recipes in stages")
def recipes_in_stages() -> Iterator[dict[str, str]]:
    """Sizes of images by stage in every recipe that has stages, and what else the ends have."""
    for recipe in RECIPES.values():
        if stages := recipe.stages:
            first, last = (", ".join(stage_words(stage)) for stage in (stages[0], stages[-1]))
            pixels = ", ".join(str(stage.image_size) for stage in stages)
            yield {"name": recipe.name, "pixels": pixels, "first": first, "last": last}


@rows_of("families")
def families() -> Iterator[dict[str, Any]]:
    """How the images of each family of weights are cut, resized and normalised."""
    for family in FAMILIES.values():
        seen = "0 to 255; the graph normalises" if family.graph_normalises else str(family.fed)
        how = family.interpolation
        smooth = "" if how.antialias or how.rules == "pillow" else ", no antialiasing"
        yield {"family": family, "how": f"{how.rules}, {how.kernel}{smooth}", "fed": seen}


@rows_of("libraries")
def libraries_by_name() -> Iterator[dict[str, Any]]:
    """What each library is, the version that was read, and how much it has published."""
    for name, library in libraries().items():
        yield {"name": name, "library": library, "number": len(library.records)}


# ------------------------------------------------------------------ published checkpoints

for _kind in catalogue.by_kind():
    GENERATED[f"weights {_kind}"] = partial(catalogue.table, _kind)
    if _kind != catalogue.OTHER:
        GENERATED[f"targets {_kind}"] = partial(catalogue.commands, _kind)
GENERATED["weights spellings"] = catalogue.spellings
GENERATED["weights findings"] = catalogue.findings


# ------------------------------------------------------------------ layouts and formats


@generated("layouts")
def all_layouts() -> str:
    """Every layout in a row."""
    rows = [(f"`{name}`", *others) for name, *others in layout_rows(LAYOUTS)]
    return table(LAYOUT_HEADINGS, rows)


@generated("layout keys")
def layout_keys() -> str:
    """Under which key, and in which order of axes, each layout keeps some tensors."""
    return "\n\n".join(_keys(layout) for layout in LAYOUTS)


def _examples(network: Network) -> list[str]:
    """One tensor of every kind; several layouts number a block without expansion otherwise."""
    first, last = network.layers[0], network.maps[-1].layers[0]
    if network.architecture == XCEPTION.name:
        block, plain = network.blocks[1], network.blocks[0]
        middle = [
            f"{plain.separable[1].role}.depthwise_conv.weight",
            f"{block.separable[1].role}.depthwise_conv.weight",
            f"{block.separable[1].role}.pointwise_conv.weight",
            f"{block.separable[1].role}.bn.scale",
            f"{block.role}.shortcut_conv.weight",
            f"{block.role}.shortcut_bn.variance",
        ]
    else:
        kinds: dict[tuple[type, bool], Any] = {}
        for block in network.blocks:
            kinds.setdefault((type(block), block.has_expansion), block)
        tensors = {
            False: ("depthwise_conv.weight", "project_conv.weight"),
            True: (
                *("expand_conv.weight", "depthwise_conv.weight"),
                *("depthwise_bn.scale", "depthwise_bn.variance"),
                *("se_reduce.bias", "project_conv.weight"),
            ),
        }
        named = [f"{b.role}.{name}" for (_, e), b in kinds.items() for name in tensors[e]]
        middle = [name for name in named if name in network.tensors]
    return [f"{first.role}.weight", *middle, f"{last.role}.weight", "classifier.weight"]


def _of(layout: Layout) -> str:
    """What a library's layouts after its first are of: an architecture, or sizes of one."""
    named = [other for other in LAYOUTS if other.name == layout.name]
    models = [architectures.PRESETS[other.presets[0]].model for other in named]
    if layout is named[0]:
        return ""
    model = models[named.index(layout)]
    return f", {model} {sizes(layout.presets)}" if models.count(model) > 1 else f", {model}"


def _keys(layout: Layout) -> str:
    network = resolve(layout.presets[0])
    names = [
        name
        for name in _examples(network)
        if not (layout.headless and name.startswith("classifier."))
    ]
    title = f"### {layout.name}{_of(layout)}"
    expects = f"Library: {layout.library}. Expected input: {layout.expects}."
    notes = "".join(f" {note[0].upper()}{note[1:]}." for note in layout.notes)
    forms = list(_forms(layout))
    parts = [title, expects + notes]
    for kinds, form in forms:
        keys = form.keys(network)
        rows = [
            (f"`{name}`", f"`{keys[name].path}`", _axes(keys[name].axes), _shape(network, name))
            for name in names
        ]
        written = ", as written" if layout.headless and form.written_only else ""
        key = f"Key in {', '.join(kinds)}{written}"
        head = ("Canonical name", key, "Axes", "Canonical shape")
        parts.append(table(head, rows))
    return "\n\n".join(parts)


def _forms(layout: Layout) -> Iterator[tuple[list[str], Form]]:
    """Each form that files have, with its formats; those that are read where others are written."""
    kinds = list(layout.forms.items())
    if layout.headless or not kinds:
        read = layout.also_read.items()
        kinds += [(kind, forms[0]) for kind, forms in read if kind != BY_NAME]
    seen: list[tuple[list[str], Form]] = []
    for kind, form in kinds:
        for names, known in seen:
            if known == form:
                names.append(kind)
                break
        else:
            seen.append(([kind], form))
    yield from seen


def _axes(axes: tuple[int, ...]) -> str:
    return "as it is" if axes == tuple(range(len(axes))) else " ".join(map(str, axes))


def _shape(network: object, name: str) -> str:
    return " x ".join(map(str, network.tensors[name]))


@rows_of("formats")
def formats() -> Iterator[dict[str, Any]]:
    """Every file format, who reads it and who writes it."""
    for kind, (suffix, what) in FORMATS.items():
        reads = dict.fromkeys(layout.name for layout in LAYOUTS if kind in layout.formats_read)
        writes = dict.fromkeys(layout.name for layout in LAYOUTS if kind in layout.forms)
        yield {
            "kind": kind,
            "suffix": suffix,
            "what": what,
            "reads": ", ".join(reads),
            "writes": ", ".join(writes) or "-",
        }


# ------------------------------------------------------------------ the command line


def commands() -> dict[str, Any]:
    """Every command of `rosetta` by its name, in the order of its help."""
    return dict(typer.main.get_command(app).commands)


@generated("commands")
def command_line() -> str:
    """Every command with its arguments and options, as its help has them."""
    return "\n\n".join(_command(name, command) for name, command in commands().items())


def _command(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join(["rosetta", name, *(["[OPTIONS]"] if options else []), *map(_meta, arguments)])
    parts = [f"## {name}", f"```text\n{usage}\n```", _prose(command.help or "")]
    if arguments:
        rows = [(f"`{_meta(one)}`", _prose(one.help or "")) for one in arguments]
        parts.append(table(("Argument", "Meaning"), rows))
    if options:
        rows = [(_spelt(one), _prose(one.help or ""), _default(one)) for one in options]
        parts.append(table(("Option", "Meaning", "Default"), rows))
    return "\n\n".join(parts)


def _meta(argument: Any) -> str:
    """As in the usage line: FILE, [PRESET], IMAGE..."""
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _spelt(option: Any) -> str:
    """`--size PIXELS`, `--verify, --no-verify`"""
    flags = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return f"`{flags}`"
    kind = option.metavar or "VALUE"
    return f"`{' '.join([flags, *[kind] * max(1, option.nargs)])}`"


def _prose(text: str) -> str:
    """Help as Markdown: what would be a link or HTML is neither."""
    return text.replace("[", "\\[").replace("<", "&lt;").replace("*", "\\*").strip()


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.is_flag:
        return "yes" if option.default else ""
    return "" if option.default in (None, (), []) else f"`{option.default}`"


# ------------------------------------------------------------------ guarding a pair

for _use in workflows.USES:
    GENERATED[f"workflow {_use}"] = partial(workflows.shown, _use)


for _part in ("inputs", "outputs"):
    rows_of(f"action {_part}")(partial(workflows.named, _part))


@rows_of("kinds")
def kinds() -> Iterator[dict[str, str]]:
    """What to look at, by the kind of mistake that a difference looks like."""
    return ({"kind": kind, "advice": said} for kind, said in ADVICE.items())


# ------------------------------------------------------------------ from Python

GENERATED.update({f"api {name}": make for name, make in public_api.documented().items()})

stated(rows_by_name)
