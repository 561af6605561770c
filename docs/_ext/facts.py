"""The numbers that pages name, each from the code or from a result that is kept in docs/results.

A page writes {fact}`parameters.b0` and gets 5,288,548.  `python docs/_ext/facts.py` lists them all.
Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import json
import math
import operator
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from efficientnet_rosetta.common import architectures, spec
from efficientnet_rosetta.common.backends.comparison import ROUNDING_SHARE, TOLERANCES
from efficientnet_rosetta.common.catalogue.records import libraries
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS
from efficientnet_rosetta.common.counting import count, count_layer
from efficientnet_rosetta.common.network import DIALECTS, IMAGENET_CLASSES, Size, conv_std
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.parity.diagnosis import JUMP
from efficientnet_rosetta.common.spec import (
    ALPHA,
    BETA,
    DROP_PATH_RATE,
    GAMMA,
    PRESETS,
    SQUEEZE_RATIO,
    EfficientNetSpec,
    compound_scaling,
    resolve,
)
from efficientnet_rosetta.common.training import memory, v2_recipes
from efficientnet_rosetta.common.training.recipes import RECIPES
from efficientnet_rosetta.common.training.run import read_table
from efficientnet_rosetta.common.training.schedules import average_decay
from efficientnet_rosetta.common.xception import XceptionSpec
from excerpts import Library
from facts_of_lineage import misread_lineage, numbers_of_lineage
from generating import on_disk
from minutes import minutes
from scaled import BASE, COST, alone, counted, predicted
from workflows import ACTION

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
LIBRARY = Library(ROOT)
TRAINED_IN = ("torch", "keras")
REACHED = 0.97  # top-1, to say when a run came there
WINDOW = 5  # epochs, as in docs/what_went_wrong.py


def number(value: float, digits: int = 2) -> str:
    """A number as a reader wants it: 5,288,548 or 0.57 or 1.1e-05."""
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if 0.01 <= abs(value) < 1000:
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return f"{value:.1e}"


@cache
def facts() -> dict[str, str]:
    """Every fact by its name."""
    return dict(_all())


def fact(name: str) -> str:
    """One of them.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in facts():
        raise ValueError(f"there is no fact {name!r}; `python docs/_ext/facts.py` lists them")
    return facts()[name]


def _all() -> Iterator[tuple[str, str]]:
    yield "python", project()["requires-python"].removeprefix(">=") + " or newer"
    yield "action", ACTION
    yield from ((f"minutes.{page}", value) for page, value in minutes())
    yield from _networks()
    yield from numbers_of_lineage()
    yield from _conventions()
    yield from _recipes()
    for row in result("mutants")["mistakes"]:
        yield f"made in.{row['mistake']}", made_in(row)
    yield from _measured()


def _measured() -> Iterator[tuple[str, str]]:
    """What follows from the choices above, by a formula or by trying it."""
    yield from _misread()
    yield from misread_lineage()
    yield from _consequences()
    yield from _effects()
    yield from _mistakes()
    yield from _claims()
    yield from _verdicts()
    yield from _parity()
    yield from _situations()
    yield from _trainings()
    for extra, megabytes in result("installed")["megabytes"].items():
        yield f"installed.{extra}", on_disk(megabytes)


@cache
def effects() -> frozenset[str]:
    """The names of those facts that say what a choice costs, and not only what was chosen."""
    return frozenset(name for name, _ in _measured())


# ------------------------------------------------------------------ from the code


