"""What the tests share: networks with calibrated weights, run by any backend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

import numpy as np
import pytest

from efficientnet_rosetta.common.architectures import changed, resolve
from efficientnet_rosetta.common.backends.comparison import (
    TOLERANCES,
    Comparison,
    compare_endpoints,
)
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.parity.onnx_program import OnnxGraph
from efficientnet_rosetta.common.weights.calibration import calibrated, structured_images
from efficientnet_rosetta.common.weights.canonical import Weights

BACKENDS = ("torch", "keras")
FAMILIES = ("tensorflow", "pytorch")  # dialects; the third is a mixture of these
SMALL = ("b0", "b1", "b2")
LARGE = ("b3", "b4", "b5", "b6", "b7", "b8")
SHALLOW = {"depth": 0.1}  # one block a stage, for what the blocks after the first repeat
LITTLE = {"width": 0.25, "depth": 0.1}
DEPTHS = [SHALLOW, pytest.param({}, marks=pytest.mark.slow, id="whole")]
LARGEST = "l2"  # 480 million parameters: what needs two copies of it takes a process of its own


def weights_of(network: Network, seed: int = 0) -> Weights:
    """Calibrated weights, made once for all resolutions; do not change them in place."""
    return calibrated_once(changed(network, resolution=64), seed)


@lru_cache(maxsize=6)  # L2 has 2 GB of them, but a process of its own
def calibrated_once(network: Network, seed: int) -> Weights:
    """Calibrated weights of a network."""
    return calibrated(network, seed)


def images_for(network: Network, batch: int = 2, seed: int = 1) -> np.ndarray:
    """Structured images that the weights were not calibrated on."""
    return structured_images(batch, network.in_channels, network.resolution, seed)


def run(
    backend: str,
    network: Network,
    images: np.ndarray,
    dtype: str = "float32",
    weights: Weights | None = None,
) -> dict[str, np.ndarray]:
    """Every endpoint of a network with calibrated, or the given, weights."""
    module = get_backend(backend)
    model = module.build(network, dtype)
    module.load_weights(model, weights_of(network) if weights is None else weights)
    return module.endpoints(model, images)


@lru_cache(maxsize=16)
def reference(network: Network, batch: int = 2) -> dict[str, np.ndarray]:
    """Torch in float64 on `images_for(network, batch)`."""
    return run("torch", network, images_for(network, batch), "float64")


def parity(
    backend: str, network: Network, dtype: str = "float32", batch: int = 2, **options
) -> Comparison:
    """A backend's run against the reference."""
    values = run(backend, network, images_for(network, batch), dtype, **options)
    return compare_endpoints(backend, reference(network, batch), values, TOLERANCES[dtype])


@lru_cache(maxsize=2)
def exported(backend: str, network: Network, endpoints: bool = True) -> OnnxGraph:
    """A backend's export of the calibrated network, loaded by onnxruntime."""
    module = get_backend(backend)
    model = module.build(network)
    module.load_weights(model, weights_of(network))
    return OnnxGraph(module.export_onnx(model, network, endpoints).SerializeToString())


def rosetta_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it: in a process of its own, which gives its memory back."""
    program = [sys.executable, "-c", "from efficientnet_rosetta.common.cli import main; main()"]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)


def alone(function: Callable, *arguments: object) -> object:
    """What a function gives in a process of its own.

    TensorFlow keeps the weights of each model that it has made a graph of, and L2 needs the room.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def small(preset: str = "b0", size: int | tuple[int, int] = 64, **options) -> Network:
    """A network for images so small that a test of it takes no time."""
    return resolve(preset, resolution=size, **options)


def wrong_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras has PyTorch's epsilon in one batch norm, that of `stages.5.blocks.1.depthwise_bn`."""
    import keras

    original = keras.layers.BatchNormalization.__init__

    def wrong(self, *arguments, **options):
        if options.get("name") == "stages-5-blocks-1-depthwise_bn":
            options["epsilon"] = 1e-5
        original(self, *arguments, **options)

    monkeypatch.setattr(keras.layers.BatchNormalization, "__init__", wrong)
