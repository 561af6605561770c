"""Running a ported file: each library loads it into its own model, with its own loader.

Images are (N, C, H, W) as the first convolution sees them; what is returned is logits (N, classes),
or pooled features (N, F) of a network without a classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights.canonical import load
from parity_tests.peers import operators
from parity_tests.situations.making import SIDE, outputs

operators.declare()

import timm  # noqa: E402
import torchvision  # noqa: E402
from efficientnet_pytorch import EfficientNet  # noqa: E402

SUFFIXES = {"keras-applications": ".weights.h5", "canonical": ".safetensors"}
Run = Callable[[Path, Network, np.ndarray], np.ndarray]


def _timm(prefix: str) -> Run:
    def run(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
        model = timm.create_model(
            f"{prefix}efficientnet_{network.name}",
            num_classes=network.num_classes or 0,
            in_chans=network.in_channels,
        )
        model.load_state_dict(torch.load(path, weights_only=True))
        return outputs(model, images)

    return run


def _xception(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
    model = timm.create_model("legacy_xception", num_classes=network.num_classes or 0)
    model.load_state_dict(torch.load(path, weights_only=True))
    return outputs(model, images)


def _torchvision(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
    model = torchvision.models.get_model(
        f"efficientnet_{network.name}", num_classes=network.num_classes or 1
    )
    if network.num_classes is None:
        model.classifier = torch.nn.Identity()
    model.load_state_dict(torch.load(path, weights_only=True))
    return outputs(model, images)


def _keras(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
    import keras

    shape = (SIDE, SIDE, network.in_channels)
    headless = {"include_top": False, "pooling": "avg"}
    headed = {"classes": network.num_classes, "classifier_activation": None}
    build = getattr(keras.applications, f"EfficientNet{network.name.upper()}")
    model = build(weights=None, input_shape=shape, **(headed if network.num_classes else headless))
    model.load_weights(path)
    normalization = next(layer for layer in model.layers if "normalization" in layer.name)
    normalization.finalize_state()
    # What this graph makes of its input, undone: its convolution sees the images that are given.
    mean, std = (np.ravel(value) for value in (normalization.mean, normalization.variance**0.5))
    pixels = 255 * (images.transpose(0, 2, 3, 1) * std + mean)
    return np.asarray(model(pixels.astype(np.float32), training=False))


def _lukemelas(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
    model = EfficientNet.from_name(
        f"efficientnet-{network.name}",
        num_classes=network.num_classes or 1,
        include_top=network.num_classes is not None,
        image_size=SIDE,
    )
    model.load_state_dict(torch.load(path, weights_only=True))
    return outputs(model, images).reshape(len(images), -1)


def _canonical(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
    stated, weights = load(path)
    backend = get_backend("torch")
    model = backend.build(stated)
    backend.load_weights(model, weights)
    return backend.run(model, images)


def _timm_maps(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
    model = timm.create_model(f"tf_efficientnet_{network.name}", features_only=True)
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    return outputs(lambda x: model(x)[-1].mean((2, 3)), images)


def _lukemelas_maps(path: Path, network: Network, images: np.ndarray) -> np.ndarray:
    model = EfficientNet.from_name(
        f"efficientnet-{network.name}", include_top=False, image_size=SIDE
    )
    missing, unexpected = model.load_state_dict(torch.load(path, weights_only=True), strict=False)
    assert not unexpected
    assert {key.partition(".")[0] for key in missing} == {"_conv_head", "_bn1"}
    model.eval()
    return outputs(lambda x: model.extract_endpoints(x)["reduction_5"].mean((2, 3)), images)


def run(
    layout: str, path: Path, network: Network, images: np.ndarray, maps: bool = False
) -> np.ndarray:
    """The outputs of a library that loaded a file of its layout.

    Of `maps`, the means over the last one, of a network that ends before its last convolution.
    """
    if maps:
        return MAPS[layout](path, network, images)
    if layout == "timm" and network.name == "xception":
        return _xception(path, network, images)
    return RUNS[layout](path, network, images)


RUNS: dict[str, Run] = {
    "timm": _timm(""),
    "timm-tf": _timm("tf_"),
    "torchvision": _torchvision,
    "keras-applications": _keras,
    "efficientnet-pytorch": _lukemelas,
    "canonical": _canonical,
}
MAPS: dict[str, Run] = {"timm-tf": _timm_maps, "efficientnet-pytorch": _lukemelas_maps}
