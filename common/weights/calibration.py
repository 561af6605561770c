"""Calibrated weights: random, and with values of order one at every depth.

With default initialisation the logits of these networks collapse to about 1e-9, so that any
two implementations agree on them, right or wrong.  Here everything is drawn with spread, and
then every batch norm is given the mean and variance that its input really has: one forward
pass over a few structured images, in NumPy and float64, independent of any framework.

That alone is not enough: a random network with fixed batch-norm statistics amplifies whatever
deviates from the images it was calibrated on, by powers of ten at the depth of B7.  The gates
of squeeze-and-excitation are therefore drawn so that they close as activity rises, which holds
an image of any kind and size at order one.  A network with blocks without gates is calibrated on
noise as well, the most active image there is, and what shortcuts go around there is kept smaller.

A ReLU6 that nothing of passes 6 is a ReLU: what goes into one is drawn three times as large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import (
    RELU6,
    Activation,
    Dialect,
    Gate,
    Layer,
    MaxPool,
    Network,
    Operation,
    Padding,
    Section,
)
from .canonical import Weights
from .initial import generator

IMAGES, SIDE = 4, 96  # enough for statistics at stride 32, few enough for L2
JITTER = 0.1  # of a statistic's own size, so that none is special
MANTISSA_BITS = 12  # kept of a statistic: the last bits depend on the machine's BLAS
SKIP_GAIN = 0.5  # of the batch norm before an addition, so that sums do not grow
UNGATED_GAIN = 0.25  # the same where no gate holds the sums back
CLIPPED_GAIN = 3.0  # of the batch norm before a ReLU6: one value in fifty is then cut off at 6
FLOOR = 1e-3  # of what is divided by: a narrow network may have a silent channel
GATE_GAIN = 4.0  # how far a gate's logit falls when a block's activity doubles
GATE_SPREAD = 2.0  # of the kernels in a gate, where that of others is 1: gates differ more

Map = NDArray[np.float64]  # (N, C, H, W), where nothing else is said


def calibrated(network: Network, seed: int = 0) -> Weights:
    """Float32 weights under which a mistake anywhere changes the logits.

    A function of the architecture, its dialect and the seed: the resolution plays no part, and
    neither does the machine.
    """
    gates = [gate for section in network.sections for gate in _gates(section)]
    in_gates = {layer.role for gate in gates for layer in (gate.reduce, gate.expand)}
    weights: Weights = {}
    for layer in network.layers:
        weights |= _draw(layer, seed, GATE_SPREAD if layer.role in in_gates else 1.0)
    for section in network.sections:
        for bn, after in pairwise(section.path):
            if after == RELU6 and isinstance(bn, Layer):
                weights[f"{bn.role}.scale"] *= np.float32(CLIPPED_GAIN)
        if section.shortcut is not None:
            last = [layer for layer in section.path if isinstance(layer, Layer)][-1]
            gain = SKIP_GAIN if _gates(section) else UNGATED_GAIN
            weights[f"{last.role}.scale"] *= np.float32(gain)
    shape = network.in_channels, (SIDE, SIDE)
    images = structured_images(IMAGES, *shape, seed)
    if not all(map(_gates, network.blocks)):
        noise = np.random.default_rng([seed, IMAGES]).normal(size=images.shape)
        images = np.concatenate([images, noise])
    _Calibration(network.dialect, weights, seed).run(network, images)
    return weights


def _gates(section: Section) -> list[Gate]:
    return [operation for operation in section.path if isinstance(operation, Gate)]


def structured_images(count: int, channels: int, size: tuple[int, int], seed: int = 0) -> Map:
    """Mixtures of colour, an edge, waves and noise, about unit variance: (N, C, H, W), float64."""
    random = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")

    def plane(shares: NDArray[np.float64]) -> NDArray[np.float64]:
        (a, b, offset), colour = random.normal(size=3), random.normal()
        edge = np.sign(a * x + b * y + 0.3 * offset)
        waves = sum(
            np.sin(down * y + across * x + phase)
            for down, across, phase in random.normal(0, 8, (3, 3))
        )
        noise = random.normal(size=size)
        mixed = np.zeros(size)
        parts = (colour * np.ones(size), edge, waves, noise)
        for share, part in zip(np.sqrt(shares), parts, strict=True):
            mixed += share * part
        return mixed

    mixtures = [random.dirichlet((1, 1, 1, 1)) for _ in range(count)]
    return np.stack([np.stack([plane(shares) for _ in range(channels)]) for shares in mixtures])


def _draw(layer: Layer, seed: int, spread: float) -> Weights:
    """Random values for a layer; the statistics of a batch norm are measured later."""
    arrays: Weights = {}
    for name, shape in layer.tensors.items():
        random, last = generator(seed, name), name.rpartition(".")[2]
        values: NDArray[np.floating[Any]]
        if last == "scale":
            values = random.uniform(0.7, 1.3, shape)
        elif last == "bias":
            values = random.normal(0, 0.2, shape)
        elif last == "weight":
            std = np.float32(spread / np.sqrt(np.prod(shape[1:])))
            values = random.standard_normal(shape, np.float32) * std
        else:
            values = np.zeros(shape)
        arrays[name] = values.astype(np.float32)
    return arrays


class _Calibration:
    """A forward pass that fills in batch-norm statistics and the classifier as it goes."""

    def __init__(self, dialect: Dialect, weights: Weights, seed: int):
        self.dialect, self.weights, self.seed = dialect, weights, seed

    def run(self, network: Network, x: Map) -> None:
        for section in network.maps:
            x = self.section(x, section)
        if network.classifier is not None:
            self.classifier(x.mean((2, 3)), network.classifier.role)

    def section(self, x: Map, section: Section) -> Map:
        y = self.through(x, section.path)
        return y if section.shortcut is None else y + self.through(x, section.shortcut)

    def through(self, x: Map, operations: tuple[Operation, ...]) -> Map:
        for operation in operations:
            x = self.operation(x, operation)
        return x

    def operation(self, x: Map, operation: Operation) -> Map:
        if isinstance(operation, Activation):
            return ACTIVATIONS[operation.function](x)
        if isinstance(operation, MaxPool):
            return _max_pool(x, operation, self.dialect)
        if isinstance(operation, Gate):
            means = x.mean((2, 3), keepdims=True)
            return x * self.gate(means, operation)
        if operation.kind == "batch_norm":
            return self.batch_norm(x, operation.role)
        (weight,) = self.values(operation.role, "weight")
        return _conv(x, weight, operation.stride, self.dialect.pad if operation.padded else _no_pad)

    def gate(self, means: Map, gate: Gate) -> Map:
        """The squeeze adds up activity, the excitation falls with it, and is centred on zero."""
        squeeze, excite = gate.reduce, gate.expand
        activity = max(means.mean(), FLOOR)
        self.weights[f"{squeeze.role}.weight"] += _rounded(1 / (squeeze.in_channels * activity))
        self.weights[f"{excite.role}.weight"] -= _rounded(GATE_GAIN / excite.in_channels)
        squeezed = _swish(self.biased_conv(means, squeeze.role))
        centre = self.biased_conv(squeezed, excite.role).mean((0, 2, 3))
        self.weights[f"{excite.role}.bias"] -= _rounded(centre)
        return _sigmoid(self.biased_conv(squeezed, excite.role))

    def biased_conv(self, x: Map, role: str) -> Map:
        weight, bias = self.values(role, "weight", "bias")
        return _conv(x, weight, 1, _no_pad) + bias[:, None, None]

    def values(self, role: str, *names: str) -> tuple[Map, ...]:
        return tuple(self.weights[f"{role}.{name}"].astype(np.float64) for name in names)

    def batch_norm(self, x: Map, role: str) -> Map:
        random = generator(self.seed, f"{role}.variance")
        mean, variance = x.mean((0, 2, 3)), np.maximum(x.var((0, 2, 3)), FLOOR)
        mean += JITTER * np.sqrt(variance) * random.normal(size=mean.shape)
        variance *= random.uniform(1 - JITTER, 1 + JITTER, variance.shape)
        self.weights[f"{role}.mean"] = _rounded(mean)
        self.weights[f"{role}.variance"] = _rounded(variance)
        scale, bias, mean, variance = (
            vector[:, None, None]
            for vector in self.values(role, "scale", "bias", "mean", "variance")
        )
        return (x - mean) * (scale / np.sqrt(variance + self.dialect.epsilon)) + bias

    def classifier(self, features: Map, role: str) -> None:
        """Scale and centre: logits differ between images by one standard deviation."""
        weight, centre = self.weights[f"{role}.weight"], features.mean(0)
        spread = ((features - centre) @ weight.T.astype(np.float64)).std()
        weight *= _rounded(1 / spread)
        self.weights[f"{role}.bias"] += _rounded(-weight.astype(np.float64) @ centre)


def _rounded(values: float | NDArray[np.float64]) -> NDArray[np.float32]:
    """Float32 of so few bits that they are the same on any machine."""
    mantissa, exponent = np.frexp(values)
    kept = np.round(np.ldexp(mantissa, MANTISSA_BITS))
    return np.asarray(np.ldexp(kept, exponent - MANTISSA_BITS), np.float32)


def _sigmoid(x: Map) -> Map:
    return 1 / (1 + np.exp(-x))


def _swish(x: Map) -> Map:
    return x * _sigmoid(x)


def _relu(x: Map) -> Map:
    return np.maximum(x, 0)


def _relu6(x: Map) -> Map:
    return np.clip(x, 0, 6)


ACTIVATIONS = {"swish": _swish, "relu": _relu, "relu6": _relu6}


Pad = Callable[[int, int, int, str], Padding]  # zeros by size, kernel, stride and kind of layer


def _no_pad(size: int, kernel: int, stride: int, kind: str) -> Padding:
    return 0, 0


def _windows(
    x: Map, kernel: int, stride: int, kind: str, pad: Pad, border: float
) -> Iterator[tuple[int, int, Map]]:
    """What each place of a kernel sees of a map (N, C, H, W): row, column, (N, C, H', W')."""
    zeros = [pad(side, kernel, stride, kind) for side in x.shape[2:]]
    x = np.pad(x, [(0, 0), (0, 0), *zeros], constant_values=border)
    height, width = ((side - kernel) // stride + 1 for side in x.shape[2:])
    for i in range(kernel):
        for j in range(kernel):
            rows = slice(i, i + stride * height, stride)
            columns = slice(j, j + stride * width, stride)
            yield i, j, x[:, :, rows, columns]


def _max_pool(x: Map, pool: MaxPool, dialect: Dialect) -> Map:
    windows = _windows(x, pool.kernel, pool.stride, "max_pool", dialect.pad, -np.inf)
    return reduce(np.maximum, (window for _, _, window in windows))


def _conv(x: Map, weight: Map, stride: int, pad: Pad) -> Map:
    """Convolution, depthwise where the kernel has one input channel per filter of a map's own."""
    filters, fan_in, kernel, _ = weight.shape
    if kernel == 1:
        x = x[:, :, ::stride, ::stride]
        flat = x.reshape(*x.shape[:2], -1)
        return (weight[:, :, 0, 0] @ flat).reshape(len(x), filters, *x.shape[2:])
    depthwise = fan_in == 1 and x.shape[1] == filters
    kind = "depthwise_conv" if depthwise else "conv"
    windows = list(_windows(x, kernel, stride, kind, pad, 0))
    result = np.zeros((len(x), filters, *windows[0][-1].shape[2:]))
    for i, j, window in windows:
        if depthwise:
            result += window * weight[:, 0, i, j, None, None]
        else:
            result += np.einsum("oc,nchw->nohw", weight[:, :, i, j], window)
    return result
