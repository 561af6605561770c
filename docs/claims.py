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
import re
from pathlib import Path

from efficientnet_rosetta.common.architectures import ARCHITECTURES

HERE = Path(__file__).parent
HEAD = """# All claims, and the mistakes they catch

Equal outputs in inference are only half of being the same network. A *claim* is a statement that is
checked of both implementations, such as that their gradients are equal. Here is every claim with
the deviation that was measured, and every mistake with the claim that caught it. This page is
written by `python docs/claims.py` from the results in [`results/`](results), whose commands are at
the top of that program.

## Claims

Keras on TensorFlow against PyTorch, in float64, unless another backend is named. Training runs on
batches of 4 structured images of 64 x 64 pixels and the forward pass on 96 x 97, both with
calibrated weights: random ones under which every layer passes on values of order one. The deviation
is in standard deviations of the values (forward), or relative to the largest gradient (gradients)
or to the largest value of each tensor (the rest). For frequencies and initialisation it is in
standard deviations of what chance alone would give.

L2, V2-L and V2-XL are not here: training them in float64 in two frameworks takes more memory than
the 24 GiB of the machine that wrote this. Their forward passes are compared in the slow tests.

"""
MUTANTS = """
## Mistakes

Each is made on purpose in PyTorch only, and then all claims are checked. *Weights* means that the
checkpoint no longer fitted, *shapes* that the program stopped. The size is the deviation that the
claim found, relative to what it compares; the next column is how far a mistake in inference
moves the logits, in standard deviations of the right ones. The last two columns say whether a test
of the shapes of weights and outputs, or `allclose` on outputs at the official initialisation, would
have noticed.

"""


COUNTS = ("cases", "wrong")
VERDICTS = """
## False alarms, and misses

`rosetta port` ends in a verdict ([what it says](../use/verdict.md)). It is wrong if it differs
where nothing is wrong, or if a mistake is made and nothing differs. Programs are compared in
float64 on
{sizes} pixels.

Without a mistake, PyTorch against Keras: {heads} random heads of 1, 2, 3 and 5 classes, and
{networks} with weights of the kinds below (L2 is made narrower). With one: {mistakes} mistakes that
show in inference, each made in PyTorch's program, at the same weights of the preset that it is of,
and mistakes in carrying weights, made while a file is written.

"""


def main() -> None:
    """Write the page."""
    (HERE / "claims.md").write_text(page())


def page() -> str:
    """The page, from the kept results."""
    files = sorted((HERE / "results").glob("claims-*.json"))
    runs = [json.loads(file.read_text()) for file in files]
    mutants = json.loads((HERE / "results" / "mutants.json").read_text())["mistakes"]
    verdicts = json.loads((HERE / "results" / "verdicts.json").read_text())
    return HEAD + _claims(runs) + MUTANTS + _mutants(mutants) + _verdicts(verdicts)


def _claims(runs: list[dict]) -> str:
    found = {preset: claims for run in runs for preset, claims in run["claims"].items()}
    number = sum(len(claims) for claims in found.values())
    broken = sum(not claim["holds"] for claims in found.values() for claim in claims)
    tables = []
    for architecture in ARCHITECTURES.values():
        of = {preset: found[preset] for preset in architecture.presets if preset in found}
        if of:
            tables.append(f"### {architecture.model}\n\n{_table(_columns(of))}")
    versions = ", ".join(
        f"{name} {runs[0]['environment'][name]}"
        for name in ("torch", "keras", "tensorflow", "numpy")
    )
    said = f"{number - broken} of {number} hold, with {versions}."
    return "\n\n".join([said, *(table.rstrip() for table in tables)]) + "\n"


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


def anchor(mistake: str) -> str:
    """By which other pages refer to a mistake's row."""
    return "mistake-" + re.sub(r"[^a-z0-9]+", "-", mistake.lower()).strip("-")


def _mutants(found: list[dict]) -> str:
    rows = [["mistake", "caught by", "size", "logits", "shapes", "default initialisation"]]
    for row in found:
        rows.append(
            [
                f'<a id="{anchor(row["mistake"])}"></a>{row["mistake"]}',
                row["caught_by"] or "**nothing**",
                _number(row["size"]),
                "-" if row["logits"] is None else _number(row["logits"]),
                "notice" if row["seen_by_shapes"] else "miss it",
                "notices" if row["seen_on_default_initialisation"] else "misses it",
            ]
        )
    caught = sum(bool(row["caught_by"]) for row in found)
    shapes = sum(row["seen_by_shapes"] for row in found)
    default = sum(row["seen_on_default_initialisation"] for row in found)
    return (
        f"{caught} of {len(found)} are caught. Shapes would have shown {shapes} of them, default "
        f"initialisation {default}.\n\n{_table(rows)}"
    )


def _verdicts(found: dict) -> str:
    sizes = " and ".join(" x ".join(map(str, size)) for size in found["sizes"])
    sides = found["networks"]["by weights"], found["mistakes in programs"]["by weights"]
    rows = [["weights", "networks", "false alarms", "mistakes", "missed"]]
    for kind in sides[0]:
        cells = [
            str(side[kind][count]) if kind in side else "-" for side in sides for count in COUNTS
        ]
        rows.append([kind, *cells])
    totals = [str(found[p][c]) for p in ("networks", "mistakes in programs") for c in COUNTS]
    rows.append(["all", *totals])
    heads, files = found["heads"], found["mistakes in files"]
    return (
        VERDICTS.format(
            sizes=sizes,
            heads=heads["cases"],
            networks=", ".join(dict.fromkeys(row["network"] for row in found["networks"]["rows"])),
            mistakes=len({row["mistake"] for row in found["mistakes in programs"]["rows"]}),
        )
        + f"Of the heads, {heads['wrong']} were false alarms; of {files['cases']} mistakes in "
        f"files, {files['wrong']} were missed.\n\n{_table(rows)}"
    )


def _table(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"


if __name__ == "__main__":
    main()
