"""What people make of keras.applications and of qubvel's `efficientnet` with Keras 2.

A process takes one generation of Keras, so this is a process of its own:
`python -m parity_tests.situations.keras2 KIND FOLDER` reads FOLDER/images.npy, the images as the
first convolution sees them, and leaves there every file of that kind, and outputs.npy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from parity_tests.situations.making import SIDE, Make, awake_keras, images, pixels

CLASSES = 4
# How a person saves a model, by the file that it leaves.
SAVED = ("model.h5", "model.weights.h5", "weights.h5", "model.keras", "saved", "checkpoint")


@cache
def _made(kind: str) -> tuple[Path, tempfile.TemporaryDirectory]:
    """A folder with every file of a kind; it is gone when this process is."""
    folder = tempfile.TemporaryDirectory(prefix="keras2-")
    np.save(Path(folder.name, "images.npy"), images())
    done = subprocess.run(
        [sys.executable, "-m", __name__, kind, folder.name],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Path(folder.name), folder


def saved(kind: str, name: str) -> Make:
    """A file of a kind that another process of Keras 2 made; `name` is one of SAVED."""

    def make(path: Path, given: np.ndarray) -> np.ndarray:
        folder, _ = _made(kind)
        assert (given == np.load(folder / "images.npy")).all()
        if (folder / name).is_dir():  # of which a file may be asked for
            shutil.copytree(folder / name, path if path.name == name else path.parent)
        else:
            shutil.copy(folder / name, path)
        return np.load(folder / "outputs.npy")

    return make


# ------------------------------------------------------------------ in the other process


def _example(norm: bool):
    import tf_keras
    from tf_keras import layers

    inputs = layers.Input((SIDE, SIDE, 3))
    x = layers.RandomFlip()(layers.RandomRotation(0.15)(inputs))
    base = tf_keras.applications.EfficientNetB0(include_top=False, input_tensor=x, weights=None)
    features = layers.GlobalAveragePooling2D(name="avg_pool")(base.output)
    x = layers.BatchNormalization()(features) if norm else features
    x = layers.Dropout(0.2, name="top_dropout")(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="pred")(x)
    return tf_keras.Model(inputs, outputs), tf_keras.Model(inputs, features)


def _qubvel():
    import efficientnet.tfkeras
    import tf_keras
    from tf_keras import layers

    base = efficientnet.tfkeras.EfficientNetB0(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3)
    )
    pool, dense = layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, activation="softmax")
    model = tf_keras.Sequential([base, pool, dense])
    return model, tf_keras.Model(base.input, pool(base.output))


def _main(kind: str, folder: str) -> None:
    import tf_keras

    model, trunk = _qubvel() if kind == "qubvel" else _example(kind == "example with norm")
    awake_keras(model)
    given = np.load(f"{folder}/images.npy")
    # qubvel's graph does not divide by 255.
    given = given.transpose(0, 2, 3, 1) if kind == "qubvel" else pixels(given)
    if kind == "example with norm":
        outputs = trunk(given, training=False)
    else:
        model.layers[-1].activation = tf_keras.activations.linear
        outputs = model(given, training=False)
        model.layers[-1].activation = tf_keras.activations.softmax
    np.save(f"{folder}/outputs.npy", np.asarray(outputs))
    for name in SAVED:
        if kind == "qubvel" and name not in ("model.h5", "weights.h5"):  # its users keep these
            continue
        path = f"{folder}/{name}"
        if name == "checkpoint":
            Path(path).mkdir()
            model.save_weights(f"{path}/cp.ckpt")
        elif "weights" in name:
            model.save_weights(path)
        else:
            model.save(path)


if __name__ == "__main__":
    _main(*sys.argv[1:])