def layout_names() -> tuple[str, ...]:
    """Names of layouts, each once, in the order in which a file is tried against them."""
    return tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def _networks() -> Iterator[tuple[str, str]]:
    for name in architectures.PRESETS:
        network = architectures.resolve(name)
        total, last = count(network), network.layers[-1]
        yield f"parameters.{name}", number(total.trainable)
        yield f"all parameters.{name}", number(total.parameters)
        yield f"macs.{name}", number(total.macs)
        yield f"gmacs.{name}", f"{total.macs / 1e9:.3g}"
        yield f"size.{name}", str(network.resolution[0])
        yield f"dropout.{name}", f"{network.dropout:g}"
        yield f"blocks.{name}", str(len(network.blocks))
        share = count_layer(last).trainable / total.trainable
        yield f"share of the classifier.{name}", f"{share:.0%}"
        for scale, value in network.scaling.items():
            yield f"{scale.replace('_', ' ')}.{name}", f"{value:g}"
        if isinstance(network, XceptionSpec):
            yield from _flows(network)
        elif isinstance(network, EfficientNetSpec):
            yield from _scaled(network)
    yield from _stages(BASE)
    yield "layouts", str(len(layout_names()))
    yield "checkpoints", str(sum(len(library.records) for library in libraries().values()))
    yield "publishers", str(len(libraries()))
    yield "classes", number(IMAGENET_CLASSES)
    yield "squeeze ratio", f"{SQUEEZE_RATIO:g}"
    yield "drop path rate", f"{DROP_PATH_RATE:g}"
    yield "survival", f"{1 - DROP_PATH_RATE:g}"
    yield "alpha", f"{ALPHA:g}"
    yield "beta", f"{BETA:g}"
    yield "gamma", f"{GAMMA:g}"
    yield "cost of one phi", f"{COST:.3g}"


def _stages(network: EfficientNetSpec) -> Iterator[tuple[str, str]]:
    """Of the first block of each stage: how it expands, and the maps that it takes and gives."""
    for block in reversed(network.blocks):  # so that the first of a stage is the last to be said
        yield f"expansion.stage {block.stage}", str(block.expand_ratio)
        yield f"taken in.stage {block.stage}", _pixels(block.input_size, "×")
        yield f"handed on.stage {block.stage}", _pixels(block.output_size, "×")


