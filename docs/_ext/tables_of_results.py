"""What pages take from docs/results: what was measured, as rows, tables and curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any

import released
from charts import Axis, Curve, decades, lines
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.common.training.run import read_table
from facts import REACHED, RESULTS, TRAINED_IN, result
from generating import FRAMEWORKS, generated, plain, rows_of, table

RUNNERS = {
    **FRAMEWORKS,
    "onnx-torch": "ONNX of PyTorch",
    "onnx-keras": "ONNX of Keras",
}
DASHES = {"torch": "", "keras": "5 3"}  # beside their colours
SHARES = (0, 25, 50, 75, 100)
EVERY = 10  # epochs between two marks of an axis


def rows_by_name(name: str) -> Iterable[Mapping[str, Any]]:
    """Rows of a result: `train.rows` is a list of records, `effects.weight` values by name."""
    file, *path = name.split(".")
    found: Any = result(file)
    for part in path:
        found = found[part]
    return found if isinstance(found, list) else [{"key": k, "value": v} for k, v in found.items()]


# ------------------------------------------------------------------ rows of tables.toml


@rows_of("effects on photographs")
def effects_on_photographs() -> Iterator[dict[str, Any]]:
    """What one wrong thing does to what is said of photographs, the worst first."""
    effects = result("photographs")["effects"].items()
    return ({"key": key, **effect} for key, effect in sorted(effects, key=lambda e: -e[1]["rms"]))


@rows_of("optimizers")
def optimizers() -> Iterator[dict[str, Any]]:
    """What other optimizers and averages take, over what ours take."""
    words = {"both": "both together", "rmsprop": "RMSProp", "average": "moving average"}
    return (row | {"work": words[row["what"]]} for row in result("optimizer")["rows"])


@rows_of("sources of mistakes")
def sources_of_mistakes() -> Iterator[dict[str, Any]]:
    """For each source of mistakes: how many were played, and of how many the kind was named."""
    for source, part in result("kinds")["sources"].items():
        yield {"key": source, **part, "share": part["right"] / part["played"]}


@rows_of("kinds of mistakes")
def kinds_of_mistakes() -> Iterator[dict[str, Any]]:
    """For each kind, over all sources: how many mistakes are of it, and what was named instead."""
    named: dict[str, Counter[str]] = {}
    for part in result("kinds")["sources"].values():
        for kind, guesses in part["kinds"].items():
            named.setdefault(kind, Counter()).update(guesses)
    for kind, guesses in named.items():
        # A mistake may be of several kinds, of which any is right.
        others = (f"{guess} ({n})" for guess, n in guesses.most_common() if guess != kind)
        yield {
            "kind": kind,
            "played": guesses.total(),
            "right": guesses[kind],
            "others": ", ".join(others) or "none",
        }


@rows_of("cost of the fixture")
def cost_of_the_fixture() -> Iterator[dict[str, Any]]:
    """What the fixture takes over making and running both programs, and the goal."""
    for row in result("guard")["rows"]:
        if row["what"].startswith("the fixture"):
            yield row | {"goal": f"{row['goal']:g}" if row["goal"] else ""}


@rows_of("steps of drift")
def steps_of_drift() -> Iterator[dict[str, Any]]:
    """How far the losses are from those of PyTorch in float64."""
    for name, apart in _apart():
        backend, precision = name.split()
        yield {"framework": backend, "precision": precision, "steps": (None, *apart)}


# ------------------------------------------------------------------ tables


@generated("parity")
def parity() -> str:
    """The largest error of the logits of every preset, in every run."""
    found = result("parity")["presets"]
    rows = []
    for preset in found:
        errors = [f"{run['endpoints'][-1]['largest']:.1e}" for run in preset["runs"]]
        same = min(run["top5_agreement"] for run in preset["runs"])
        size = str(preset["resolution"][0])
        verdict = "agrees" if preset["agrees"] else "**differs**"
        name = resolve(preset["preset"]).title.removeprefix("EfficientNet-")
        rows.append((name, size, *errors, f"{same:.0%}", verdict))
    runners = (RUNNERS[run["runner"]] for run in found[0]["runs"])
    return table(("Network", "Pixels", *runners, "Top-5", "Verdict"), rows, "numbers")


@generated("released")
def released_checkpoints() -> str:
    """What became of every published checkpoint, where a run is recorded."""
    return released.text(result("released") if (RESULTS / "released.json").exists() else None)


@generated("photograph words")
def photograph_words() -> str:
    """What the published networks say of photographs."""
    said = result("photographs")["words"]
    titles = [resolve(preset).title.removeprefix("EfficientNet-") for preset in said]
    rows = [
        (f"`{name}`", *(f"{of[name][0][0]} {of[name][0][1]:.4f}" for of in said.values()))
        for name in next(iter(said.values()))
    ]
    return table(("Photograph", *titles), rows, "numbers")


@generated("situations")
def situations() -> str:
    """Every kind of file that was tried, below the library that it comes from."""
    head = ("What people have", "Layout", "Classes", "Head", "Port to", "Verdict")
    groups = groupby(result("situations")["situations"], key=lambda row: row["group"])
    return "\n\n".join(
        f"### {group}\n\n{table(head, map(_situation, rows), 'situations')}"
        for group, rows in groups
    )


def _situation(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What people have, with the thread in which somebody asks; what is found, how a port ends."""
    have = row["have"]
    if row["thread"]:
        repository, _, number = row["thread"].partition("#")
        address = f"https://github.com/{repository}/issues/{number}"
        have += f" ([{repository.rpartition('/')[2]}#{number}]({address}))"
    if not row["layout"]:
        return (have, "-", "-", "-", "-", f"refused: {plain(row['refusal'])}")
    verdict = f"{row['ending'].partition(':')[0]}, largest error {row['error']:.0e}"
    if row["refusal"]:
        verdict += f"; refused without `{row['options']}`"
    return (
        have,
        f"`{row['layout']}`, {row['preset']}",
        "none" if row["classes"] is None else str(row["classes"]),
        row["head"],
        " ".join(f"`{part}`" for part in (row["to"], row["options"]) if part),
        verdict,
    )


