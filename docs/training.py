"""Draws the pictures of docs/training.md and fills in its numbers, from the results beside it.

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
PICTURES = HERE / "pictures"
BACKENDS = {"torch": "PyTorch", "keras": "Keras"}
# Told apart without colour as well, and readable on white for those who see red and green alike.
COLOURS = {"torch": "#c2410c", "keras": "#1d4ed8"}
SHOWN = (1, 10, 50, 100, 200)  # steps of the table of drift


def main() -> None:
    """Draw the pictures, and fill in the page."""
    draw_digits()
    draw_drift()
    path = HERE / "training.md"
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
        f"{images['train']:,} scans of 8 x 8 pixels to train on, {images['val']} held out, "
        "a network of half the width and half the depth of B0, on a CPU in some minutes.\n\n"
        + "\n".join(rows)
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


def draw_digits() -> None:
    """Validation top-1 and training loss over the epochs, a curve for each framework."""
    figure, (accuracy, loss) = _figure(2)
    for name, run in _runs().items():
        epochs = [row["epoch"] for row in run]
        style = {"color": COLOURS[name], "linestyle": "-" if name == "torch" else "--"}
        accuracy.plot(epochs, [100 * row["val_top1"] for row in run], **style, label=BACKENDS[name])
        loss.plot(epochs, [row["loss"] for row in run], **style, label=BACKENDS[name])
    accuracy.axhline(97, color="grey", linewidth=0.8)
    accuracy.text(1, 97.5, "97 %", color="grey", fontsize=9)
    accuracy.set(title="Validation top-1, %", xlabel="epoch", ylim=(0, 102))
    loss.set(title="Training loss, with label smoothing", xlabel="epoch")
    accuracy.legend(frameon=False, loc="lower right")
    _save(figure, "digits.png")


def draw_drift() -> None:
    """How far each run's loss is from PyTorch's in float64, step by step."""
    figure, (axes,) = _figure(1)
    for name, apart in _differences().items():
        backend, precision = name.split()
        style = "-" if precision == "float32" else ":"
        floor = [max(value, 1e-16) for value in apart]
        axes.semilogy(range(1, len(floor) + 1), floor, style, color=COLOURS[backend])
        label = f"{BACKENDS[backend]}, {precision}"
        # The two in float32 end in the same place: one name above, one below the curves.
        place = {"torch float32": (140, 4.0), "keras float32": (165, 1e-5)}.get(name, (150, 1e-12))
        axes.text(*place, label, color=COLOURS[backend], fontsize=10)
    axes.set(
        title="Difference of the loss from PyTorch in float64", xlabel="step", ylim=(1e-16, 50)
    )
    _save(figure, "drift.png")


def _figure(columns: int) -> tuple:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(9, 3.6), squeeze=False)
    for one in axes[0]:
        one.spines[["top", "right"]].set_visible(False)
        one.title.set_fontsize(11)
    return figure, axes[0]


def _save(figure: object, name: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(PICTURES / name, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
