"""What pages take from the code as a whole: tables, lists and curves, as MyST.

A page writes the directive {generated} with the name of one of them.  Nothing here knows Sphinx, so
that tests use it too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import typer.main

import augmenting
import catalogue
import fields
import guarded_pair
import paper_map
import photographs
import printed
import public_api
import released
import scaled
import situations
import workflows
from charts import Axis, Curve, decades, lines
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.checkpoints.formats import CHECKPOINT
from efficientnet_rosetta.common.checkpoints.layouts import Form, Layout
from efficientnet_rosetta.common.checkpoints.layouts.schema import BY_NAME
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.cli.tables import (
    LAYOUT_HEADINGS,
    layout_rows,
    recipe_rows,
    sizes,
    stage_row,
    stage_words,
)
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.guard.message import ADVICE
from efficientnet_rosetta.common.images.families import FAMILIES
from efficientnet_rosetta.common.network import DIALECTS, Dialect, Network, Size
from efficientnet_rosetta.common.spec import (
    HEAD_CHANNELS,
    PRESETS,
    STEM_CHANNELS,
    TABLE_1,
    compound_scaling,
    scale_channels,
)
from efficientnet_rosetta.common.training.recipes import RECIPES
from efficientnet_rosetta.common.training.run import read_table
from efficientnet_rosetta.common.xception import XCEPTION
from facts import REACHED, RESULTS, TRAINED_IN, layout_names, layouts, mean_loss, project, result

GENERATED: dict[str, Callable[[], str]] = {}
FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras"}
RUNNERS = {
    "torch": "PyTorch",
    "keras": "Keras",
    "onnx-torch": "ONNX of PyTorch",
    "onnx-keras": "ONNX of Keras",
}
EXTRAS = {
    "torch": "running networks in PyTorch",
    "keras": "running networks in Keras",
    "onnx": "exported graphs, parity runs and their reports",
    "train": "training in PyTorch, curves, TFRecord files",
    "hub": "fetching published weights by name",
    "guard": "the fixture `parity` of pytest, and its reports",
    "all": "all of these",
    "dev": "the tests: everything, and the libraries that they compare with",
    "docs": "these pages",
}
ITEMS = {
    "rule": "optimizer",
    "decay": "decay of RMSProp",
    "epsilon": "epsilon of RMSProp",
    "momentum": "momentum of RMSProp",
    "rate": "learning rate",
    "rate images": "batch size the learning rate refers to",
    "batch": "batch size",
    "factor": "decay factor of the learning rate",
    "every": "decay the learning rate every",
    "warmup epochs": "warm-up epochs",
    "average": "moving average of the weights: decay",
}
ABSENT = ("none", "-")  # value and source of what a recipe does not have
FORMATS = {
    "safetensors": ("`.safetensors`", "names, shapes and raw arrays; metadata as text"),
    "torch": ("`.pth`, `.pt`, `.bin`, `.ckpt`, `.tar`", "a zip of arrays and a pickle"),
    "h5": ("`.h5`", "HDF5 with groups by the names of layers, as of Keras 2"),
    "weights.h5": ("`.weights.h5`", "HDF5 with groups by class and counter, as of Keras 3"),
    "keras": ("`.keras`", "a zip of the graph in JSON and a `.weights.h5`"),
    CHECKPOINT: ("a prefix, `.index` and `.data-*`", "TensorFlow's checkpoint"),
    "saved-model": ("a folder with `saved_model.pb`", "TensorFlow's export; its variables"),
    "npz": ("`.npz`", "NumPy arrays in a zip"),
    "onnx": ("`.onnx`", "the initializers of a graph of `rosetta export`"),
}


def generated(name: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register what a page may ask for."""

    def register(make: Callable[[], str]) -> Callable[[], str]:
        GENERATED[name] = make
        return make

    return register


