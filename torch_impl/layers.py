"""Layers that the networks share, in PyTorch.

The same program as `keras_impl/layers.py`, name for name.  Maps are (N, C, H, W), and the keys of
`state_dict()` are the canonical tensor names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from efficientnet_rosetta.common.network import Activation, Dialect, conv_std, dense_bound

ACTIVATIONS = {"swish": F.silu, "relu": F.relu, "relu6": F.relu6}


def _padded(
    x: Tensor, kernel: int, stride: int, dialect: Dialect, kind: str, value: float = 0.0
) -> tuple[Tensor, tuple[int, int]]:
    """A map (N, C, H, W) as far as it must be padded beforehand, and what is left to pad evenly."""
    # step: pad
    # PyTorch has no SAME padding where there is a stride:
    # it depends on the size of the map.
    height, width = x.shape[2:]
    top, bottom = dialect.pad(height, kernel, stride, kind)
    left, right = dialect.pad(width, kernel, stride, kind)
    if (top, left) == (bottom, right):
        # PyTorch pads evenly by itself, without a copy.
        return x, (top, left)
    pads = (left, right, top, bottom)
    return F.pad(x, pads, value=value), (0, 0)


class Conv(nn.Conv2d):
    """Convolution without bias: (N, C, H, W) -> (N, C', ceil(H/s), ceil(W/s)).

    Without padding: (N, C', floor((H - k) / s) + 1, floor((W - k) / s) + 1).
    """

    kind = "conv"

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        stride: int,
        dialect: Dialect,
        padded: bool = True,
    ):
        super().__init__(channels, filters, kernel, stride, bias=False)
        self.dialect, self.padded = dialect, padded
        nn.init.normal_(self.weight, std=conv_std(kernel, filters))

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        padding = (0, 0)
        if self.padded:
            x, padding = _padded(x, kernel, stride, self.dialect, self.kind)
        return F.conv2d(x, self.weight, None, stride, padding, groups=self.groups)


class DepthwiseConv(Conv):
    """One filter per channel, without bias: (N, C, H, W) -> (N, C, ceil(H/s), ceil(W/s))."""

    kind = "depthwise_conv"

    def __init__(self, channels: int, kernel: int, stride: int, dialect: Dialect):
        nn.Conv2d.__init__(self, channels, channels, kernel, stride, groups=channels, bias=False)
        self.dialect, self.padded = dialect, True
        nn.init.normal_(self.weight, std=conv_std(kernel, 1))


class MaxPool(nn.Module):
    """Largest value of each window: (N, C, H, W) -> (N, C, ceil(H/s), ceil(W/s))."""

    def __init__(self, kernel: int, stride: int, dialect: Dialect):
        super().__init__()
        # step: pool
        self.kernel, self.stride = kernel, stride
        self.dialect = dialect

    def forward(self, x: Tensor) -> Tensor:
        # step: pool
        # Not zeros: the largest where all else is negative.
        window = self.kernel, self.stride
        lowest = float("-inf")
        rule = self.dialect, "max_pool"
        x, padding = _padded(x, *window, *rule, lowest)
        return F.max_pool2d(x, *window, padding)


class BatchNorm(nn.Module):
    """Batch normalization over N, H and W of (N, C, H, W).

    Unlike `nn.BatchNorm2d` it keeps the *biased* batch variance in its running statistics, as
    the paper's code and Keras do, and names its tensors canonically.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, dialect: Dialect):
        super().__init__()
        self.epsilon, self.momentum = dialect.epsilon, dialect.momentum
        self.scale = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(
                x, self.mean, self.variance, self.scale, self.bias, eps=self.epsilon
            )
        kept = self.momentum * self.variance
        y = F.batch_norm(
            x,
            self.mean,
            self.variance,
            self.scale,
            self.bias,
            training=True,
            momentum=1 - self.momentum,
            eps=self.epsilon,
        )
        self.take_back_correction(kept, x.numel() // len(self.scale))
        return y

    def take_back_correction(self, kept: Tensor, count: int) -> None:
        """Make PyTorch's update of the running variance the one with the biased batch variance.

        PyTorch adds the unbiased one, count / (count - 1) of the biased one, to what was `kept` of
        the running variance (C,), in the pass that normalises.  Of what it added, one part in
        `count` is taken back: one small operation, where to do all of it here would be eight.
        """
        # As data: autograd, which keeps the tensor and has no use for it in training, would refuse
        # to go back through something that was changed since.
        self.variance.data.lerp_(kept, 1 / count)


def activation(x: Tensor, function: Activation) -> Tensor:
    """The function that a specification names, elementwise."""
    return ACTIVATIONS[function.function](x)


def global_average_pool(x: Tensor, keepdims: bool = False) -> Tensor:
    """Mean over height and width: (N, C, H, W) -> (N, C), or (N, C, 1, 1)."""
    # step: pool
    return x.mean((2, 3), keepdim=keepdims)


class Classifier(nn.Linear):
    """Dense layer on the pooled features: (N, C) -> (N, classes)."""

    def __init__(self, channels: int, num_classes: int):
        # step: classifier
        super().__init__(channels, num_classes)
        bound = dense_bound(num_classes)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.zeros_(self.bias)


def endpoint(x: Tensor, name: str, endpoints: dict[str, Tensor] | None) -> Tensor:
    """Keep a value under the name that it can be asked for by."""
    if endpoints is not None:
        endpoints[name] = x
    return x
