"""What people make of keras.applications and KerasHub, with Keras 3."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import keras
import numpy as np
from keras import layers

from efficientnet_rosetta.common.images.normalization import IMAGENET_MEAN, IMAGENET_STD
from parity_tests.situations.making import SIDE, awake_keras, pixels

CLASSES = 4


@cache
def fine_tuned(norm: bool = False) -> keras.Model:
    """keras.io's example: augmentation, a backbone on its output, pooling, and a dense layer."""
    inputs = layers.Input((SIDE, SIDE, 3))
    x = layers.RandomRotation(0.15)(inputs)
    x = layers.RandomFlip()(x)
    backbone = keras.applications.EfficientNetB0(include_top=False, input_tensor=x, weights=None)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(backbone.output)
    if norm:
        x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.2, name="top_dropout")(x)
    outputs = layers.Dense(CLASSES, activation="softmax", name="pred")(x)
    return awake_keras(keras.Model(inputs, outputs, name="EfficientNet"))


@cache
def nested(channels: int = 3, classes: int = CLASSES) -> keras.Model:
    """A `Sequential` around a backbone; one class has a sigmoid."""
    backbone = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, channels)
    )
    activation = "sigmoid" if classes == 1 else "softmax"
    head = [
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(classes, activation=activation),
    ]
    return awake_keras(keras.Sequential([backbone, *head]), channels)


@cache
def published() -> keras.Model:
    """A model on `weights="imagenet"`, whose file keeps deviations in the place of variances.

    The file is made here, and stands where the library would have downloaded it.
    """
    shape = (SIDE, SIDE, 3)
    inside = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=shape)
    awake_keras(inside)
    norm = next(layer for layer in inside.layers if isinstance(layer, layers.Normalization))
    *_, count = norm.get_weights()
    norm.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_STD), count])
    with TemporaryDirectory() as folder:
        path = f"{folder}/efficientnetb0_notop.weights.h5"
        inside.save_weights(path)
        with patch(
            "keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: path
        ):
            backbone = keras.applications.EfficientNetB0(include_top=False, input_shape=shape)
    head = [layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, activation="softmax")]
    return keras.Sequential([backbone, *head])


@cache
def xception(classes: int = 2) -> keras.Model:
    """Xception with a dense layer of one's own, flat."""
    base = keras.applications.Xception(
        include_top=False, weights=None, input_shape=(SIDE, SIDE, 3), pooling="avg"
    )
    outputs = layers.Dense(classes, activation="softmax", name="fc2")(base.output)
    return awake_keras(keras.Model(base.input, outputs))


def save(model: keras.Model, path: Path) -> None:
    """In the way that the name asks for: weights, a whole model, or a SavedModel."""
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What the last layer computes before its activation; images as the convolution sees them."""
    last = model.layers[-1]
    activation, last.activation = last.activation, keras.activations.linear
    try:
        return np.asarray(model(pixels(images), training=False))
    finally:
        last.activation = activation


def pooled(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The features behind the pooling of keras.io's model."""
    inner = keras.Model(model.input, model.get_layer("avg_pool").output)
    return np.asarray(inner(pixels(images), training=False))


def example(path: Path, images: np.ndarray) -> np.ndarray:
    """keras.io's model without the batch norm in its head."""
    save(fine_tuned(), path)
    return logits(fine_tuned(), images)


def example_with_norm(path: Path, images: np.ndarray) -> np.ndarray:
    """keras.io's model as it is printed."""
    save(fine_tuned(norm=True), path)
    return pooled(fine_tuned(norm=True), images)


def sequential(path: Path, images: np.ndarray) -> np.ndarray:
    """A nested backbone."""
    save(nested(), path)
    return logits(nested(), images)


def four_channels(path: Path, images: np.ndarray) -> np.ndarray:
    """A nested backbone of four channels."""
    save(nested(4), path)
    return logits(nested(4), images)


def binary(path: Path, images: np.ndarray) -> np.ndarray:
    """A nested backbone and one sigmoid."""
    save(nested(3, 1), path)
    return logits(nested(3, 1), images)


def imagenet(path: Path, images: np.ndarray) -> np.ndarray:
    """The published normalization: it takes pixels, of which the convolution sees these images."""
    model = published()
    save(model, path)
    mean, std = (np.reshape(value, (3, 1, 1)) for value in (IMAGENET_MEAN, IMAGENET_STD))
    return logits(model, images * std + mean)


def xception_flat(path: Path, images: np.ndarray) -> np.ndarray:
    """Xception does not divide by 255 in its graph."""
    model = xception()
    save(model, path)
    return logits(model, images / 255)


def hub(path: Path, images: np.ndarray) -> np.ndarray:
    """A classifier of KerasHub, as a folder of `save_to_preset`."""
    import keras_hub
    from keras_hub.src.utils.timm.convert_efficientnet import convert_backbone_config

    config = convert_backbone_config({"architecture": "efficientnet_b0"})
    backbone = keras_hub.models.EfficientNetBackbone(**config)
    model = keras_hub.models.EfficientNetImageClassifier(backbone=backbone, num_classes=6)
    awake_keras(model)
    model.save_weights(path)
    return np.asarray(model(images.transpose(0, 2, 3, 1), training=False))
