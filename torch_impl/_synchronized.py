"""Batch norm over the batches of all processes, as if they were one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._compat import synchronized_batch_norm
from .layers import BatchNorm


class SynchronizedBatchNorm(BatchNorm):
    """Batch normalization over the batches of all processes, which are of the same size."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if not self.training:
            return super().forward(x)
        if x.is_cuda:
            return self.on_cuda(x)
        values = x.to(self.mean.dtype)
        mean = _mean(values)
        centred = values - mean[:, None, None]
        variance = _mean(centred.square())
        with torch.no_grad():
            self.mean.lerp_(mean, 1 - self.momentum)
            self.variance.lerp_(variance, 1 - self.momentum)
        scale = self.scale * (variance + self.epsilon).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def on_cuda(self, x: Tensor) -> Tensor:
        """PyTorch's own kernels, which it has for GPUs only: (N, C, H, W) -> (N, C, H, W)."""
        processes = torch.distributed.get_world_size()
        kept = self.momentum * self.variance
        y = synchronized_batch_norm(
            x,
            self.scale,
            self.bias,
            self.mean,
            self.variance,
            self.epsilon,
            1 - self.momentum,
            processes,
        )
        self.take_back_correction(kept, processes * x.numel() // len(self.scale))
        return y


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient.contiguous())


def _mean(x: Tensor) -> Tensor:
    """Of every channel, over all processes, whose batches are of the same size."""
    return _Sum.apply(x.mean((0, 2, 3))) / torch.distributed.get_world_size()
