"""Writes docs/claims.md from the results that are kept beside it.

rosetta parity b0 b1 b2 b3 b4 b5 b6 --full --size 64 --json docs/results/claims-b0-b6.json
rosetta parity b8 b7 --full --size 64 --json docs/results/claims-b7-b8.json
rosetta parity xception --full --size 64 --json docs/results/claims-xception.json
rosetta parity lite0 v2-b0 v2-s edgetpu-s --full --size 64 --json docs/results/claims-lineage.json
rosetta parity lite1 --full --size 64 --json docs/results/claims-lite1.json
and so for the other presets, of which each has a file.
rosetta mutants --json docs/results/mutants.json
python -m efficientnet_rosetta.parity_tests.mutations.verdicts docs/results/verdicts.json
python docs/claims.py
"""

from __future__ import annotations

import json
import math
import re
from itertools import compress
from pathlib import Path

from efficientnet_rosetta.common.architectures import ARCHITECTURES

HERE = Path(__file__).parent
HEAD = """# Claims and mistakes

Two programs can give the same outputs and still train differently, so more than outputs has to be
checked. A *claim* is a statement about both implementations, such as that their gradients are
equal. This page shows how far apart the two were for each claim, which mistakes the claims catch,
and how often the verdict of `rosetta port` is wrong.

`python docs/claims.py` writes all of this from the files in [`results/`](./results); the commands
that made these files are at the top of that program.

## What is claimed

"""
CONDITIONS = """
Unless another backend is named, Keras runs on TensorFlow and values are compared in float64. The
weights are calibrated: they are random, but every layer passes on values of order one. The images
are structured, with 96 x 97 pixels for the forward pass and 64 x 64 in batches of 4 for training.
For claims about chance, the unit is the standard deviation that chance alone would cause.

L2, V2-L and V2-XL are missing: training them in float64 in two frameworks takes more memory than
the 24 GiB of the machine that this ran on. The slow tests compare their forward passes.

## How far apart the two are

"""
FOLDED = """
Open an architecture to see all its networks:
"""
# What a claim compares, and the unit of its deviation.
STANDARD, GRADIENT, TENSOR, CHANCE = (
    "standard deviations of the values",
    "fractions of the largest gradient",
    "fractions of the largest value in each tensor",
    "standard deviations of chance",
)
COMPARED = {
    "forward": ("the values at every endpoint", STANDARD),
    "gradients": ("the loss, and its gradient for every weight and for the image", GRADIENT),
    "batch norm, 1 batch": ("running statistics after one batch", TENSOR),
    "batch norm, 5 batches": ("running statistics after five batches", TENSOR),
    "dropping, given masks": ("gradients when both drop the same blocks and features", GRADIENT),
    "dropping, frequency": ("how often each block and each feature is dropped", CHANCE),
    "10 steps of rmsprop": ("weights, averages and losses after ten steps", TENSOR),
    "10 steps of sgd": ("the same, by gradient descent with momentum", TENSOR),
    "initialisation": ("mean and spread of every new kernel", CHANCE),
    "Keras backend": ("the values at every endpoint, in float32", STANDARD),
}
MUTANTS = """
## Mistakes

Would the claims notice if something were wrong? To find out, mistakes that public implementations
and tutorials make are made here on purpose, one at a time and in PyTorch only, and the claim that
guards against each is checked ({caught} of {number} are caught). Simpler tests miss most of them.
Comparing the shapes of weights and outputs would have shown {shapes}. Comparing the outputs of new,
untrained networks with `allclose` would have shown {default}.

In the tables, the *deviation* is what the claim found, in the unit of that claim. It is *inf* where
nothing can be compared, because a map has another shape, a value is no number, or what is dropped
follows another rule. *Logits* is how far a mistake moves the logits in inference, in standard
deviations of the right ones. The last column says which of the two simpler tests would have
noticed it.
"""
# How mistakes are seen, each a heading, and by which claims.
SEEN = {
    "In the values of a forward pass": ("forward",),
    "When weights are loaded, or a map has the wrong shape": ("weights", "shapes"),
    "In gradients": ("gradients",),
    "In the statistics of batch norms": ("batch norm, 1 batch", "batch norm, 5 batches"),
    "In what is dropped": ("dropping, given masks", "dropping, frequency"),
    "After ten steps of training": ("10 steps of rmsprop", "10 steps of sgd"),
    "In new weights": ("initialisation",),
    "By no claim": ("",),
}
STOPPED = "*Weights* means that the checkpoint no longer fits, *shapes* that the program stops.\n"
SIMPLER = {
    (False, False): "none",
    (True, False): "shapes",
    (False, True): "outputs",
    (True, True): "both",
}
OF_ALL = {
    "none": "None of these would have been noticed by a simpler test.",
    "both": "Both simpler tests would have noticed all of these.",
}

