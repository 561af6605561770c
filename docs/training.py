"""Fills in the numbers of docs/explore/training.md, from the results beside this program.

python examples/digits.py digits
rosetta train --backend torch --data digits --held-out 0.2 --width 0.5 --depth 0.5 \\
    --image-size 32 --batch 16 --epochs 50 --set augmentation.policy=none --out runs/torch
rosetta train --backend keras (and the same) --out runs/keras
cp runs/torch/epochs.csv docs/results/digits-torch.csv
cp runs/keras/epochs.csv docs/results/digits-keras.csv
python docs/drift.py digits
python docs/training.py
"""

from __future__ import annotations

import json
from pathlib import Path

from efficientnet_rosetta.common.training.run import read_table

HERE = Path(__file__).parent
BACKENDS = {"torch": "PyTorch", "keras": "Keras"}
SHOWN = (1, 10, 50, 100, 200)  # steps of the table of drift


def main() -> None:
    """Fill in the page."""
    path = HERE / "explore" / "training.md"
    path.write_text(filled(path.read_text()))


def filled(page: str) -> str:
    """The page with the numbers of the kept results between its marks."""
    for name, table in (("digits", _digits()), ("drift", _drift())):
        before, found, after = page.partition(f"<!-- {name} -->\n")
        _, end, rest = after.partition("<!-- end -->")
        page = f"{before}{found}\n{table}\n\n{end}{rest}"
    return page


def _runs() -> dict[str, list[dict[str, float]]]:
    return {name: read_table(HERE / "results" / f"digits-{name}.csv") for name in BACKENDS}


def _digits() -> str:
    rows = ["| framework | best top-1 | at epoch | first epoch of 97 % |", "|---|---|---|---|"]
    for name, run in _runs().items():
        best = max(run, key=lambda row: row["val_top1"])
        reached = next((row["epoch"] for row in run if row["val_top1"] >= 0.97), None)
        first = "-" if reached is None else f"{reached:.0f}"
        rows.append(
            f"| {BACKENDS[name]} | {best['val_top1']:.2%} | {best['epoch']:.0f} | {first} |"
        )
    # The same scans, held out the same way, as those of the other page.
    images = json.loads((HERE / "results" / "what_went_wrong.json").read_text())["images"]
    return (
        "The network has half the width and half the depth of B0. "
        f"It was trained on {images['train']:,} scans of 8 x 8 pixels, and {images['val']} were "
        "held out. A run takes some minutes on a CPU.\n\n" + "\n".join(rows)
    )


def _differences() -> dict[str, list[float]]:
    losses = json.loads((HERE / "results" / "drift.json").read_text())["losses"]
    reference = losses.pop("torch float64")
    return {
        name: [abs(loss - right) for loss, right in zip(found, reference, strict=True)]
        for name, found in losses.items()
    }


def _drift() -> str:
    head = " | ".join(f"step {step}" for step in SHOWN)
    rows = [f"| run | {head} |", "|---|" + "---|" * len(SHOWN)]
    for name, apart in _differences().items():
        backend, precision = name.split()
        cells = " | ".join(f"{apart[step - 1]:.0e}" for step in SHOWN)
        rows.append(f"| {BACKENDS[backend]}, {precision} | {cells} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
