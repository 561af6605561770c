"""The digits of scikit-learn, real scans that its wheel contains, as a folder of images.

Usage: python examples/digits.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

LEVELS = 16  # of grey; the scans are 8 x 8 pixels


def write(folder: Path) -> int:
    """Write every scan as FOLDER/class/number.png; returns how many there are."""
    digits = load_digits()
    for number, (scan, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((scan * 255 / LEVELS).round().astype(np.uint8)).save(path)
    return len(digits.target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{write(Path(sys.argv[1]))} images in {sys.argv[1]}")