@generated("emoji confusion")
def emoji_confusion() -> str:
    """What the fine-tuned network in PyTorch takes the classes for."""
    found = result("emoji")
    labels = list(found["images"]["val"])
    rows = [
        (label, *(f"**{n}**" if label == other else str(n or "") for other, n in cells))
        for label, counts in zip(labels, found["confusion"]["finetuned-torch"], strict=True)
        for cells in [list(zip(labels, counts, strict=True))]
    ]
    return table(("Drawn", *labels), rows, "confusion")


# ------------------------------------------------------------------ curves


@generated("error by depth")
def error_by_depth() -> str:
    """How the error grows through the largest network of the run."""
    found = max(result("parity")["presets"], key=lambda preset: preset["macs"])
    curves = []
    for run in found["runs"]:
        if run["runner"] in FRAMEWORKS:
            errors = [endpoint["rms"] for endpoint in run["endpoints"]]
            points = [(100 * at / (len(errors) - 1), error) for at, error in enumerate(errors)]
            curves.append(_curve(run["runner"], points))
    limit = found["runs"][0]["tolerance"]["limit"]
    return lines(
        f"{found['preset'].upper()} in float32: root mean square of the error, in standard "
        "deviations, from the stem to the logits",
        curves,
        Axis("way through the network, %", 0, 100, SHARES),
        decades("", -8, -3),
        (limit, "tolerance"),
    )


def _curve(framework: str, points: list[tuple[float, float]], what: str = "") -> Curve:
    """A curve in the colour of its framework, and with its dashes."""
    name = f"{what}{FRAMEWORKS[framework]}"
    return Curve(name, points, framework, DASHES[framework])


def _column(file: str, column: str, factor: float = 1) -> list[tuple[float, float]]:
    """Points of a column of the table that a training has left."""
    return [(row["epoch"], factor * row[column]) for row in read_table(RESULTS / f"{file}.csv")]


def _apart() -> Iterator[tuple[str, list[float]]]:
    """Of every run the differences of its losses from those of PyTorch in float64."""
    losses = dict(result("drift")["losses"])
    reference = losses.pop("torch float64")
    for name, found in losses.items():
        yield name, [abs(loss - right) for loss, right in zip(found, reference, strict=True)]


