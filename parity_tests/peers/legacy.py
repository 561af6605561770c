"""Libraries on Keras 2, which a process takes or leaves as a whole: this is that process.

`python -m parity_tests.peers.legacy LIBRARY PRESET WEIGHTS FOLDER` loads WEIGHTS with the library's
own loader, runs it on FOLDER/images.npy (N, H, W, C) as the library takes them, writes
FOLDER/logits.npy, and saves the model in every way that its users do.  Without WEIGHTS it saves new
weights, and no more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from efficientnet_rosetta.common.checkpoints import formats

# What is saved, and how: weights, whole model, SavedModel, TensorFlow checkpoint, part of another.
SAVED = {
    "weights": "weights-only.h5",
    "model": "model.h5",
    "folder": "saved",
    "objects": "objects/x",
    "nested": "nested.h5",
}


def run(library: str, preset: str, weights: Path, images: np.ndarray, folder: Path) -> np.ndarray:
    """Run this module in a process of its own; the files of SAVED are in `folder` afterwards."""
    folder.mkdir()
    np.save(folder / "images.npy", images.astype(np.float32))
    start(__name__, library, preset, str(weights), str(folder))
    return np.load(folder / "logits.npy")


def shapes(library: str, preset: str) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the weights that a library saves."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SAVED["weights"]
        start(__name__, library, preset, "", folder)
        return {key: tensor.shape for key, tensor in formats.read(path).tensors.items()}


def start(module: str, *arguments: str) -> None:
    """Run a module in a process whose Keras is Keras 2, and report what it stopped at."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _applications(preset: str):
    import tf_keras

    name = f"EfficientNet{preset.upper().replace('-', '')}"
    return getattr(tf_keras.applications, name)(weights=None)


def _qubvel(preset: str):
    import efficientnet.tfkeras

    return getattr(efficientnet.tfkeras, f"EfficientNet{preset.upper()}")(weights=None)


LIBRARIES: dict[str, Callable] = {"keras-applications": _applications, "qubvel": _qubvel}


def _main(library: str, preset: str, weights: str, folder: str) -> None:
    import tf_keras

    model = LIBRARIES[library](preset)
    if weights:
        model.load_weights(weights)
    model.save_weights(f"{folder}/{SAVED['weights']}")
    if not weights:
        return
    model.save(f"{folder}/{SAVED['model']}")
    if library != "qubvel":  # whose users keep .h5 files
        model.save_weights(f"{folder}/{SAVED['objects']}")
        model.save(f"{folder}/{SAVED['folder']}")
    base = tf_keras.Model(model.inputs, model.layers[-2].output)
    nested = tf_keras.Sequential([base, tf_keras.layers.Dense(5)])
    nested.save_weights(f"{folder}/{SAVED['nested']}")
    model.layers[-1].activation = tf_keras.activations.linear  # logits
    images = np.load(f"{folder}/images.npy")
    np.save(f"{folder}/logits.npy", model.predict(images, verbose=0))


if __name__ == "__main__":
    _main(*sys.argv[1:])
