"""Keeps the results of docs/explore/emoji.md, and fills in the numbers that it has of them.

python examples/emoji.py emoji
rosetta train --backend torch --data emoji --preset lite0 --image-size 64 --batch 32 --epochs 15 \\
    --set augmentation.policy=none --set minival=none --family smp-lite --out runs/scratch-torch
rosetta train (and the same) --weights efficientnet-lite0-57934424.pth --out runs/finetuned-torch
(both again with --backend keras, to runs/scratch-keras and runs/finetuned-keras)
cp -r runs/scratch-torch runs/longer-torch
rosetta train --resume runs/longer-torch --epochs 45
python docs/emoji.py emoji runs ARCHIVES    # keeps the results; ARCHIVES has the packages
python docs/emoji.py                        # the page, from what is kept

What is kept is emoji.json, and the epochs of the runs: emoji-finetuned-torch.csv,
emoji-finetuned-keras.csv, emoji-scratch-torch.csv, emoji-scratch-keras.csv, emoji-longer-torch.csv.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficientnet_rosetta.common.training.run import read_table

if TYPE_CHECKING:
    import PIL.Image

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
PICTURES = HERE / "pictures"
KINDS = {"finetuned": "fine-tuned", "scratch": "from scratch"}
BACKENDS = {"torch": "PyTorch", "keras": "Keras"}
RUNS = [f"{kind}-{backend}" for kind in KINDS for backend in BACKENDS]
LONGER = "longer-torch"  # the run from scratch, resumed for more epochs
# What the README of the packages says of the drawings.
LICENCES = {
    "apple": ("macOS 15.5", "© Apple; not for commercial use"),
    "google": ("Noto Emoji 2.048", "Apache 2.0"),
    "facebook": ("version 9, of February 2024", "© Facebook; no clear licence"),
    "twitter": ("Twemoji 16.0.1, the fork by jdecked", "CC BY 4.0"),
}
# Of the drawings, only what these two licence may be shown: Apache 2.0 and CC BY 4.0.
SHOWN_VENDORS = ("google", "twitter")
SHOWN_CLASS, SHOWN_EMOJI = "animal-bug", 8
PIXELS = 64  # the side of a drawing


def main() -> None:
    """Keep what the three folders have, if they are given; then fill in the page."""
    if len(sys.argv) not in (1, 4):
        sys.exit(__doc__)
    if len(sys.argv) == 4:
        keep(*map(Path, sys.argv[1:]))
    path = HERE / "explore" / "emoji.md"
    path.write_text(filled(path.read_text()))


# ------------------------------------------------------------------ what is kept


def keep(data: Path, runs: Path, archives: Path) -> None:
    """Copy the tables of the runs, and ask each run's best weights about the vendor held out."""
    sys.path.insert(0, str(ROOT))  # for parity_tests, which is not installed
    for name in (*RUNS, LONGER):
        shutil.copyfile(runs / name / "epochs.csv", RESULTS / f"emoji-{name}.csv")
    found = {
        "schema": 1,
        "packages": {name: drawn(archives, name) for name in LICENCES},
        "images": {part: counted(data / part) for part in ("train", "val")},
        "confusion": {
            name: confusion(runs / name / "best.safetensors", data / "val") for name in RUNS
        },
    }
    (RESULTS / "emoji.json").write_text(json.dumps(found) + "\n")
    draw_vendors(data)


def drawn(archives: Path, name: str) -> dict[str, int]:
    """How many drawings a vendor's package has, of how many emoji of its list, and all of those."""
    (path,) = archives.glob(f"emoji-datasource-{name}-*.tgz")
    with tarfile.open(path) as archive:
        drawings = [file for file in archive.getnames() if f"/img/{name}/{PIXELS}/" in file]
        listing = archive.extractfile("package/emoji.json")
        assert listing is not None
        emoji = json.load(listing)
    has = sum(one[f"has_img_{name}"] for one in emoji)
    return {"drawings": len(drawings), "emoji": has, "listed": len(emoji)}


def counted(folder: Path) -> dict[str, dict[str, int]]:
    """How many images each class has of each vendor."""
    return {
        label.name: dict(sorted(Counter(vendor(path) for path in label.iterdir()).items()))
        for label in sorted(folder.iterdir())
    }


def vendor(path: Path) -> str:
    """Who drew an image."""
    return path.name.partition("-")[0]


def confusion(weights: Path, folder: Path) -> list[list[int]]:
    """How many images of each class (a row) were said to be of each class (a column)."""
    import efficientnet_rosetta as rosetta
    from parity_tests.peers.operators import declare

    declare()
    labels = sorted(label.name for label in folder.iterdir())
    found = [[0] * len(labels) for _ in labels]
    for prediction in rosetta.predict(weights, folder, top=1, backend="torch"):
        truth = Path(prediction.path).parent.name
        found[labels.index(truth)][labels.index(prediction.labels[0])] += 1
    return found


def draw_vendors(data: Path) -> None:
    """The same emoji of one class, a row for each vendor."""
    from PIL import Image

    (held_out,) = {vendor(path) for path in (data / "val" / SHOWN_CLASS).iterdir()}
    chosen = sorted((data / "val" / SHOWN_CLASS).iterdir())[:SHOWN_EMOJI]
    sheet = Image.new("RGBA", (PIXELS * len(chosen), PIXELS * len(SHOWN_VENDORS)))
    for row, name in enumerate(SHOWN_VENDORS):
        part = data / ("val" if name == held_out else "train") / SHOWN_CLASS
        for column, path in enumerate(chosen):
            drawing = part / path.name.replace(held_out, name, 1)
            with Image.open(drawing) as image:
                sheet.paste(without_ground(image), (column * PIXELS, row * PIXELS))
    sheet.save(PICTURES / "emoji.png", optimize=True)