def table(head: Sequence[str], rows: Sequence[Sequence[str]], style: str = "") -> str:
    """A table in Markdown, of a class of pages.css where one is given."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]
    if style:
        lines = ["```{table}", f":class: {style}", "", *lines, "```"]
    return "\n".join(lines)


# ------------------------------------------------------------------ networks and conventions


@generated("extras")
def extras() -> str:
    """The extras of pyproject.toml and what they bring."""
    rows = []
    for name, needs in project()["optional-dependencies"].items():
        packages = [re.match(r"[\w-]+(\[.*\])?", need)[0] for need in needs]
        rows.append((f"`{name}`", EXTRAS[name], ", ".join(packages)))
    return table(("Extra", "For", "Packages"), rows)


@generated("dialects")
def dialects() -> str:
    """Every dialect with its numbers, and who runs it."""
    rows = []
    for name, dialect in DIALECTS.items():
        numbers = f"{dialect.epsilon:g}", f"{dialect.momentum:g}", f"{1 - dialect.momentum:.2g}"
        rows.append((f"`{name}`", dialect.padding, *numbers, ", ".join(_speakers(dialect))))
    return table(
        ("Dialect", "Padding", "Epsilon", "Kept (Keras)", "Taken (PyTorch)", "Layouts"),
        rows,
        "tall",
    )


def _speakers(dialect: Dialect) -> Iterator[str]:
    """Names of layouts, each with the networks that it has in this dialect if it has others."""
    for name in layout_names():
        named = [layout for layout in layouts() if layout.name == name and not layout.any_network]
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


@generated("stages of v2")
def stages_of_v2() -> str:
    """Sizes of images by stage in every recipe that has stages, and what else the ends have."""
    rows = []
    for recipe in RECIPES.values():
        if recipe.stages:
            pixels = ", ".join(str(stage.image_size) for stage in recipe.stages)
            ends = recipe.stages[0], recipe.stages[-1]
            words = [", ".join(stage_words(stage)) for stage in ends]
            rows.append((f"`{recipe.name}`", pixels, *words))
    return table(("Recipe", "Pixels by stage", "First stage", "Last stage"), rows, "tall")


@generated("families")
def families() -> str:
    """How the images of each family of weights are cut, resized and normalised."""
    rows = []
    for family in FAMILIES.values():
        seen = "0 to 255; the graph normalises" if family.graph_normalises else str(family.fed)
        how = family.interpolation
        smooth = "" if how.antialias or how.rules == "pillow" else ", no antialiasing"
        rows.append((f"`{family.name}`", f"{how.rules}, {how.kernel}{smooth}", seen, family.source))
    return table(("Family", "Interpolation", "Fed with", "Source"), rows, "tall")


# ------------------------------------------------------------------ published checkpoints

for _kind in catalogue.by_kind():
    GENERATED[f"weights {_kind}"] = partial(catalogue.table, _kind)
    if _kind != catalogue.OTHER:
        GENERATED[f"targets {_kind}"] = partial(catalogue.commands, _kind)
GENERATED["weights spellings"] = catalogue.spellings
GENERATED["weights findings"] = catalogue.findings


@generated("weights libraries")
def weights_libraries() -> str:
    """The libraries whose checkpoints are known by name."""
    return table(
        ("Name", "Library", "Version", "Checkpoints", "What it has"),
        catalogue.library_rows(),
        "tall",
    )


# ------------------------------------------------------------------ layouts and formats


@generated("layouts")
def all_layouts() -> str:
    """Every layout in a row."""
    rows = [(f"`{name}`", *others) for name, *others in layout_rows(layouts())]
    return table(LAYOUT_HEADINGS, rows)


@generated("layout keys")
def layout_keys() -> str:
    """Under which key, and in which order of axes, each layout keeps some tensors."""
    return "\n\n".join(_keys(layout) for layout in layouts())


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
    named = [other for other in layouts() if other.name == layout.name]
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
    expects = f"Of {layout.library}. Fed with {layout.expects}."
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


@generated("formats")
def formats() -> str:
    """Every file format, who reads it and who writes it."""
    rows = []
    for kind, (suffix, what) in FORMATS.items():
        reads = dict.fromkeys(layout.name for layout in layouts() if kind in layout.formats_read)
        writes = dict.fromkeys(layout.name for layout in layouts() if kind in layout.forms)
        rows.append((f"`{kind}`", suffix, what, ", ".join(reads), ", ".join(writes) or "-"))
    return table(("Format", "File", "What it is", "Read as", "Written as"), rows, "tall")


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
GENERATED["guarded files"] = guarded_pair.files
GENERATED["guarded difference"] = guarded_pair.difference
GENERATED["guarded message"] = guarded_pair.message
GENERATED["guarded summary"] = guarded_pair.summary


@generated("action inputs")
def action_inputs() -> str:
    """Every input of the action."""
    return table(("Input", "Default", "Meaning"), workflows.named("inputs"))


@generated("action outputs")
def action_outputs() -> str:
    """Every output of the action."""
    return table(("Output", "Meaning"), workflows.named("outputs"))


@generated("kinds")
def kinds() -> str:
    """What to look at, by the kind of mistake that a difference looks like."""
    return table(("Likely", "What to do"), [(f"`{kind}`", said) for kind, said in ADVICE.items()])


def _measured(name: str, head: Sequence[str], rows: Callable[..., list[tuple[str, ...]]]) -> str:
    found = guarded_pair.measured(name)
    return guarded_pair.UNMEASURED if found is None else table(head, rows(found), "numbers")


@generated("guard counts")
def guard_counts() -> str:
    """Of how many mistakes the kind is named."""
    head = ("Mistakes in", "Played", "Named rightly", "Share")
    return _measured("kinds", head, guarded_pair.counts_of_kinds)


@generated("guard kinds")
def guard_kinds() -> str:
    """The kinds that are named, against those that were played."""
    head = ("Played", "Mistakes", "Named so", "Named otherwise")
    return _measured("kinds", head, guarded_pair.rows_of_kinds)


@generated("guard cost")
def guard_cost() -> str:
    """What the fixture takes over making and running both programs."""
    head = ("Programs", "What", "Ratio", "Goal", "Over running alone")
    return _measured("guard", head, guarded_pair.rows_of_cost)


# ------------------------------------------------------------------ from Python

GENERATED.update({f"api {name}": make for name, make in public_api.documented().items()})

# ------------------------------------------------------------------ results


@generated("parity")
def parity() -> str:
    """The largest error of the logits of every preset, in every run."""
    found = result("parity")["presets"]
    runners = [run["runner"] for run in found[0]["runs"]]
    rows = []
    for preset in found:
        errors = [f"{run['endpoints'][-1]['largest']:.1e}" for run in preset["runs"]]
        same = min(run["top5_agreement"] for run in preset["runs"])
        size = str(preset["resolution"][0])
        verdict = "agrees" if preset["agrees"] else "**differs**"
        name = resolve(preset["preset"]).title.removeprefix("EfficientNet-")
        rows.append((name, size, *errors, f"{same:.0%}", verdict))
    return table(
        ("Network", "Pixels", *map(RUNNERS.get, runners), "Top-5", "Verdict"), rows, "numbers"
    )


@generated("released")
def released_checkpoints() -> str:
    """What became of every published checkpoint, where a run is recorded."""
    return released.text(result("released") if (RESULTS / "released.json").exists() else None)


@generated("situations")
def table_of_situations() -> str:
    """Every kind of file that was tried, below the library that it comes from."""
    parts = []
    for group, rows in situations.rows_of(result("situations")).items():
        parts += [f"### {group}", table(situations.HEAD, rows, "situations")]
    return "\n\n".join(parts)


@generated("receptive fields")
def receptive_fields() -> str:
    """Stride, channels and receptive field of the maps of B0 that features are read from."""
    rows = [
        [f"`{name}`", str(stride), str(channels), f"{field} x {field}"]
        for name, stride, channels, field in fields.fields(resolve("b0"))
    ]
    return table(("map", "stride", "channels", "receptive field in pixels"), rows)


@generated("photograph words")
def photograph_words() -> str:
    """What the published EfficientNet-Lite says of photographs."""
    rows = photographs.rows_of_words(result("photographs"))
    return table(("Photograph", *photographs.NETWORKS.values()), rows, "numbers")


@generated("photograph effects")
def photograph_effects() -> str:
    """What one wrong thing does to what Lite0 says of them."""
    return photographs.bars_of_effects(result("photographs"))


@generated("cost of training")
def cost_of_training() -> str:
    """What a training step of other libraries takes, over ours."""
    rows = [
        (
            FRAMEWORKS[row["framework"]],
            str(row["pixels"]),
            str(row["batch"]),
            row["beside"],
            f"{row['ratio']:.2f}",
        )
        for row in result("train")["rows"]
    ]
    return table(("Framework", "Pixels", "Batch", "Beside", "Ratio"), rows, "numbers")


@generated("cost of the optimizer")
def cost_of_the_optimizer() -> str:
    """What other optimizers and averages take, over what ours take."""
    words = {"both": "both together", "rmsprop": "RMSProp", "average": "moving average"}
    rows = [
        (words[row["what"]], row["beside"], f"{row['ratio']:.2f}")
        for row in result("optimizer")["rows"]
    ]
    return table(("Work", "Beside", "Ratio"), rows, "numbers")


@generated("cost of reading")
def cost_of_reading() -> str:
    """What torchvision takes to read images, over what we take."""
    rows = [
        (row["work"], row["photograph"], row["by"], f"{row['ratio']:.2f}")
        for row in result("read")["rows"]
    ]
    return table(("Work", "Photograph", "By", "Ratio"), rows, "numbers")


@generated("error by depth")
def error_by_depth() -> str:
    """How the error grows through the largest network of the run."""
    found = max(result("parity")["presets"], key=lambda preset: preset["macs"])
    curves = [
        Curve(
            FRAMEWORKS[run["runner"]],
            [
                (100 * place / (len(run["endpoints"]) - 1), endpoint["rms"])
                for place, endpoint in enumerate(run["endpoints"])
            ],
            run["runner"],
            "" if run["runner"] == "torch" else "5 3",
        )
        for run in found["runs"]
        if run["runner"] in FRAMEWORKS
    ]
    limit = found["runs"][0]["tolerance"]["limit"]
    return lines(
        f"{found['preset'].upper()} in float32: root mean square of the error, in standard "
        "deviations, from the stem to the logits",
        curves,
        Axis("way through the network, %", 0, 100, (0, 25, 50, 75, 100)),
        decades("", -8, -3),
        (limit, "tolerance"),
    )


@generated("digits accuracy")
def digits_accuracy() -> str:
    """Validation top-1 of both frameworks on the digits."""
    return _digits(
        "Validation top-1 on the digits, %",
        "val_top1",
        Axis("", 0, 100, (0, 25, 50, 75, 100)),
        100,
        (100 * REACHED, f"{REACHED:.0%}"),
    )


@generated("digits loss")
def digits_loss() -> str:
    """Training loss of both frameworks on the digits."""
    return _digits(
        "Loss of training on the digits, with label smoothing", "loss", Axis("", 0, 5, range(6)), 1
    )


def _digits(
    title: str, column: str, y: Axis, factor: float, level: tuple[float, str] | None = None
) -> str:
    curves = []
    for name in TRAINED_IN:
        rows = read_table(RESULTS / f"digits-{name}.csv")
        points = [(row["epoch"], factor * row[column]) for row in rows]
        curves.append(Curve(FRAMEWORKS[name], points, name, "" if name == "torch" else "5 3"))
    last = int(rows[-1]["epoch"])
    return lines(title, curves, Axis("epoch", 0, last, range(0, last + 1, 10)), y, level)


@generated("drift")
def drift() -> str:
    """How far the losses are from those of PyTorch in float64."""
    losses = dict(result("drift")["losses"])
    reference = losses.pop("torch float64")
    curves = []
    for name, found in losses.items():
        backend, precision = name.split()
        points = [
            (step, max(abs(loss - right), 1e-16))
            for step, (loss, right) in enumerate(zip(found, reference, strict=True), 1)
        ]
        dashes = "2 2" if precision == "float64" else ("" if backend == "torch" else "5 3")
        curves.append(Curve(f"{FRAMEWORKS[backend]} {precision[-2:]}", points, backend, dashes))
    last = len(reference)
    return lines(
        "Difference of the loss from PyTorch in float64, step by step, in 32 and 64 bits",
        curves,
        Axis("step", 0, last, range(0, last + 1, 50)),
        decades("", -16, 1, 4),
    )


@generated("wrong settings")
def wrong_settings() -> str:
    """What became of each of the settings that were tried."""
    runs = result("what_went_wrong")["runs"]
    names = {
        "recipe": "the recipe",
        "epsilon": "epsilon 1.0",
        "decay": "decay=0.9",
        "gamma": "gamma=0.03",
        "excitation": "excitation after the projection",
        "xception": "Xception, batch norm everywhere",
        "xception without": "Xception, none in separable convolutions",
    }
    rows = [
        (
            text,
            f"{runs[name]['epochs'][-1]['val_top1']:.1%}",
            f"{mean_loss(runs[name]):.2f}",
        )
        for name, text in names.items()
    ]
    return table(("Run", "Validation top-1", "Training loss, last epochs"), rows)


@generated("rmsprop")
def rmsprop() -> str:
    """Where one weight is after the same ten steps of three optimizers called RMSProp."""
    rows = [(name, f"{value:.2f}") for name, value in result("effects")["weight"].items()]
    return table(("RMSProp of", "The weight"), rows)


# ------------------------------------------------------------------ augmentation


@generated("augmentation policies")
def augmentation_policies() -> str:
    """Both lists of AutoAugment, side by side."""
    return table(augmenting.POLICY_HEAD, augmenting.rows_of_policies())


@generated("augmentation levels")
def augmentation_levels() -> str:
    """What a level means, here and in other libraries."""
    rows = augmenting.rows_of_levels(result("augmentation"))
    return table(augmenting.LEVEL_HEAD, rows, "numbers wide")


@generated("augmentation differences")
def augmentation_differences() -> str:
    """What is done otherwise elsewhere."""
    return table(augmenting.DIFFERENCE_HEAD, augmenting.rows_of_differences(), "tall wide")


# ------------------------------------------------------------------ read along


@generated("activations")
def activations() -> str:
    """Swish beside the functions that are taken for it."""
    steps = [step / 20 for step in range(-120, 81)]
    functions = {
        "swish": (lambda z: z / (1 + math.exp(-z)), "paper", ""),
        "hard swish": (lambda z: z * min(max(z + 3, 0), 6) / 6, "", "6 3"),
        "ReLU": (lambda z: max(z, 0.0), "", "2 3"),
    }
    curves = [
        Curve(name, [(z, function(z)) for z in steps], colour, dashes)
        for name, (function, colour, dashes) in functions.items()
    ]
    across = Axis("z", -6, 4, range(-6, 5, 2))
    up = Axis("value", -1, 4, range(-1, 5))
    return lines("Swish, hard swish and ReLU from -6 to 4", curves, across, up)


@generated("drop rates")
def drop_rates() -> str:
    """How often each block of B0 is dropped."""
    rows = [
        (
            f"{block.index}",
            f"`{block.role}`",
            f"{block.drop_path_rate:.4f}",
            f"{1 / (1 - block.drop_path_rate):.4f}" if block.has_skip else "-",
            "yes" if block.has_skip else "no shortcut",
        )
        for block in resolve("b0").blocks
    ]
    head = ("i", "Block", "Rate", "A kept branch, times", "Can be dropped")
    return table(head, rows, "numbers")


@generated("paper map")
def map_of_the_paper() -> str:
    """Every element of the paper that the code answers."""
    rows = []
    for element in paper_map.MAP:
        cells = [
            ", ".join(f"{{source}}`{path}@{name}`" for path, name in element.names(column))
            for column in paper_map.FILES
        ]
        rows.append(
            (element.paper, element.what, *(cell or "none" for cell in cells), _page(element))
        )
    head = ("Paper", "What it is", "Specification", *FRAMEWORKS.values(), "Page")
    return table(head, rows, "paper-map wide")


def _page(element: paper_map.Element) -> str:
    """A link from a page of docs/read."""
    page, _, anchor = element.page.partition("#")
    return f"[](../{page}.md{'#' if anchor else ''}{anchor})"


@generated("paper map left out")
def left_out() -> str:
    """What the paper has and the code does not."""
    return table(("Paper", "Why it is not here"), list(paper_map.LEFT_OUT.items()), "tall")


@generated("not the paper's")
def not_the_papers() -> str:
    """Public names that are no part of the paper."""
    rows: dict[str, list[str]] = {}
    for path, names in paper_map.NOT_THE_PAPERS.items():
        framework = FRAMEWORKS.get(path.partition("_impl/")[0])
        for name, why in names.items():
            where = f" ({framework})" if framework else ""
            rows.setdefault(why, []).append(f"{{source}}`{path}@{name}`{where}")
    for name, paper in paper_map.OTHER_PAPERS.items():
        files = [f"{{source}}`{package}/{name}`" for package in ("torch_impl", "keras_impl")]
        rows[f"the network of {paper}"] = files
    return table(
        ("Names", "What they are"), [(", ".join(n), why) for why, n in rows.items()], "tall"
    )


@generated("table 1")
def table_1() -> str:
    """Table 1 with what the paper leaves out: what comes out of a stage, and what it costs."""
    network = scaled.BASE
    costs, total = count_stages(network), count(network)
    last = {section.stage: section for section in network.maps}
    rows = []
    for number, sections in network.stages.items():
        row = stage_row(sections)
        rows.append(
            (
                str(number),
                row.operator.replace("x", "×"),
                _pixels(row.input_size),
                _pixels(last[number].output_size),
                str(row.channels),
                str(row.layers),
                str(row.stride),
                f"{costs[number].trainable:,}",
                f"{costs[number].trainable / total.trainable:.1%}",
                f"{costs[number].macs:,}",
                f"{costs[number].macs / total.macs:.1%}",
            )
        )
    head = ("Stage", "Operator", "Input", "Output", "Channels", "Layers", "Stride")
    return table((*head, "Parameters", "Share", "MACs", "Share"), rows, "numbers")


def _pixels(size: Size) -> str:
    return "×".join(map(str, size))


def _printed(name: str) -> str:
    return table(*printed.TABLES[name](), "numbers")


for _name in printed.TABLES:
    generated(_name)(partial(_printed, _name))


@generated("scaling phi")
def scaling_phi() -> str:
    """Which phi each released coefficient alone would need."""
    rows = []
    for name, preset in PRESETS.items():
        network = resolve(name)
        phis = [f"{phi:.2f}" for phi in scaled.alone(network).values()]
        given = (f"{preset.depth:g}", f"{preset.width:g}", str(preset.resolution))
        rows.append(
            (name.upper(), *(cell for pair in zip(given, phis, strict=True) for cell in pair))
        )
    head = ("Network", "Depth", "its φ", "Width", "its φ", "Pixels", "its φ")
    return table(head, rows, "numbers")


@generated("scaling curve")
def scaling_curve() -> str:
    """What equation 3 gives for whole phi."""
    rows = []
    for phi in range(8):
        scaling = compound_scaling(phi)
        network = resolve(
            "b0", width=scaling.width, depth=scaling.depth, resolution=scaling.resolution
        )
        numbers = (f"{scaling.depth:.2f}", f"{scaling.width:.2f}", str(scaling.resolution))
        rows.append((str(phi), *numbers, f"{count(network).macs / 1e9:.3g} G", _ratio(network)))
    return table(("φ", "Depth", "Width", "Pixels", "MACs", "of B0's"), rows, "numbers")


@generated("scaling cost")
def scaling_cost() -> str:
    """Predicted beside counted cost of every preset."""
    rows = []
    for name, preset in PRESETS.items():
        network = resolve(name)
        blocks = len(network.blocks)
        rows.append(
            (
                name.upper(),
                f"×{preset.depth:g}",
                str(blocks),
                f"×{blocks / len(scaled.BASE.blocks):.2f}",
                f"{count(network).macs / 1e9:.3g} G",
                _times(scaled.predicted(network)),
                _ratio(network),
                f"{scaled.counted(network) / scaled.predicted(network):.2f}",
            )
        )
    head = ("Network", "Depth", "Blocks", "of B0's", "MACs", "Predicted", "Counted", "Quotient")
    return table(head, rows, "numbers")


def _ratio(network: Network) -> str:
    return _times(scaled.counted(network))


def _times(ratio: float) -> str:
    return f"×{ratio:,.0f}" if ratio >= 100 else f"×{ratio:#.3g}"


@generated("scaling alone")
def scaling_alone() -> str:
    """The networks of the paper's Table 7: about the same cost, in four ways."""
    rows = []
    for name, scaling in scaled.ALONE.items():
        network = resolve("b0", **scaling)
        total = count(network)
        predicted = _times(scaled.predicted(network))
        macs = f"{total.macs / 1e9:.2f} G"
        rows.append((name, f"{total.trainable:,}", macs, predicted, _ratio(network)))
    return table(("B0 scaled by", "Parameters", "MACs", "Predicted", "Counted"), rows, "numbers")


@generated("rounded channels")
def rounded_channels() -> str:
    """Channels of every stage, multiplied and then rounded, for the smallest networks."""
    stages = {1: STEM_CHANNELS} | {s.number: s.channels for s in TABLE_1} | {9: HEAD_CHANNELS}
    shown = [preset for preset in PRESETS.values() if 1 < preset.width < 1.5]
    rows = []
    for number, channels in stages.items():
        cells = []
        for preset in shown:
            rounded = scale_channels(channels, preset.width)
            cell = f"{channels * preset.width:.1f} → {rounded}"
            cells.append(f"**{cell}**" if guarded(channels, preset.width) else cell)
        rows.append((str(number), str(channels), *cells))
    head = ("Stage", "B0", *(f"{p.name.upper()}, ×{p.width:g}" for p in shown))
    return table(head, rows, "numbers")


def guarded(channels: int, width: float) -> bool:
    """Whether the nearest multiple of 8 would lose more than a tenth, and is not taken."""
    rounded = scale_channels(channels, width)
    return rounded > 8 and rounded - channels * width > 4