@generated("drift")
def drift() -> str:
    """How far the losses are from those of PyTorch in float64."""
    axis = decades("", -16, 1, 4)
    curves = []
    for name, apart in _apart():
        backend, precision = name.split()
        points = [(float(step), max(value, axis.low)) for step, value in enumerate(apart, 1)]
        dashes = "2 2" if precision == "float64" else DASHES[backend]
        curves.append(Curve(f"{FRAMEWORKS[backend]} {precision[-2:]}", points, backend, dashes))
    title = "Difference of the loss from PyTorch in float64, step by step, in 32 and 64 bits"
    return lines(title, curves, Axis("step", 0, len(points), range(0, len(points) + 1, 50)), axis)


# ------------------------------------------------------------------ curves over epochs

# The settings that were tried, by the name of their run: how curves call them, and their dashes.
TRIED = {
    "recipe": ("recipe", "paper", ""),
    "epsilon": ("epsilon 1.0", "keras", "2 3"),
    "decay": ("decay=0.9", "torch", ""),
    "gamma": ("gamma=0.03", "torch", "5 3"),
    "excitation": ("late gates", "keras", ""),
}
XCEPTIONS = {
    "xception": ("batch norm", "paper", ""),
    "xception without": ("without", "torch", "5 3"),
}
OF_RATES = {name: TRIED[name] for name in ("recipe", "decay", "gamma")}
PERCENT, RATES = Axis("", 0, 100, SHARES), decades("", -9, -2)


def _digits(column: str, factor: float = 1) -> list[Curve]:
    return [_curve(name, _column(f"digits-{name}", column, factor)) for name in TRAINED_IN]


def _emoji(column: str, factor: float = 1) -> list[Curve]:
    return [
        _curve(name, _column(f"emoji-{run}-{name}", column, factor), f"{what}, ")
        for run, what in (("finetuned", "tuned"), ("scratch", "scratch"))
        for name in TRAINED_IN
    ]


def _tried(
    tried: Mapping[str, tuple[str, str, str]], column: str, factor: float = 1, least: float = 0
) -> list[Curve]:
    runs = result("what_went_wrong")["runs"]
    return [
        Curve(
            text,
            [(r["epoch"], factor * r[column]) for r in runs[name]["epochs"] if r[column] >= least],
            colour,
            dashes,
        )
        for name, (text, colour, dashes) in tried.items()
    ]


def _over_epochs(
    title: str,
    curves: Callable[[], list[Curve]],
    y: Axis,
    level: tuple[float, str] | None = None,
) -> str:
    found = curves()
    last = int(max(curve.points[-1][0] for curve in found))
    return lines(title, found, Axis("epoch", 0, last, range(0, last + 1, EVERY)), y, level)


OVER_EPOCHS: dict[str, tuple[Any, ...]] = {  # title, curves, the axis upwards, a level
    "digits accuracy": (
        "Validation top-1 on the digits, %",
        partial(_digits, "val_top1", 100),
        PERCENT,
        (100 * REACHED, f"{REACHED:.0%}"),
    ),
    "digits loss": (
        "Loss of training on the digits, with label smoothing",
        partial(_digits, "loss"),
        Axis("", 0, 5, range(6)),
    ),
    "emoji accuracy": (
        "Top-1 on the vendor held out, %",
        partial(_emoji, "val_top1", 100),
        PERCENT,
    ),
    "emoji loss": (
        "Training loss, with label smoothing",
        partial(_emoji, "loss"),
        Axis("", 0, 7, range(8)),
    ),
    "wrong accuracy": (
        "EfficientNet: validation top-1, %",
        partial(_tried, TRIED, "val_top1", 100),
        PERCENT,
    ),
    "wrong rates": (
        "Learning rate",
        partial(_tried, OF_RATES, "learning_rate", least=RATES.low),
        RATES,
    ),
    "wrong accuracy of xception": (
        "Xception: validation top-1, %",
        partial(_tried, XCEPTIONS, "val_top1", 100),
        PERCENT,
    ),
}
for _name, _drawn in OVER_EPOCHS.items():
    generated(_name)(partial(_over_epochs, *_drawn))