VERDICTS = """
## False alarms and misses

`rosetta port` ends in [a verdict](./use/verdict.md). It is a false alarm if it says that something
differs where nothing is wrong, and a miss if it does not notice a mistake. Both were counted, in
float64 on images of {sizes} pixels.

- **Nothing is wrong:** PyTorch and Keras are compared on {heads} random classifiers of 1, 2, 3
  and 5 classes, of which {alarms} gave a false alarm. They are also compared on
  {networks},
  each with weights of the kinds below. L2 is made narrower, so that it fits into memory.
- **Something is wrong:** {mistakes} mistakes that show in inference are made in PyTorch, each with
  the same kinds of weights. Others are made in a file while it is written. Of {files} mistakes in
  files, {missed} were missed.

"""
# The kinds of weights of parity_tests/mutations/verdicts.py.
WEIGHTS = {
    "calibrated": "every layer passes on values of order one",
    "one channel exploding": "one channel in the middle is a hundred million times as large",
    "tiny variances": "running variances are a millionth of what they should be",
    "no numbers": "running variances are negative, so that outputs are no numbers",
    "woken at one pixel a map": "statistics from images whose last map is one pixel",
    "woken at the wrong size": "statistics from images of another size",
    "biases of ten thousand": "batch norms take small differences of large numbers",
    "half-trained statistics": "statistics half-way from new to those of a batch",
    "no statistics": "random weights, with the statistics of a new network",
    "the official initialisation": "new weights as the released code draws them",
    "PyTorch's initialisation": "new weights as PyTorch draws them, with biases",
}


def main() -> None:
    """Write the page."""
    (HERE / "claims.md").write_text(page())


def page() -> str:
    """The page, from the kept results."""
    files = sorted((HERE / "results").glob("claims-*.json"))
    runs = [json.loads(file.read_text()) for file in files]
    mutants = json.loads((HERE / "results" / "mutants.json").read_text())["mistakes"]
    verdicts = json.loads((HERE / "results" / "verdicts.json").read_text())
    return HEAD + _claims(runs) + _mutants(mutants) + _verdicts(verdicts)


# ------------------------------------------------------------------ claims


def _claims(runs: list[dict]) -> str:
    found = {preset: claims for run in runs for preset, claims in run["claims"].items()}
    number = sum(len(claims) for claims in found.values())
    broken = sum(not claim["holds"] for claims in found.values() for claim in claims)
    versions = ", ".join(
        f"{name} {runs[0]['environment'][name]}"
        for name in ("torch", "keras", "tensorflow", "numpy")
    )
    said = (
        f"{number - broken} of {number} claims about {len(found)} networks hold, with {versions}.\n"
        "The table has the largest deviation of each, and the network that it was found in."
    )
    first = next(iter(found.values()))
    compared = dict.fromkeys((claim["name"], *COMPARED[claim["name"]]) for claim in first)
    meaning = [["claim", "what is compared", "unit of the deviation"], *map(list, compared)]
    folded = []
    for architecture in ARCHITECTURES.values():
        of = {preset: found[preset] for preset in architecture.presets if preset in found}
        if of:
            summary = f"<summary>{architecture.model}: {', '.join(of)}</summary>"
            table = _table(_columns(of))
            folded.append(f'<details class="numbers">\n{summary}\n\n{table}\n</details>\n')
    largest = f'<div class="numbers">\n\n{_table(_largest(found))}\n</div>\n'
    parts = (_table(meaning) + CONDITIONS + said, largest.rstrip(), FOLDED.strip(), *folded)
    return "\n\n".join(parts)


def _largest(presets: dict[str, list[dict]]) -> list[list[str]]:
    """Each claim, and where it was off by most."""
    rows = [["claim", "limit", "largest deviation", "found in"]]
    for number, first in enumerate(next(iter(presets.values()))):
        each = {preset: claims[number] for preset, claims in presets.items()}
        worst = max(each, key=lambda preset: _size(each[preset]))
        limit = _number(max(claim["limit"] for claim in each.values()))
        cells = [limit, _number(each[worst]["size"]), worst]
        rows.append([_name(first), *cells])
    return rows


