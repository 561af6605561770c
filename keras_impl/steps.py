"""Steps of training in Keras, one at a time: what the claims beyond the forward pass compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from efficientnet_rosetta.common.backends.protocol import Gradients, Stepped
from efficientnet_rosetta.common.backends.values import drop_factors_of, from_layout, to_layout
from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.training.schedules import Optimization
from efficientnet_rosetta.common.weights.folding import NO_TRAINING

from . import _compat
from ._compat import apply, everywhere, follow_graph
from .layers import functional
from .optimizer import MovingAverage, cross_entropy, make_optimizer
from .weights import is_folded, role_of, variables

Masks = Mapping[str, np.ndarray]
DROP_PATH = ".drop_path"


def gradients(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    smoothing: float = 0.0,
    masks: Masks | None = None,
) -> Gradients:
    """Loss and gradients of a batch (N, C, H, W) in training, what is dropped being given.

    `masks` has 1 for what is kept: (N,) of a block's role, (N, features) of "dropout"; nothing is
    dropped where it has none.
    """
    _check_trainable(model)
    x, y = _images(model, images), ops.convert_to_tensor(labels, "int64")
    loss, image, found = _differentiated(model, x, y, smoothing, masks or {})
    trained = {id(v): (name, axes) for name, v, axes in variables(model)}
    weights = {}
    for variable, gradient in zip(model.trainable_variables, found, strict=True):
        name, axes = trained[id(variable)]
        weights[name] = ops.convert_to_numpy(gradient).transpose(axes)
    return Gradients(float(loss), from_layout(ops.convert_to_numpy(image), True), weights)


def steps(
    model: keras.Model,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    optimization: Optimization,
) -> Stepped:
    """One step on each batch of images (N, C, H, W) and labels (N,); nothing is dropped."""
    _check_trainable(model)
    optimizer = make_optimizer(model, optimization)
    optimizer.build(model.trainable_variables)
    average = MovingAverage(model, optimization.average) if optimization.average else None
    losses = []
    for images, labels in batches:
        x, y = _images(model, images), ops.convert_to_tensor(labels, "int64")
        loss, _, found = _differentiated(model, x, y, optimization.label_smoothing, {})
        optimizer.begin_steps()
        optimizer.begin_step()
        apply(optimizer, found, model.trainable_variables)
        if average:
            average.begin_steps()
            everywhere(average.update)
        losses.append(float(loss))
    return Stepped(tuple(losses), average.dump() if average else None)


def _check_trainable(model: keras.Model) -> None:
    if is_folded(model):
        raise UsageError(NO_TRAINING)


def drop_factors(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """What is multiplied by what in training: (N,) of each block's branch, by its role.

    0 for a sample that is dropped, and not a number where its values differ in that.  Of "dropout"
    it is one factor for each feature of each sample that is not 0.
    """
    around = {
        role_of(layer).removesuffix(DROP_PATH): (layer.input, layer.output)
        for layer in model.layers
        if isinstance(layer, layers.Dropout)
    }
    if not around:
        return {}
    values = functional(model.input, around, model.name)(_images(model, images), training=True)
    return {
        role: drop_factors_of(role, *(ops.convert_to_numpy(value) for value in values[role]))
        for role in around
    }


def _images(model: keras.Model, images: np.ndarray) -> KerasTensor:
    return ops.convert_to_tensor(to_layout(images, True), model.inputs[0].dtype)


def _differentiated(
    model: keras.Model, x: KerasTensor, y: KerasTensor, smoothing: float, masks: Masks
) -> tuple[KerasTensor, KerasTensor, list[KerasTensor]]:
    """Loss, its gradient at the images (N, H, W, C), and at every trainable variable."""

    def call(operation: keras.Operation, *args: Any, **kwargs: Any) -> KerasTensor:
        if isinstance(operation, layers.BatchNormalization):
            return operation(*args, **{**kwargs, "training": True})
        if not isinstance(operation, layers.Dropout):
            return operation(*args, **kwargs)
        mask = masks.get(role_of(operation).removesuffix(DROP_PATH))
        return args[0] if mask is None else _masked(args[0], mask, operation.rate)

    def forward(x: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
        (logits,) = keras.tree.flatten(follow_graph(model, [x], call))
        loss = cross_entropy(logits, y, smoothing)
        return loss, loss

    loss, (image,), found = _compat.gradients(forward, model, [x])
    return loss, image, found


def _masked(x: KerasTensor, mask: np.ndarray, rate: float) -> KerasTensor:
    kept = ops.convert_to_tensor(mask, x.dtype)
    return x * ops.reshape(kept, (*mask.shape, *[1] * (len(x.shape) - mask.ndim))) / (1 - rate)
