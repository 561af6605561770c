"""From what a graph computes after a convolution to a batch norm, and to a bias.

A batch norm that is still there is taken as it is.  Where an exporter folded it into the
convolution, scale and shift of the channels are put together in float64: the scale goes into the
kernel, and the shift becomes the bias of a batch norm that does nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..formats.lazy import LazyTensor
from .constants import reshaped
from .matching import Found, MismatchError
from .values import Step

Vector = NDArray[np.float64]
VECTORS = ("scale", "bias", "mean", "variance")
NEIGHBOURS = 1 << 15  # of variance 1 in float32


@cache
def identity(epsilon: float) -> tuple[np.float32, np.float32]:
    """Scale and variance in float32 of a batch norm that multiplies by 1.

    Of all pairs near 1 the one whose factor is nearest to 1 in float64 and exactly 1 in float32.
    Rounding sqrt(1 + epsilon) alone leaves 3e-8 in every one of the batch norms in the same
    direction, which adds up to 2e-5 at the logits of B0; this pair leaves 1e-8 there.
    """
    variance = np.float32(1) + np.arange(-NEIGHBOURS, NEIGHBOURS) * np.spacing(np.float32(0.5))
    variance = variance.astype(np.float32)
    root = np.sqrt(variance.astype(np.float64) + epsilon)
    scale = root.astype(np.float32)
    single = np.float32(1) / np.sqrt(variance + np.float32(epsilon))
    exact = (scale * single == 1) & (scale / np.sqrt(variance + np.float32(epsilon)) == 1)
    error = np.where(exact, np.abs(scale / root - 1), np.inf)
    best = int(np.argmin(error))
    return scale[best], variance[best]


def is_kept(found: Found) -> bool:
    """Whether the batch norm of a layer is in the graph as it was, with no arithmetic beside it."""
    return found.norm is not None and [step.kind for step in _effective(found)] == ["norm"]


def tensors(found: Found, epsilon: float) -> dict[str, LazyTensor]:
    """The canonical tensors of a layer and of its batch norm, which has an epsilon.

    Raises:
        MismatchError: there is arithmetic after the layer that a network does not have there.
    """
    layer, norm = found.layer, found.norm
    weight = f"{layer.role}.weight"
    kernel = reshaped(found.linear.weight, layer.tensors[weight])
    if norm is not None and is_kept(found):
        (step,) = _effective(found)
        vectors = zip(VECTORS, step.tensors, strict=True)
        return {weight: kernel, **{f"{norm.role}.{name}": tensor for name, tensor in vectors}}
    steps = _effective(found)
    if layer.bias and [step.kind for step in steps] == ["add"]:
        bias = reshaped(steps[0].tensors[0], (layer.out_channels,))
        return {weight: kernel, f"{layer.role}.bias": bias}
    factor, shift = _composed(steps, layer.out_channels)
    if (factor != 1).any():
        kernel = scaled(kernel, factor)
    made = {weight: kernel}
    bias = LazyTensor.of(_key_of_shift(found), shift.astype(np.float32))
    if norm is not None:
        scale, variance = identity(epsilon)
        values = {"scale": scale, "mean": np.float32(0), "variance": variance}
        made |= {
            f"{norm.role}.{name}": LazyTensor.of(
                f"{kernel.key} ({name})", np.full(layer.out_channels, value)
            )
            for name, value in values.items()
        }
        made[f"{norm.role}.bias"] = bias
    elif layer.bias:
        made[f"{layer.role}.bias"] = bias
    elif shift.any():
        raise MismatchError(f"{layer.role} has a bias, and should have none")
    return made


def _key_of_shift(found: Found) -> str:
    """The name in the file of what was added last, which is most of a bias."""
    added = [step.tensors[0].key for step in found.steps if step.kind in ("add", "sub")]
    return added[-1] if added else f"{found.linear.weight.key} (bias)"


def _effective(found: Found) -> list[Step]:
    """The steps without additions of zeros, which exporters leave where there was no bias."""
    return [
        step
        for step in found.steps
        if step.kind not in ("add", "sub") or np.asarray(step.tensors[0]).any()
    ]


def _composed(steps: Sequence[Step], channels: int) -> tuple[Vector, Vector]:
    """Factor and shift by which all steps together turn a channel into another."""
    factor, shift = np.ones(channels), np.zeros(channels)
    for step in steps:
        vectors = [np.asarray(tensor, np.float64).ravel() for tensor in step.tensors]
        if step.kind == "norm":
            scale, bias, mean, variance = vectors
            by = scale / np.sqrt(variance + step.epsilon)
            factor, shift = factor * by, (shift - mean) * by + bias
        elif step.kind == "mul":
            factor, shift = factor * vectors[0], shift * vectors[0]
        elif step.kind == "div":
            factor, shift = factor / vectors[0], shift / vectors[0]
        else:
            shift = shift + vectors[0] if step.kind == "add" else shift - vectors[0]
    return factor, shift


def scaled(kernel: LazyTensor, factor: Vector) -> LazyTensor:
    """A kernel whose outputs are multiplied, in float64, and rounded to float32."""
    by = factor.reshape(-1, *(1,) * (len(kernel.shape) - 1))

    def load() -> NDArray[np.float32]:
        return (np.asarray(kernel.read(), np.float64) * by).astype(np.float32)

    return replace(kernel, dtype=np.dtype(np.float32), read=load)


def image_arithmetic(steps: Sequence[Step], channels: int) -> tuple[Vector, Vector]:
    """Factor and shift, channel by channel, of what is done to an image in front of a network.

    Raises:
        MismatchError: it is not done channel by channel.
    """
    for step in steps:
        if any(np.size(tensor) not in (1, channels) for tensor in step.tensors):
            raise MismatchError("the image is changed in front of the network, place by place")
    with np.errstate(all="ignore"):
        return _composed(steps, channels)
