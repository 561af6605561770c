"""The networks in Keras; this module keeps the protocols of `common/backends/protocol.py`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from efficientnet_rosetta.common._util.quiet import quiet_stderr
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.backends.protocol import OPSET, Judge, Variant
from efficientnet_rosetta.common.backends.registry import (
    KERAS_BACKEND,
    KERAS_BACKENDS,
    model_maker,
)
from efficientnet_rosetta.common.backends.values import check_endpoints, from_layout, to_layout
from efficientnet_rosetta.common.errors import UsageError, needs
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.run import Run, Scores
from efficientnet_rosetta.common.weights.canonical import Weights
from efficientnet_rosetta.common.weights.metadata import description

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with quiet_stderr():
    import keras

from .features import FeatureMaps
from .layers import functional
from .steps import drop_factors, gradients, steps
from .trace import trace
from .weights import dump_weights, layer_name, load_weights, network_of, role_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "build",
    "build_features",
    "drop_factors",
    "dump_weights",
    "endpoints",
    "evaluate",
    "export_onnx",
    "fit",
    "gradients",
    "load_weights",
    "run",
    "steps",
    "trace",
    "variants",
    "versions",
]

LAYOUT = "NHWC"
# Keras takes the framework that it runs on from the environment.  A program that runs once is not
# worth XLA's optimizations, which take ten seconds.
# Numbers in a batch of float64, up to which each operation is run as it comes: a graph costs a
# second to make, and is made for each shape.
FEW = 2**18
SETTINGS = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}


def build(network: Network, dtype: str = "float32") -> keras.Model:
    """A functional model with the official initialisation."""
    with _floatx(dtype):
        model = model_maker(__name__, network)(network)
    model.network = network  # its dialect is nowhere in a functional model, but in many layers
    return model


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
    values = _predict(functional(model.input, outputs, model.name), images)
    return {name: from_layout(values[name], True) for name in names}


def _endpoint_names(model: keras.Model) -> list[str]:
    return [role_of(layer) for layer in model.layers if isinstance(layer, keras.layers.Identity)]


def _predict(model: keras.Model, images: np.ndarray) -> Any:
    images = np.ascontiguousarray(to_layout(images, True), model.inputs[0].dtype)
    if images.dtype == np.float64 and images.size <= FEW:
        values = model(images, training=False)
        return keras.tree.map_structure(keras.ops.convert_to_numpy, values)
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

    `network` is the model's own, at any resolution.

    Raises:
        UsageError: it is not.
        UnsupportedOperationError: the model does something that no emitter knows.
        MissingDependencyError: onnx is not installed.
    """
    with needs("ONNX"):
        from .onnx import export  # a backend without ONNX is still a backend

    if changed(network_of(model), resolution=network.resolution) != network:
        raise UsageError("the model was built from another network than the one given")
    names = network.endpoints if endpoints else (network.output,)
    outputs = [model.get_layer(layer_name(name)).output for name in names]
    metadata = description(network, LAYOUT, f"keras {keras.__version__}")
    image_shape = (*network.resolution, network.in_channels)
    selected = functional(model.input, outputs, model.name)
    return export(selected, image_shape, names, metadata, opset)


def build_features(
    network: Network, weights: Weights | None = None, dtype: str = "float32"
) -> keras.Model:
    """A model whose outputs are the last map (N, H, W, C) of each resolution, the largest first.

    `weights` are canonical ones of the network.
    """
    model = build(network, dtype)
    if weights is not None:
        load_weights(model, weights)
    return FeatureMaps(model, network)


def fit(training: Training, weights: Weights, run: Run) -> None:
    """Train from canonical weights, or go on from the state of the run.

    Raises:
        RosettaError: the loss is no number, or images cannot be read.
    """
    from . import loop  # what a loop needs, nothing else does

    loop.fit(training, weights, run)


def evaluate(
    model: keras.Model,
    batches: Batches,
    run: Run,
    workers: int = 0,
    judge: Judge | None = None,
) -> Scores:
    """Scores of the model on all images that can be read.

    Raises:
        RosettaError: none can.
    """
    from . import loop

    return loop.evaluate(model, batches, run, workers, judge)


def variants() -> dict[str, Variant]:
    """The frameworks that Keras runs on."""
    current = keras.config.backend()
    return {
        name: Variant(name, {**SETTINGS, KERAS_BACKEND: name}, name == current)
        for name in KERAS_BACKENDS
    }


def versions() -> dict[str, str]:
    """Keras's version and backend, and whether oneDNN (which changes float32 a little) is on."""
    backend = keras.config.backend()
    versions = {"keras": keras.__version__, "keras_backend": backend}
    if backend == "tensorflow":
        versions[backend] = version(backend)
        onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
        versions["tensorflow_onednn"] = "off" if onednn == "0" else "on"
    return versions
