"""Images, and random networks that are awake: values of order one at every depth.

Nothing here knows how this project names or arranges weights.  A library's own model is filled with
random numbers, and its batch norms are given the statistics of what really reaches them, so that
its outputs say something of every weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from efficientnet_rosetta.common.weights.calibration import structured_images

# Files to write at a path, and the outputs of the library's own model on images (N, C, H, W): its
# logits, or its pooled features where no classifier can be carried.
Make = Callable[[Path, np.ndarray], np.ndarray]

# A size that is even wherever a stride halves it, so that the two rules of padding part, and of
# which every library's fixed padding is right.
SIDE = 96
BATCH = 3
WAKING = 6  # images that the statistics are measured on
FLOOR = 1e-3  # of a variance, since a random network may have silent channels


def images(channels: int = 3, seed: int = 1) -> np.ndarray:
    """What the first convolution is given: (N, C, H, W), float32, about unit variance."""
    return structured_images(BATCH, channels, (SIDE, SIDE), seed).astype(np.float32)


# ------------------------------------------------------------------ PyTorch


def awake(model: nn.Module, channels: int = 3, seed: int = 0) -> nn.Module:
    """Random weights, and batch norms with the statistics of their inputs; in inference mode."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: torch.Size) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.copy_(normal(value.shape) * value[0].numel() ** -0.5)
            elif name.endswith("weight"):
                value.copy_(1 + 0.2 * normal(value.shape))
            else:
                value.copy_(0.2 * normal(value.shape))
        norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d)]
        hooks = [norm.register_forward_pre_hook(_measure) for norm in norms]
        given = structured_images(WAKING, channels, (SIDE, SIDE), seed + 2)
        model.eval()(torch.tensor(given, dtype=torch.float32))
    for hook in hooks:
        hook.remove()
    return model


def _measure(norm: Any, given: tuple[torch.Tensor, ...]) -> None:
    value = given[0]
    axes = [axis for axis in range(value.ndim) if axis != 1]
    norm.running_mean.copy_(value.mean(axes))
    norm.running_var.copy_(value.var(axes, unbiased=False).clamp(min=FLOOR))


def outputs(model: Callable[[torch.Tensor], Any], given: np.ndarray) -> np.ndarray:
    """What a model of PyTorch computes in inference."""
    if isinstance(model, nn.Module):
        model.eval()
    with torch.inference_mode():
        found = model(torch.tensor(given))
    return getattr(found, "logits", found).numpy()


def features(trunk: Callable[[torch.Tensor], torch.Tensor], given: np.ndarray) -> np.ndarray:
    """The means over the last map (N, F, H, W) of a model."""
    return outputs(lambda x: trunk(x).mean((2, 3)), given)


# ------------------------------------------------------------------ Keras


def awake_keras(model: Any, channels: int = 3, seed: int = 0) -> Any:
    """The same for a model of Keras, of either generation, that divides its input by 255."""
    random = np.random.default_rng(seed)
    norms = []
    for layer in _leaves(model):
        kind = type(layer).__name__
        if kind == "Normalization" or not layer.weights:
            continue
        layer.trainable = True
        arrays = layer.get_weights()
        if kind == "BatchNormalization":
            norms.append(layer)
            scale, bias, *statistics = arrays
            arrays = [_near(random, scale, 1), _near(random, bias, 0), *statistics]
        elif any(array.dtype.kind != "f" for array in arrays):  # the seed of a random layer
            continue
        else:
            arrays = [_drawn(random, array, "Depthwise" in kind) for array in arrays]
        layer.set_weights(arrays)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:  # what is kept of the old statistics: nothing
        norm.momentum = 0.0
    given = structured_images(WAKING, channels, (SIDE, SIDE), seed + 2)
    model(pixels(given), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        *others, variance = norm.get_weights()
        norm.set_weights([*others, np.maximum(variance, FLOOR)])
    return model


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield from _leaves(layer) if hasattr(layer, "layers") else (layer,)


def _near(random: np.random.Generator, array: np.ndarray, middle: float) -> np.ndarray:
    return middle + 0.2 * random.standard_normal(array.shape)


def _drawn(random: np.random.Generator, array: np.ndarray, depthwise: bool) -> np.ndarray:
    if array.ndim == 1:
        return 0.2 * random.standard_normal(array.shape)
    # A depthwise kernel is (height, width, channels, 1), of which each channel is a filter.
    fan_in = np.prod(array.shape[:2] if depthwise or array.ndim < 3 else array.shape[:-1])
    if array.ndim == 2:
        fan_in = array.shape[0]
    return random.standard_normal(array.shape) * fan_in**-0.5


def pixels(given: np.ndarray) -> np.ndarray:
    """What a graph that divides by 255 is given, (N, H, W, C), for its convolution to see this."""
    return (255 * given.transpose(0, 2, 3, 1)).astype(np.float32)