def without_ground(image: PIL.Image.Image) -> PIL.Image.Image:
    """A drawing whose white ground is clear, so that it is not a white picture in the dark."""
    from PIL import ImageDraw

    found = image.convert("RGBA")
    last = found.width - 1
    for corner in ((0, 0), (last, 0), (0, last), (last, last)):
        ImageDraw.floodfill(found, corner, (0, 0, 0, 0), thresh=24)
    return found


# ------------------------------------------------------------------ the page


def filled(page: str) -> str:
    """The page with the numbers of the kept results between its marks."""
    parts = {"packages": _packages, "data": _data, "best": _best, "classes": _classes}
    for name, part in parts.items():
        before, found, after = page.partition(f"<!-- {name} -->\n")
        _, end, rest = after.partition("<!-- end -->")
        page = f"{before}{found}\n{part()}\n\n{end}{rest}"
    return page


def kept() -> dict[str, Any]:
    """What `keep` wrote beside the tables."""
    found: dict[str, Any] = json.loads((RESULTS / "emoji.json").read_text())
    return found


def best(name: str) -> dict[str, float]:
    """The epoch of a run with the best top-1."""
    return max(read_table(RESULTS / f"emoji-{name}.csv"), key=lambda row: row["val_top1"])


def points(share: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{100 * share:.1f}"


def _sum(part: dict[str, dict[str, int]]) -> int:
    return sum(sum(row.values()) for row in part.values())


def _packages() -> str:
    rows = [
        "| package | what it has | licence of the drawings | drawings | emoji of the list |",
        "|---|---|---|---|---|",
    ]
    for name, found in kept()["packages"].items():
        source, licence = LICENCES[name]
        rows.append(
            f"| `emoji-datasource-{name}` | {source} | {licence} | {found['drawings']:,} "
            f"| {found['emoji']:,} of {found['listed']:,} |"
        )
    return "\n".join(rows)


def _data() -> str:
    images = kept()["images"]
    totals = {
        part: sum((Counter(row) for row in rows.values()), Counter())
        for part, rows in images.items()
    }
    rows = ["| part | vendor | images |", "|---|---|---|"]
    for part, by_vendor in totals.items():
        rows += [f"| {part} | {name} | {count} |" for name, count in by_vendor.items()]
    sizes = [sum(row.values()) for row in images["val"].values()]
    return (
        f"{len(sizes)} classes of {min(sizes)} to {max(sizes)} emoji: {_sum(images['train']):,} "
        f"images to train on and {_sum(images['val'])} to validate on. The largest class has "
        f"{max(sizes) / sum(sizes):.1%} of these, which is what one would get right by always "
        "naming it.\n\n" + "\n".join(rows)
    )


def _best() -> str:
    images = _sum(kept()["images"]["val"])
    rows = [
        "| run | best top-1 | at epoch | top-5 then | top-1 of the last epoch |",
        "|---|---|---|---|---|",
    ]
    for kind, words in KINDS.items():
        for backend, framework in BACKENDS.items():
            name = f"{kind}-{backend}"
            row, last = best(name), read_table(RESULTS / f"emoji-{name}.csv")[-1]
            rows.append(
                f"| {words}, {framework} | {row['val_top1']:.1%} | {row['epoch']:.0f} "
                f"| {row['val_top5']:.1%} | {last['val_top1']:.1%} |"
            )
    margins = {
        framework: best(f"finetuned-{backend}")["val_top1"] - best(f"scratch-{backend}")["val_top1"]
        for backend, framework in BACKENDS.items()
    }
    # Of a share of so many images drawn at random, at its widest.
    deviation = math.sqrt(0.25 / images)
    said = " and ".join(
        f"{points(margin)} points in {framework}" for framework, margin in margins.items()
    )
    return (
        "\n".join(rows) + f"\n\nFine-tuned is better by {said}. With {images} images, the standard "
        f"deviation of a top-1 is up to {points(deviation)} points." + _longer()
    )


def _longer() -> str:
    """What became of the run from scratch that went on."""
    ran, row = read_table(RESULTS / f"emoji-{LONGER}.csv"), best(LONGER)
    short = read_table(RESULTS / "emoji-scratch-torch.csv")[-1]
    return (
        f"\n\n{short['epoch']:.0f} epochs are {short['step']:.0f} steps, in which a network from "
        f"scratch has hardly begun. The run in PyTorch went on, to {ran[-1]['epoch']:.0f} epochs: "
        f"its best top-1 is then {row['val_top1']:.1%}, at epoch {row['epoch']:.0f}."
    )


def _classes() -> str:
    """Of the fine-tuned runs: the others name little but the classes that they name always."""
    found = kept()
    labels = list(found["images"]["val"])
    names = [f"finetuned-{backend}" for backend in BACKENDS]
    rows = [
        f"| class | emoji | {' | '.join(BACKENDS.values())} | most often taken for |",
        "|---|---|---|---|---|",
    ]
    for number, label in enumerate(labels):
        counts = [found["confusion"][name][number] for name in names]
        shares = " | ".join(f"{row[number] / sum(row):.0%}" for row in counts)
        others = [0 if other == number else count for other, count in enumerate(counts[0])]
        most = max(others)
        taken = f"{labels[others.index(most)]} ({most})" if most else "-"
        rows.append(f"| {label} | {sum(counts[0])} | {shares} | {taken} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
