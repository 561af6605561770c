"""One peer a library: build a model, load a file with the library's own loader, save, run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch

from efficientnet_rosetta.common.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from efficientnet_rosetta.common.spec import resolve
from parity_tests.peers import operators

operators.declare()

import keras_hub  # noqa: E402
import segmentation_models_pytorch as smp  # noqa: E402
import timm  # noqa: E402
import torchvision  # noqa: E402
from efficientnet_pytorch import EfficientNet  # noqa: E402
from keras_hub.src.utils.timm.convert_efficientnet import convert_backbone_config  # noqa: E402
from transformers import EfficientNetConfig, EfficientNetForImageClassification  # noqa: E402


@dataclass(frozen=True)
class Peer:
    """A library, with the layout that its files are in."""

    layout: str
    suffix: str
    build: Callable[[str], Any]
    load: Callable[[Any, Path], None]
    save: Callable[[Any, Path], None]
    run: Callable[[Any, np.ndarray], np.ndarray]

    @property
    def name(self) -> str:
        """For the names of tests."""
        return f"{self.layout}{self.suffix}"


def _load_state_dict(model: torch.nn.Module, path: Path) -> None:
    model.load_state_dict(torch.load(path, weights_only=True), strict=True)


def _save_state_dict(model: torch.nn.Module, path: Path) -> None:
    torch.save(model.state_dict(), path)


def _run_torch(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        output = model.eval()(torch.tensor(images, dtype=torch.float32))
    return getattr(output, "logits", output).numpy()


def _run_keras(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """keras.applications normalises by itself: it is given what a file of an image holds."""
    pixels = (images.transpose(0, 2, 3, 1) * IMAGENET_STD + IMAGENET_MEAN) * 255
    return model.predict_on_batch(pixels.astype(np.float32))


def _transformers(preset: str) -> torch.nn.Module:
    network = resolve(preset)
    config = EfficientNetConfig(
        image_size=network.resolution[0],
        width_coefficient=network.width,
        depth_coefficient=network.depth,
        hidden_dim=network.head.out_channels,
        # Blocks whose stride-2 convolution sees an odd map at this resolution.
        depthwise_padding=[
            block.index for block in network.blocks if block.stride == 2 and block.input_size[0] % 2
        ],
        num_labels=network.num_classes,
    )
    return EfficientNetForImageClassification(config)


def _keras_applications(preset: str) -> keras.Model:
    build = getattr(keras.applications, f"EfficientNet{preset.upper()}")
    return build(weights=None, classifier_activation=None)


def _keras_hub(preset: str) -> keras.Model:
    config = convert_backbone_config({"architecture": f"efficientnet_{preset}"})
    backbone = keras_hub.models.EfficientNetBackbone(**config)
    return keras_hub.models.EfficientNetImageClassifier(backbone=backbone, num_classes=1000)


def _load_saved_model_file(model: keras.Model, path: Path) -> None:
    """A .keras file holds its own model: what it computes with is what was saved in it."""
    loaded = keras.saving.load_model(path)
    assert _names(loaded) == _names(model)
    for mine, theirs in zip(model.layers, loaded.layers, strict=True):
        mine.set_weights(theirs.get_weights())
        if isinstance(mine, keras.layers.Normalization):  # keeps what it computes with apart
            mine.finalize_state()


def _names(model: keras.Model) -> list[str]:
    """Of the layers that are named, and not numbered through a session."""
    numbered = ("input", "rescaling", "normalization", "conv2d", "batch_normalization", "add")
    return [layer.name for layer in model.layers if not layer.name.startswith(numbered)]


def _run_keras_plain(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Neither KerasHub nor Xception normalises in the graph."""
    return model.predict_on_batch(images.transpose(0, 2, 3, 1).astype(np.float32))


XCEPTION_SIZE = 96  # all libraries' SAME paddings and symmetric ones part there


def _keras_xception(preset: str) -> keras.Model:
    shape = (XCEPTION_SIZE, XCEPTION_SIZE, 3)
    return keras.applications.Xception(weights=None, classifier_activation=None, input_shape=shape)


def _keras_hub_xception(preset: str) -> keras.Model:
    widths = [[32, 64], [128, 128], [256, 256], [728, 728]]
    backbone = keras_hub.models.XceptionBackbone(
        stackwise_conv_filters=[*widths, *[[728] * 3] * 8, [728, 1024], [1536, 2048]],
        stackwise_pooling=[False, *[True] * 3, *[False] * 8, True, False],
    )
    return keras_hub.models.XceptionImageClassifier(backbone=backbone, num_classes=1000)


def segmentation_model(encoder: str) -> torch.nn.Module:
    """A network of which only the encoder is ours to read."""
    return smp.Unet(encoder, encoder_weights=None)


def _of_torch(layout: str, build: Callable[[str], torch.nn.Module]) -> Peer:
    return Peer(layout, ".pth", build, _load_state_dict, _save_state_dict, _run_torch)


PEERS = [
    _of_torch("torchvision", lambda preset: torchvision.models.get_model(f"efficientnet_{preset}")),
    _of_torch("timm", lambda preset: timm.create_model(f"efficientnet_{preset}")),
    _of_torch("timm-tf", lambda preset: timm.create_model(f"tf_efficientnet_{preset}")),
    _of_torch(
        "efficientnet-pytorch", lambda preset: EfficientNet.from_name(f"efficientnet-{preset}")
    ),
    _of_torch("transformers", _transformers),
    Peer(
        "keras-applications",
        ".weights.h5",
        _keras_applications,
        lambda model, path: model.load_weights(path),
        lambda model, path: model.save_weights(path),
        _run_keras,
    ),
    Peer(
        "keras-applications",
        ".h5",
        _keras_applications,
        lambda model, path: model.load_weights(path),
        lambda model, path: model.save(path),
        _run_keras,
    ),
    Peer(
        "keras-applications",
        ".keras",
        _keras_applications,
        _load_saved_model_file,
        lambda model, path: model.save(path),
        _run_keras,
    ),
    Peer(
        "keras-hub",
        ".weights.h5",
        _keras_hub,
        lambda model, path: model.load_weights(path),
        lambda model, path: model.save_weights(path),
        _run_keras_plain,
    ),
]

XCEPTION_PEERS = [
    _of_torch("timm", lambda preset: timm.create_model("legacy_xception")),
    *(
        replace(peer, build=build, run=_run_keras_plain)
        for layout, build in (
            ("keras-applications", _keras_xception),
            ("keras-hub", _keras_hub_xception),
        )
        for peer in PEERS
        if peer.layout == layout
    ),
]
