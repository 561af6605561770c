"""Measures how far the losses of both frameworks drift apart in an epoch of the official recipe.

It has no AutoAugment here.  The runs that curves of digits are drawn of are of the same pictures:

python examples/digits.py digits
python docs/drift.py digits
rosetta train --backend torch --data digits --held-out 0.2 --width 0.5 --depth 0.5 \\
    --image-size 32 --batch 16 --epochs 50 --set augmentation.policy=none --out runs/torch
rosetta train --backend keras (and the same) --out runs/keras
cp runs/torch/epochs.csv docs/results/digits-torch.csv
cp runs/keras/epochs.csv docs/results/digits-keras.csv
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.images.datasets import read_folder
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.training.numbers import with_numbers
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.recipes import get_recipe
from efficientnet_rosetta.common.training.run import STEPS, Run, read_table
from efficientnet_rosetta.common.weights.calibration import calibrated

RESULT = Path(__file__).parent / "results" / "drift.json"
BACKENDS, PRECISIONS = ("torch", "keras"), ("float64", "float32")
BATCH, SIDE = 8, 64


def losses(folder: Path, backend: str, precision: str) -> list[float]:
    """Of every step: the same weights and batches for all, nothing dropped."""
    found = read_folder(folder)
    classes = len(found.classes)
    scaling = {"width": 0.25, "depth": 0.5, "resolution": SIDE}
    network = resolve(**scaling, num_classes=classes, dropout=0.0, drop_path_rate=0.0)
    recipe = with_numbers(get_recipe("official"), {"augmentation.policy": None})
    recipe = replace(recipe, batch=BATCH, epochs=1)
    training = Training(
        network,
        recipe,
        Batches(found.train, network.resolution, BATCH, recipe.augmentation, classes=classes),
        Batches(found.val, network.resolution, BATCH, classes=classes),
        precision=precision,
    )
    with TemporaryDirectory() as out:
        get_backend(backend).fit(training, calibrated(network), Run(out))
        return [row["loss"] for row in read_table(Path(out, STEPS))]


def main() -> None:
    """Measure, and keep the losses."""
    folder = Path(sys.argv[1])
    found = {
        f"{backend} {precision}": losses(folder, backend, precision)
        for backend in BACKENDS
        for precision in PRECISIONS
    }
    versions = {}
    for backend in BACKENDS:
        versions |= get_backend(backend).versions()
    RESULT.write_text(json.dumps({"schema": 1, "versions": versions, "losses": found}) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
