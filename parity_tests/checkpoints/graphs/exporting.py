"""Files of small calibrated networks, each made by the exporter that people use."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights import canonical
from efficientnet_rosetta.common.weights.calibration import calibrated
from parity_tests.peers import operators
from parity_tests.support import run, small

operators.declare()

import timm  # noqa: E402
import torchvision  # noqa: E402
from efficientnet_pytorch import EfficientNet  # noqa: E402

CLASSES = 10
OPSET = 17
EVAL, PRESERVE, TRAINING = (
    getattr(torch.onnx.TrainingMode, name) for name in ("EVAL", "PRESERVE", "TRAINING")
)


@lru_cache(maxsize=6)
def weights_of(network: Network) -> canonical.Weights:
    """Calibrated weights, made once for all tests here; do not change them in place."""
    return calibrated(network)


def source(library: str, classes: int | None = CLASSES) -> Network:
    """The network that a library's exports are made of."""
    preset, size = ("xception", 96) if library.endswith("xception") else ("b0", 64)
    dialect = "pytorch" if library in ("torchvision", "timm-xception") else "tensorflow"
    return small(preset, size, dialect=dialect, num_classes=classes)


def files(folder: Path, network: Network, layout: str, suffix: str) -> Path:
    """The network's calibrated weights, in a file of a layout."""
    ours, theirs = folder / f"{layout}.safetensors", folder / f"{layout}{suffix}"
    canonical.save(ours, network, weights_of(network))
    rosetta.port(ours, theirs, layout, run=False, force=True)
    return theirs


@lru_cache(maxsize=8)
def torch_model(library: str, folder: Path, classes: int | None) -> torch.nn.Module:
    """A model of a PyTorch library with calibrated weights, ready for inference."""
    network = source(library, classes)
    count, size = classes or 0, network.resolution[0]
    layout, model = {
        "torchvision": (
            "torchvision",
            lambda: torchvision.models.efficientnet_b0(num_classes=count),
        ),
        "timm-tf": ("timm-tf", lambda: timm.create_model("tf_efficientnet_b0", num_classes=count)),
        "timm-xception": ("timm", lambda: timm.create_model("legacy_xception", num_classes=count)),
        "efficientnet-pytorch": (
            "efficientnet-pytorch",
            lambda: EfficientNet.from_name("efficientnet-b0", num_classes=count, image_size=size),
        ),
    }[library]
    made = model()
    state = torch.load(files(folder, network, layout, ".pth"), weights_only=True)
    made.load_state_dict(state)
    if library == "efficientnet-pytorch":
        made.set_swish(memory_efficient=False)  # the other is a function that no exporter knows
    return made.eval()


def image(network: Network) -> torch.Tensor:
    """What a model is traced with."""
    return torch.zeros(1, network.in_channels, *network.resolution)


def script_exporter(library: str, **options) -> Callable[[Path], Path]:
    """PyTorch's exporter by TorchScript; `wrap` and `half` are of the model before."""
    wrap, half = options.pop("wrap", None), options.pop("half", False)
    classes = options.pop("classes", CLASSES)

    def export(path: Path) -> Path:
        model = torch_model(library, path.parent, classes)
        given = image(source(library))
        if options.get("training") is TRAINING:
            model = timm.create_model("tf_efficientnet_b0", num_classes=CLASSES)
        if half:
            model, given = _copied(model).half(), given.half()
        if wrap:
            model = torch.nn.Sequential(model, wrap).eval()
        return script(model, given, path, **options)

    return export


def script(model: torch.nn.Module, given: torch.Tensor, path: Path, **options) -> Path:
    """A model that is traced with images, in an ONNX file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, given, str(path), dynamo=False, opset_version=OPSET, **options)
    return path


def _copied(model: torch.nn.Module) -> torch.nn.Module:
    import copy

    return copy.deepcopy(model)


def dynamo_exporter(library: str, **options) -> Callable[[Path], Path]:
    """PyTorch's exporter by torch.export."""

    def export(path: Path) -> Path:
        model = torch_model(library, path.parent, CLASSES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model, (image(source(library)),), str(path), dynamo=True, verbose=False, **options
            )
        return path

    return export


def own_exporter(backend: str, preset: str = "b0", **options) -> Callable[[Path], Path]:
    """Our own exporter."""

    def export(path: Path) -> Path:
        network = source("timm-tf") if preset == "b0" else source("keras-xception")
        weights = path.with_suffix(".safetensors")
        canonical.save(weights, network, weights_of(network))
        size = network.resolution[0]
        rosetta.export(None, path, backend, weights=weights, resolution=size, **options)
        return path

    return export


def optimised(source_of: Callable[[Path], Path], level: str) -> Callable[[Path], Path]:
    """onnxruntime's own rewriting of a graph, saved."""

    def export(path: Path) -> Path:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}"
        )
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        before = source_of(path.with_name(f"before-{path.name}"))
        onnxruntime.InferenceSession(str(before), options, providers=["CPUExecutionProvider"])
        return path

    return export


@lru_cache(maxsize=2)
def keras_model(folder: Path, preset: str = "b0", activation: str | None = None):
    """keras.applications with calibrated weights."""
    import keras

    network = source("keras" if preset == "b0" else "keras-xception")
    made = {"b0": keras.applications.EfficientNetB0, "xception": keras.applications.Xception}
    model = made[preset](
        weights=None,
        classes=CLASSES,
        classifier_activation=activation,
        input_shape=(*network.resolution, 3),
    )
    model.load_weights(files(folder, network, "keras-applications", ".weights.h5"))
    return model


def tf2onnx_exporter(opset: int = 15, **options) -> Callable[[Path], Path]:
    """tf2onnx, from a Keras model."""

    return lambda path: through_tf2onnx(keras_model(path.parent, **options), path, opset)


def through_tf2onnx(model, path: Path, opset: int = 15) -> Path:
    """A Keras model in an ONNX file."""
    import tensorflow as tf
    import tf2onnx

    spec = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="input")
    tf2onnx.convert.from_keras(model, [spec], opset=opset, output_path=str(path))
    return path


def keras_exporter(path: Path) -> Path:
    """Keras's own way to ONNX, which leaves inputs that nothing uses."""
    model = keras_model(path.parent)
    model(np.zeros((1, *model.input_shape[1:]), np.float32))  # it must have been called once
    model.export(str(path), format="onnx", verbose=False)
    return path


def lite_exporter_of_function(path: Path) -> Path:
    """TensorFlow Lite's converter, from a function, which takes a fraction of the time."""
    return lite_of_function(keras_model(path.parent), path)


def lite_of_function(model, path: Path) -> Path:
    """A Keras model in a TensorFlow Lite file, as a function."""
    import tensorflow as tf

    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(model).get_concrete_function(spec)
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    return path


def lite_exporter(half: bool = False, **options) -> Callable[[Path], Path]:
    """TensorFlow Lite's converter, from a Keras model."""

    def export(path: Path) -> Path:
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_keras_model(keras_model(path.parent, **options))
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        path.write_bytes(converter.convert())
        return path

    return export


def logits(network: Network, weights, images: np.ndarray, dtype: str = "float64") -> np.ndarray:
    """What our PyTorch makes of images."""
    arrays = {name: np.asarray(weights[name], dtype) for name in network.tensors}
    return run("torch", network, images, dtype, arrays)[network.output]


def at(network: Network, size: tuple[int, int]) -> Network:
    """The network for images of a size."""
    return changed(network, resolution=size)


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, in standard deviations of what is wanted."""
    return float(np.abs(found - wanted).max() / wanted.std())
