"""Measures what networks see in photographs, for the figures that readers can change.

python docs/seen.py

The photographs come with scikit-image.  Evidence for classes is that of the published
EfficientNet-Lite0 (parity_tests/real/published.py).  It has no gates, and no published network that
has them comes as a package: gates are those of B0 with calibrated weights, which are random.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

from drawings.blocks import example  # noqa: E402
from efficientnet_rosetta.common.backends.registry import get_backend  # noqa: E402
from efficientnet_rosetta.common.images.decode import photograph  # noqa: E402
from efficientnet_rosetta.common.images.sources import Source  # noqa: E402
from efficientnet_rosetta.common.spec import resolve  # noqa: E402
from efficientnet_rosetta.common.training.activation import cell_centres  # noqa: E402
from efficientnet_rosetta.common.training.predict import prepared  # noqa: E402
from efficientnet_rosetta.common.weights.calibration import calibrated  # noqa: E402
from parity_tests.peers.operators import declare  # noqa: E402
from parity_tests.real.published import SHA256, photographs, weights  # noqa: E402

RESULT = Path(__file__).parent / "results" / "seen.json"
PICTURES = Path(__file__).parent / "_static" / "seen"
SHOWN = ("coffee.png", "chelsea.png", "rocket.jpg")
PRESET = "lite0"
TOP = 3  # classes of a photograph
ACROSS = 12  # maps side by side in a picture of all of them
LOWEST = -0.2785  # the minimum of swish
MOST = 0.97  # the share of values that is not cut off at white


def main() -> None:
    """Measure everything, and keep it."""
    declare()
    PICTURES.mkdir(exist_ok=True)
    found = {
        "schema": 1,
        "command": "python docs/seen.py",
        "versions": get_backend("torch").versions(),
        "weights": SHA256[PRESET],
        **evidence(),
        **gates(),
    }
    RESULT.write_text(json.dumps(found, separators=(",", ":")) + "\n")


def evidence() -> dict[str, Any]:
    """The most likely classes of each photograph, and how much each cell of the map adds to them.

    The mean of the cells of a class is its logit.  Keeps what the network saw as pictures.
    """
    predictor = prepared(weights(PRESET), top=TOP, backend="torch")
    paths = [photographs()[name] for name in SHOWN]
    said = {}
    for path, seen in zip(paths, predictor.predictions([Source(p) for p in paths]), strict=True):
        keep(seen.pixels, path.stem, quality=72)
        said[path.stem] = [
            {"word": word, "probability": round(share, 4), "cells": np.round(cells, 2).tolist()}
            for word, share, cells in zip(seen.labels, seen.probabilities, seen.maps, strict=True)
        ]
    rows, columns = cell_centres(predictor.network)
    return {"evidence": said, "rows": rows.tolist(), "columns": columns.tolist()}


def gates() -> dict[str, Any]:
    """The gates of a block for each photograph; its maps before the gates as pictures, in a grid.

    All maps have one scale, from the least that swish gives to what a few values are above.
    """
    network, block = resolve("b0"), example()
    backend = get_backend("torch")
    model = backend.build(network, "float64")
    backend.load_weights(model, calibrated(network))
    of_block = model.stages[str(block.stage)].blocks[block.repeat]
    kept: dict[str, torch.Tensor] = {}
    of_block.depthwise_bn.register_forward_hook(
        lambda _, __, out: kept.update(maps=torch.nn.functional.silu(out))
    )
    of_block.se_expand.register_forward_hook(
        lambda _, __, out: kept.update(gates=torch.sigmoid(out))
    )
    maps, strengths = {}, {}
    for name in SHOWN:
        path = photographs()[name]
        image = photograph(path, network.in_channels, network.resolution)
        backend.run(model, image[None])
        maps[path.stem] = kept["maps"][0].numpy()
        strengths[path.stem] = kept["gates"].flatten().numpy().round(3).tolist()
    highest = float(np.quantile(np.stack(list(maps.values())), MOST))
    for stem, values in maps.items():
        grey = np.clip((values - LOWEST) / (highest - LOWEST), 0, 1) * 255
        keep(_grid(grey.round().astype(np.uint8)), f"{stem}-maps", quality=60)
    return {
        "role": block.role,
        "strongest": int(maps[Path(SHOWN[0]).stem].std((1, 2)).argmax()),  # a channel to begin with
        "gates": strengths,
        "zero": round(-LOWEST / (highest - LOWEST), 3),  # how bright nothing is
    }


def _grid(maps: np.ndarray) -> np.ndarray:
    """Maps (C, h, w) beside and below one another."""
    count, height, width = maps.shape
    rows = maps.reshape(count // ACROSS, ACROSS, height, width)
    return rows.transpose(0, 2, 1, 3).reshape(-1, ACROSS * width)


def keep(pixels: np.ndarray, name: str, quality: int) -> None:
    """A small picture for the pages."""
    Image.fromarray(pixels).save(PICTURES / f"{name}.webp", quality=quality, method=6)


if __name__ == "__main__":
    main()
