"""keras_cv_attention_models and keras-efficientnet-v2 on Keras 2, and the first on PyTorch.

Keras 2 needs a process of its own: `python -m parity_tests.peers.kecam LIBRARY PRESET FOLDER` gives
`FOLDER/weights.h5` to a model of the library, by name, as the libraries load their own; computes
`FOLDER/images-*.npy` (N, H, W, 3) in float64, with the logits beside them; and saves the model in
the ways of `SAVED`.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import torch

from efficientnet_rosetta.common.architectures import PRESETS
from parity_tests.peers import legacy

LIBRARIES = {
    "keras_cv_attention_models": "keras_cv_attention_models.efficientnet",
    "keras_efficientnet_v2": "keras_efficientnet_v2",
}
# Weights, a whole model, and a model that is part of another.
SAVED = ("weights-only.h5", "model.h5", "nested.h5")
EDGETPU = {"s": "Small", "m": "Medium", "l": "Large"}


def run(library: str, preset: str, folder: Path) -> None:
    """Do so in a process of its own."""
    legacy.start(__name__, library, preset, str(folder))


def run_on_pytorch(preset: str, path: Path, images: np.ndarray, saved: Path) -> np.ndarray:
    """The logits of images (N, 3, H, W) of a model that was given a file, and saves it again."""
    model = on_pytorch(preset, images.shape[1:])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    model.load_weights(str(path))
    model.save_weights(str(saved))
    with torch.inference_mode():
        return model.double().eval()(torch.tensor(images)).numpy()


def on_pytorch(preset: str, shape: tuple[int, ...]):
    """The first library's model of a preset for images of a shape (3, H, W), as a module."""
    os.environ["KECAM_BACKEND"] = "torch"
    return build("keras_cv_attention_models", preset, shape)


def build(library: str, preset: str, shape: tuple[int | None, ...]):
    """A library's model of a preset for images of a shape."""
    size = preset.rpartition("-")[2]
    name = {
        "efficientnet": f"V1{size.upper()}",
        "lite": f"V1{size.capitalize()}",
        "v2": f"V2{size.upper()}",
        "edgetpu": f"EdgeTPU{EDGETPU.get(size)}",
    }[PRESETS[preset].name]
    model = getattr(importlib.import_module(LIBRARIES[library]), f"EfficientNet{name}")
    # Left to itself, Lite has swish.
    options = {"activation": "relu6"} if PRESETS[preset].name == "lite" else {}
    return model(input_shape=shape, pretrained=None, classifier_activation=None, **options)


def _load(model, path: Path) -> None:
    """By name, which passes over what it does not find: nothing may be left as it was."""
    model.set_weights([np.full(weight.shape, np.nan) for weight in model.weights])
    model.load_weights(path, by_name=True)
    left = [weight.name for weight in model.weights if np.isnan(weight.numpy()).any()]
    assert not left, left


def _logits(model, images: np.ndarray) -> np.ndarray:
    """The libraries keep their classifier in float32: it is computed here, with its weights."""
    import tf_keras

    *_, features, classifier = model.layers
    kernel, bias = (np.asarray(weight, np.float64) for weight in classifier.get_weights())
    return tf_keras.Model(model.inputs, features.output)(images).numpy() @ kernel + bias


def _save(model, folder: Path) -> None:
    import tf_keras

    weights, whole, nested = (str(folder / name) for name in SAVED)
    model.save_weights(weights)
    model.save(whole)
    base = tf_keras.Model(model.inputs, model.layers[-2].output)
    tf_keras.Sequential([base, tf_keras.layers.Dense(5)]).save_weights(nested)


def _main(library: str, preset: str, folder: Path) -> None:
    import tf_keras

    os.environ["KECAM_BACKEND"] = "tensorflow"
    tf_keras.backend.set_floatx("float64")
    model = build(library, preset, (None, None, 3))
    _load(model, folder / "weights.h5")
    for path in folder.glob("images-*.npy"):
        np.save(
            path.with_name(path.name.replace("images", "logits")), _logits(model, np.load(path))
        )
    _save(model, folder)


if __name__ == "__main__":
    _main(*sys.argv[1:3], Path(sys.argv[3]))
