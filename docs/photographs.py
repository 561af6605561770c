"""Shows photographs to the published EfficientNet-Lite0, as it is and with one thing changed.

python docs/photographs.py

The weights and the photographs come from packages of the index (parity_tests/real/published.py).
Effects are those on the logits of seven photographs, in standard deviations of all of them, in
PyTorch in float32.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from efficientnet_rosetta.common.architectures import changed  # noqa: E402
from efficientnet_rosetta.common.backends.protocol import loaded  # noqa: E402
from efficientnet_rosetta.common.backends.registry import get_backend  # noqa: E402
from efficientnet_rosetta.common.checkpoints.load import load  # noqa: E402
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH, decode  # noqa: E402
from efficientnet_rosetta.common.images.family import Family  # noqa: E402
from efficientnet_rosetta.common.images.fitting import ResizeFirst  # noqa: E402
from efficientnet_rosetta.common.images.normalization import (  # noqa: E402
    IMAGENET,
    INCEPTION,
    RAW,
    V2_PIXELS,
    Normalization,
)
from efficientnet_rosetta.common.images.sources import Source  # noqa: E402
from efficientnet_rosetta.common.images.transforms import evaluation_image  # noqa: E402
from efficientnet_rosetta.common.network import (  # noqa: E402
    PYTORCH,
    RELU,
    SWISH,
    TENSORFLOW,
    Activation,
    Network,
)
from efficientnet_rosetta.common.training.activation import (  # noqa: E402
    cell_centres,
    overlay,
)
from efficientnet_rosetta.common.training.predict import prepared  # noqa: E402
from parity_tests.peers.operators import declare  # noqa: E402
from parity_tests.real.published import SHA256, photographs, weights, words  # noqa: E402

RESULT = Path(__file__).parent / "results" / "photographs.json"
PICTURE = Path(__file__).parent / "pictures" / "activation.png"
SHOWN = ("espresso", "cup")  # classes whose evidence is painted into the photograph of the package
PRESET = "lite0"
TOP = 5
ONE = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # 0 to 1, and nothing else


def main() -> None:
    """Measure everything, and keep it."""
    declare()
    found = {
        "schema": 1,
        "command": "python docs/photographs.py",
        "versions": get_backend("torch").versions(),
        "weights": SHA256[PRESET],
        "words": said(),
        "effects": dict(effects()),
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    picture()


def picture() -> None:
    """Draw what the network sees of a photograph, and its evidence for some classes, in a row."""
    predictor = prepared(weights(PRESET), top=TOP, backend="torch")
    (seen,) = predictor.predictions([Source(PHOTOGRAPH)])
    centres = cell_centres(predictor.network)
    maps = (seen.maps[seen.labels.index(word)] for word in SHOWN)
    parts = [seen.pixels, *(overlay(found, seen.pixels, centres) for found in maps)]
    Image.fromarray(np.concatenate(parts, axis=1)).save(PICTURE, optimize=True)


def said() -> dict[str, dict[str, list[tuple[str, float]]]]:
    """The most likely words for every photograph, by preset."""
    known = words()
    found = {}
    for preset in SHA256:
        source = load(weights(preset))
        shares = np.exp(logits(source.network, source.weights, source.preprocessing))
        shares /= shares.sum(1, keepdims=True)
        found[preset] = {
            name: [(known[number], round(float(row[number]), 4)) for number in best(row)]
            for name, row in zip(photographs(), shares, strict=True)
        }
    return found


def best(row: np.ndarray) -> list[int]:
    """The numbers of the most likely classes."""
    numbers: list[int] = np.argsort(-row, kind="stable")[:TOP].tolist()
    return numbers


def effects() -> Iterator[tuple[str, dict[str, Any]]]:
    """What one wrong thing does to the logits, and how many first words it leaves."""
    source = load(weights(PRESET))
    network, family = source.network, source.preprocessing
    right = logits(network, source.weights, family)

    def effect(other: np.ndarray) -> dict[str, Any]:
        apart = (other - right) / right.std()
        return {
            "largest": round(float(np.abs(apart).max()), 4),
            "rms": round(float(np.sqrt((apart**2).mean())), 4),
            "kept": int((other.argmax(1) == right.argmax(1)).sum()),
            "of": len(right),
        }

    for name, wrong in (
        ("SiLU for ReLU6", with_activation(network, SWISH)),
        ("ReLU for ReLU6", with_activation(network, RELU)),
        ("timm's efficientnet_lite0 for tf_efficientnet_lite0", dialect(network, vars(PYTORCH))),
        ("padding of PyTorch", dialect(network, {**vars(TENSORFLOW), "padding": PYTORCH.padding})),
        ("epsilon of PyTorch", dialect(network, {**vars(TENSORFLOW), "epsilon": PYTORCH.epsilon})),
    ):
        yield name, effect(logits(wrong, source.weights, family))
    for name, seen in (
        ("pixels from 0 to 255", replace(family, normalization=RAW)),
        ("mean and deviation of ImageNet", replace(family, normalization=IMAGENET)),
        ("pixels from 0 to 1", replace(family, normalization=ONE)),
        ("(x - 128) / 128", replace(family, normalization=V2_PIXELS)),
        ("x / 127.5 - 1", replace(family, normalization=INCEPTION)),
        ("no crop", replace(family, fit=ResizeFirst())),
        (
            "bilinear",
            replace(family, interpolation=replace(family.interpolation, kernel="bilinear")),
        ),
    ):
        yield name, effect(logits(network, source.weights, seen))


def dialect(network: Network, given: dict[str, Any]) -> Network:
    """The network in another dialect."""
    return changed(network, dialect=given)


def with_activation(network: Any, activation: Activation) -> Network:
    """The network with another activation everywhere."""
    parts = {
        name: replace(getattr(network, name), activation=activation) for name in ("stem", "head")
    }
    blocks = tuple(replace(block, activation=activation) for block in network.blocks)
    found: Network = replace(network, blocks=blocks, **parts)
    return found


def logits(network: Network, arrays: Any, family: Family) -> np.ndarray:
    """Of all photographs: (photographs, classes) in float64."""
    backend = get_backend("torch")
    images = [
        evaluation_image(decode(path.read_bytes(), str(path)), network.resolution, family)
        for path in photographs().values()
    ]
    found = backend.run(loaded(backend, network, arrays), np.stack(images))
    return found.astype(np.float64)


if __name__ == "__main__":
    main()
