"""The networks in Keras; this module keeps the protocol of `common.backend.Backend`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from common.backend import OPSET, check_endpoints, from_layout, model_maker, to_layout
from common.data import Batches
from common.quiet import quiet_stderr
from common.spec import Network
from common.training import Run, Scores, Training
from common.weights import Weights, check_shapes, description

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with quiet_stderr():
    import keras

from keras_impl.files import read_checkpoint, write_checkpoint
from keras_impl.layers import functional
from keras_impl.trace import trace
from keras_impl.train import drop_factors, gradients, train
from keras_impl.weights import dump_weights, layer_name, load_weights, role_of, tensor_shapes

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "build",
    "drop_factors",
    "dump_weights",
    "endpoints",
    "evaluate",
    "export_onnx",
    "fit",
    "gradients",
    "load_weights",
    "read_checkpoint",
    "run",
    "trace",
    "train",
    "versions",
    "write_checkpoint",
]

LAYOUT = "NHWC"


def build(network: Network, dtype: str = "float32") -> keras.Model:
    """A functional model with the official initialisation."""
    with _floatx(dtype):
        return model_maker(__name__, network)(network)


@contextmanager
def _floatx(dtype: str) -> Iterator[None]:
    """Layers and inputs take their dtype from these two globals when they are made."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float32" if dtype.startswith("mixed") else dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def run(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) -> logits (N, classes), or features (N, C') without a classifier."""
    return _predict(model, images)


def endpoints(
    model: keras.Model, images: np.ndarray, names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Images (N, C, H, W) -> the named endpoints, all by default.

    Raises:
        ValueError: a name that is not one of `Network.endpoints`.
    """
    names = check_endpoints(_endpoint_names(model), names)
    if not names:
        return {}
    outputs = {name: model.get_layer(layer_name(name)).output for name in names}
    values = _predict(functional(model.inputs, outputs, model.name), images)
    return {name: from_layout(values[name], True) for name in names}


def _endpoint_names(model: keras.Model) -> list[str]:
    return [role_of(layer) for layer in model.layers if isinstance(layer, keras.layers.Identity)]


def _predict(model: keras.Model, images: np.ndarray) -> Any:
    images = np.ascontiguousarray(to_layout(images, True), model.inputs[0].dtype)
    # TensorFlow warns that tracing is expensive after five models; here each is traced once.
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return model.predict_on_batch(images)
    finally:
        logger.setLevel(level)


def export_onnx(
    model: keras.Model, network: Network, endpoints: bool = False, opset: int = OPSET
) -> ModelProto:
    """A checked ONNX model: input `image` (batch, H, W, C), outputs named by endpoint.

    `network` is the one the model was built from, at any resolution.
    """
    from keras_impl.onnx import export  # a backend without ONNX is still a backend

    check_shapes(network.tensors, tensor_shapes(model))
    names = network.endpoints if endpoints else (network.output,)
    outputs = [model.get_layer(layer_name(name)).output for name in names]
    metadata = description(network, LAYOUT, f"keras {keras.__version__}")
    image_shape = (*network.resolution, network.in_channels)
    selected = functional(model.inputs, outputs, model.name)
    return export(selected, image_shape, names, metadata, opset)


def fit(training: Training, weights: Weights, run: Run, progress: bool = False) -> None:
    """Train from canonical weights, or go on from the state of the run.

    Raises:
        RosettaError: the loss is no number, or images cannot be read.
    """
    from keras_impl import loop  # what a loop needs, nothing else does

    loop.fit(training, weights, run, progress)


def evaluate(model: keras.Model, batches: Batches, run: Run, workers: int = 0) -> Scores:
    """Scores of the model on all images that can be read.

    Raises:
        RosettaError: none can.
    """
    from keras_impl import loop

    return loop.evaluate(model, batches, run, workers)


def versions() -> dict[str, str]:
    """Keras's version and backend, and whether oneDNN (which changes float32 a little) is on."""
    backend = keras.config.backend()
    versions = {"keras": keras.__version__, "keras_backend": backend}
    if backend == "tensorflow":
        versions[backend] = version(backend)
        onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
        versions["tensorflow_onednn"] = "off" if onednn == "0" else "on"
    return versions