def _size(claim: dict) -> float:
    return math.inf if claim["size"] is None else claim["size"]


def _columns(presets: dict[str, list[dict]]) -> list[list[str]]:
    """Claims as rows, and the presets of one architecture as columns."""
    first = next(iter(presets.values()))
    rows = [["claim", *map(_name, first)], ["limit", *(_number(one["limit"]) for one in first)]]
    for preset, claims in presets.items():
        held = [_number(c["size"]) + ("" if c["holds"] else " **broken**") for c in claims]
        rows.append([preset, *held])
    return [list(column) for column in zip(*rows, strict=True)]


def _name(claim: dict) -> str:
    dialect = claim["what"].rpartition(", ")[2] if claim["name"] == "forward" else ""
    backend = "" if claim["backend"] == "keras" and claim["limit"] < 1 else claim["backend"]
    return ", ".join(part for part in (claim["name"], dialect, backend) if part)


def _number(value: float | None) -> str:
    if value is None:
        return "inf"
    return f"{value:.1f}" if 0.1 <= value < 100 else f"{value:.0e}"


# ------------------------------------------------------------------ mistakes


def anchor(mistake: str) -> str:
    """By which other pages refer to a mistake's row."""
    return "mistake-" + re.sub(r"[^a-z0-9]+", "-", mistake.lower()).strip("-")


def _mutants(found: list[dict]) -> str:
    parts = [
        MUTANTS.format(
            caught=sum(bool(row["caught_by"]) for row in found),
            number=len(found),
            shapes=sum(row["seen_by_shapes"] for row in found),
            default=sum(row["seen_on_default_initialisation"] for row in found),
        )
    ]
    for heading, claims in SEEN.items():
        rows = [row for row in found if row["caught_by"] in claims]
        if rows:
            simpler = {_simpler(row) for row in rows}
            said = OF_ALL.get(simpler.pop()) if len(simpler) == 1 else None
            notes = [STOPPED] if "shapes" in claims else []
            notes += [f"{said}\n"] if said else []
            table = _table(_mistakes(rows, said is None))
            parts += ["", f"### {heading}\n", *notes, table.rstrip()]
    return "\n".join(parts) + "\n"


def _simpler(row: dict) -> str:
    return SIMPLER[row["seen_by_shapes"], row["seen_on_default_initialisation"]]


def _mistakes(found: list[dict], simpler: bool) -> list[list[str]]:
    """The mistakes that claims of one kind catch; columns that say nothing are left out."""
    by = len({row["caught_by"] for row in found}) > 1
    sizes = any(row["size"] is not None for row in found)
    logits = any(row["logits"] is not None for row in found)
    shown = (True, by, sizes, logits, simpler)
    rows = [["mistake", "caught by", "deviation", "logits", "simpler tests"]]
    for row in found:
        rows.append(
            [
                f'<a id="{anchor(row["mistake"])}"></a>{row["mistake"]}',
                row["caught_by"],
                _number(row["size"]),
                "-" if row["logits"] is None else _number(row["logits"]),
                _simpler(row),
            ]
        )
    return [list(compress(row, shown)) for row in rows]


# ------------------------------------------------------------------ verdicts


def _verdicts(found: dict) -> str:
    sizes = " and ".join(" x ".join(map(str, size)) for size in found["sizes"])
    sides = found["networks"]["by weights"], found["mistakes in programs"]["by weights"]
    rows = [["weights", "false alarms", "missed"]]
    for kind in sides[0]:
        cells = [_share(side[kind]) if kind in side else "-" for side in sides]
        rows.append([f"**{kind}**: {WEIGHTS[kind]}", *cells])
    rows.append(["all", _share(found["networks"]), _share(found["mistakes in programs"])])
    *others, last = dict.fromkeys(row["network"] for row in found["networks"]["rows"])
    text = VERDICTS.format(
        sizes=sizes,
        heads=found["heads"]["cases"],
        alarms=found["heads"]["wrong"],
        networks=f"{', '.join(others)} and {last}".replace(", pytorch", " in the pytorch"),
        mistakes=len({row["mistake"] for row in found["mistakes in programs"]["rows"]}),
        files=found["mistakes in files"]["cases"],
        missed=found["mistakes in files"]["wrong"],
    )
    return text + _table(rows)


def _share(counts: dict) -> str:
    return f"{counts['wrong']} of {counts['cases']}"


def _table(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"


if __name__ == "__main__":
    main()