def _misread() -> Iterator[tuple[str, str]]:
    """What each network would be if a rule were read wrongly."""
    for phi, (name, preset) in enumerate(PRESETS.items()):
        network = resolve(name)
        with patch.object(spec, "scale_layers", lambda layers, depth: int(layers * depth)):
            yield f"blocks rounded down.{name}", str(len(resolve(name).blocks))
        with patch.object(spec, "scale_channels", lambda channels, width: int(channels * width)):
            wrong = [layer.out_channels for layer in resolve(name).layers]
        right = [layer.out_channels for layer in network.layers]
        yield f"layers not rounded.{name}", str(sum(map(operator.ne, wrong, right)))
        yield f"layers.{name}", str(len(right))
        gated = (replace(b, squeezed_channels=b.expanded_channels // 4) for b in network.blocks)
        squeezed = count(replace(network, blocks=tuple(gated))).trainable
        yield f"parameters of a quarter of what is gated.{name}", number(squeezed)
        yield from _other_ramps(network)
        computed = resolve(**vars(compound_scaling(phi)))
        yield f"computed parameters.{preset.name}", number(count(computed).trainable)
        yield f"computed blocks.{preset.name}", str(len(computed.blocks))


def _other_ramps(network: EfficientNetSpec) -> Iterator[tuple[str, str]]:
    """Rates of the first and the last block that can be dropped: those with a shortcut."""
    first, *_, last = (block for block in network.blocks if block.has_skip)
    name, blocks = network.name, len(network.blocks)
    yield f"first dropped.{name}", f"{first.drop_path_rate:.3g}"
    yield f"last dropped.{name}", f"{last.drop_path_rate:.3g}"
    yield f"full ramp.{name}", f"{last.drop_path_rate * blocks / (blocks - 1):.3g}"
    yield f"survival taken for the rate.{name}", f"{1 - first.drop_path_rate:.3g}"
    rate = DROP_PATH_RATE * last.index / len(BASE.blocks)
    yield f"drop over the blocks of {BASE.name.upper()}.{name}", f"{rate:.3g}"


def _pixels(size: Size, by: str = " x ") -> str:
    return by.join(map(str, size))


def _scaled(network: EfficientNetSpec) -> Iterator[tuple[str, str]]:
    """How far a network is from B0, and what follows from that."""
    name = network.name
    yield f"last drop.{name}", f"{network.blocks[-1].drop_path_rate:.4g}"
    yield f"stem.{name}", number(network.stem.out_channels)
    yield f"last block.{name}", number(network.head.in_channels)
    yield f"head.{name}", number(network.head.out_channels)
    yield f"largest map.{name}", _pixels(network.stem.output_size)
    yield f"last map.{name}", _pixels(network.head.output_size, "×")
    yield f"predicted.{name}", f"{predicted(network):.2f}"
    yield f"counted.{name}", f"{counted(network):.2f}"
    for way, phi in alone(network).items():
        yield f"phi of {way}.{name}", f"{phi:.2f}"


def _flows(network: XceptionSpec) -> Iterator[tuple[str, str]]:
    """What Xception is made of, and the sides of the maps that it pools.

    The dialects part on even sides only.
    """
    sides = [block.input_size[0] for block in network.blocks if block.has_pool]
    odd, even = ([str(side) for side in sides if side % 2 == rest] for rest in (1, 0))
    yield f"pooled odd.{network.name}", f"{', '.join(odd[:-1])} and {odd[-1]}"
    yield f"pooled even.{network.name}", " and ".join(even)
    yield f"stem.{network.name}", str(network.stem[-1].out_channels)
    exit_flow = network.head[0].in_channels, network.head[-1].out_channels
    yield f"exit flow.{network.name}", " → ".join(map(number, exit_flow))
    yield f"shortcuts.{network.name}", str(sum(b.has_projection for b in network.blocks))
    separable = sum(len(block.separable) for block in network.blocks) + len(network.head)
    yield f"convolutions.{network.name}", str(len(network.stem) + separable)
    yield f"modules.{network.name}", str(len(network.blocks) + 2)


def _conventions() -> Iterator[tuple[str, str]]:
    for name, dialect in DIALECTS.items():
        yield f"epsilon.{name}", f"{dialect.epsilon:g}"
        yield f"kept.{name}", f"{dialect.momentum:g}"
        yield f"taken.{name}", f"{1 - dialect.momentum:.2g}"
    yield "dialects", str(len(DIALECTS))
    yield "rounding.share", f"{ROUNDING_SHARE:g}"
    for dtype, tolerance in TOLERANCES.items():
        yield f"tolerance.{dtype}", f"{tolerance.limit:.0e}"
    yield "jump", str(JUMP)
    yield "claims.steps", str(claims.STEPS)
    yield "forward size", _pixels(claims.FORWARD_SIZE)


def _recipes() -> Iterator[tuple[str, str]]:
    """Whatever of a recipe is one number."""
    for found in RECIPES.values():
        for field in fields(found):
            value = getattr(found, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                written = f"{value:,}" if isinstance(value, int) else f"{value:g}"
                yield f"{found.name}.{field.name}", written


def _consequences() -> Iterator[tuple[str, str]]:
    """What follows from the numbers above by a formula."""
    official = RECIPES["official"]
    yield "average.first", f"{average_decay(0):g}"
    yield "minival.share", f"{100 * v2_recipes.MINIVAL:.0f} %"
    yield "minival.shards", f"{v2_recipes.HELD_OUT} of {v2_recipes.SHARDS:,}"
    yield "memory.share", f"{100 * memory.ROOM:.0f} %"
    periods = math.floor(official.warmup_epochs / official.every)
    yield "share after warm-up", f"{official.factor**periods:.3g}"
    # Of probabilities, softmax makes nearly equal shares: at best e / (e + classes - 1).
    best = math.e / (math.e + IMAGENET_CLASSES - 1)
    yield "softmax twice", f"{best:.4f}"
    yield "loss of softmax twice", f"{-math.log(best):.1f}"
    yield "loss of equal shares", f"{math.log(IMAGENET_CLASSES):.1f}"
    first, *_, last = BASE.blocks
    for name, block in (("first", first), ("last", last)):
        yield f"depthwise std.{name}", f"{conv_std(block.kernel, 1):.3f}"
        channels = block.expanded_channels
        yield f"depthwise std without groups.{name}", f"{conv_std(block.kernel, channels):.3f}"
    small = resolve(BASE.name, resolution=claims.SIDE).blocks[-1].output_size
    values = claims.BATCH * math.prod(small)
    yield "values of the last map", str(values)
    yield "unbiased over biased", f"{values / (values - 1):.3f}"
    yield "normalization variables", "3"


@cache
def project() -> dict[str, Any]:
    """What pyproject.toml says of this project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# ------------------------------------------------------------------ from kept results


@cache
def result(name: str) -> dict[str, Any]:
    """A file of docs/results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def _effects() -> Iterator[tuple[str, str]]:
    """docs/effects.py"""
    found = result("effects")
    for name, value in found["logits"].items():
        yield f"effect.{name}", number(value)
        if name.startswith("padding at "):
            yield "odd", name.rpartition(" ")[2]
    for name, value in found["xception"].items():
        yield f"effect.xception.{name}", number(value)
    for name, value in found["weight"].items():
        yield f"weight.{name}", f"{value:.2f}"
    for name, value in found["mean"].items():
        yield f"mean.{name}", f"{value:.0e}"


def _mistakes() -> Iterator[tuple[str, str]]:
    """`rosetta mutants`: how far each moves the logits, or the claim was off that caught it."""
    rows = result("mutants")["mistakes"]
    for row in rows:
        size = row["size"] if row["logits"] is None else row["logits"]
        yield f"mistake.{row['mistake']}", "no number" if size is None else number(size)
    yield "mistakes", str(len(rows))
    yield "mistakes caught", str(sum(bool(row["caught_by"]) for row in rows))
    yield "mistakes.shapes", str(sum(row["seen_by_shapes"] for row in rows))
    default = sum(row["seen_on_default_initialisation"] for row in rows)
    yield "mistakes.default initialisation", str(default)


def mistake(name: str) -> dict[str, Any]:
    """What became of a mistake.

    Raises:
        ValueError: no mistake of that name was made.
    """
    for row in result("mutants")["mistakes"]:
        if row["mistake"] == name:
            return row
    raise ValueError(f"docs/results/mutants.json has no mistake {name!r}")


def made_in(row: dict[str, Any]) -> str:
    """The network that a mistake was made in, and how it is scaled."""
    title = architectures.resolve(row["preset"]).title
    scaled = [f"{name.replace('_', ' ')} {by:g}" for name, by in row["scaling"].items()]
    return f"{title} of {' and '.join(scaled)}" if scaled else title


@cache
def anchor(name: str) -> str:
    """Where the page of claims has a mistake, as docs/claims.py writes it."""
    return runpy.run_path(str(ROOT / "docs" / "claims.py"))["anchor"](name)


def _claims() -> Iterator[tuple[str, str]]:
    """`rosetta parity --full`"""
    runs = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("claims-*.json"))]
    held = [claim for run in runs for found in run["claims"].values() for claim in found]
    yield "claims", str(len(held))
    yield "claims held", str(sum(claim["holds"] for claim in held))
    for name in dict.fromkeys(claim["name"] for claim in held):
        sizes = [claim["size"] for claim in held if claim["name"] == name]
        worst = max(sizes)
        yield f"claim.{name}", f"{worst:.1f}" if worst >= 0.1 else f"{worst:.0e}"


def _verdicts() -> Iterator[tuple[str, str]]:
    """`parity_tests/mutations/verdicts.py`: right and wrong verdicts, counted."""
    found = result("verdicts")
    right = [found[part] for part in ("heads", "networks")]
    wrong = [found[part] for part in ("mistakes in programs", "mistakes in files")]
    yield "verdict.heads", str(found["heads"]["cases"])
    yield "verdict.networks", str(found["networks"]["cases"])
    yield "verdict.alarms", str(sum(part["wrong"] for part in right))
    yield "verdict.mistakes", str(sum(part["cases"] for part in wrong))
    yield "verdict.missed", str(sum(part["wrong"] for part in wrong))


def _parity() -> Iterator[tuple[str, str]]:
    """`rosetta parity`"""
    found = result("parity")
    runs = [run for preset in found["presets"] for run in preset["runs"]]
    yield "parity.networks", str(len(found["presets"]))
    yield "parity.worst", f"{max(run['endpoints'][-1]['largest'] for run in runs):.1e}"
    stems = [run["endpoints"][0]["largest"] for run in runs]
    yield "rounding.stem", f"{max(stems):.0e}"
    for package in ("torch", "keras", "tensorflow", "onnxruntime", "numpy", "python"):
        yield f"parity.{package}", found["environment"][package]


def _situations() -> Iterator[tuple[str, str]]:
    """`python -m parity_tests.situations`"""
    rows = result("situations")["situations"]
    ported = [row for row in rows if row["layout"]]
    yield "situations", str(len(rows))
    yield "situations.ported", str(len(ported))
    yield "situations.refused", str(len(rows) - len(ported))
    yield (
        "situations.error",
        f"{max(row['error'] for row in ported if '--dtype' not in row['options']):.0e}",
    )


def _trainings() -> Iterator[tuple[str, str]]:
    """The runs of the digits, and of examples/what_went_wrong.py."""
    for name in TRAINED_IN:
        rows = read_table(RESULTS / f"digits-{name}.csv")
        best = max(rows, key=lambda row: row["val_top1"])
        reached = next(row for row in rows if row["val_top1"] >= REACHED)
        yield f"digits.{name}", f"{best['val_top1']:.1%}"
        yield f"digits.{name}.best", f"{best['epoch']:.0f}"
        yield f"digits.{name}.reached", f"{reached['epoch']:.0f}"
    yield "digits.threshold", f"{REACHED:.0%}"
    kept = result("what_went_wrong")
    yield from ((f"digits.{part}", number(images)) for part, images in kept["images"].items())
    for name, run in kept["runs"].items():
        yield f"wrong.{name}.top1", f"{run['epochs'][-1]['val_top1']:.1%}"
        yield f"wrong.{name}.loss", f"{mean_loss(run):.2f}"
        if "rates" in run:
            yield f"wrong.{name}.rates", f"{run['rates']:.2g}"
    yield "wrong.epochs", str(kept["settings"]["epochs"])
    right, late = (kept["runs"][name]["weights"] for name in ("recipe", "excitation"))
    yield "wrong.weights missing", number(right - late)
    yield "wrong.weights", number(right)


def mean_loss(run: dict[str, Any]) -> float:
    """Of the last epochs, as the page of what went wrong has it."""
    rows = run["epochs"][-WINDOW:]
    return sum(row["loss"] for row in rows) / len(rows)


# ------------------------------------------------------------------ tests that pages name


def pinned(name: str) -> tuple[str, int]:
    """The file and the line of a test, given as `parity_tests/test_forward.py::test_any_size`.

    Raises:
        ValueError: there is no such test.
    """
    path, _, test = name.partition("::")
    if not re.fullmatch(r"parity_tests/[\w/]+\.py", path):
        raise ValueError(f"{name!r} is not written as parity_tests/FILE.py::TEST")
    source = LIBRARY[path]
    return path, source.line_of(test) if test else 1


if __name__ == "__main__":
    for known, value in facts().items():
        sys.stdout.write(f"{known:<55} {value}\n")
