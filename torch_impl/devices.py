"""What devices need: arithmetic, the layout of maps in memory, seeds, and one batch norm for all.

The same program as `keras_impl/devices.py`, name for name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import which
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.state import LOSS_SCALE
from efficientnet_rosetta.common.weights.canonical import Weights

from ._compat import synchronized_batch_norm
from .layers import BatchNorm
from .weights import network_of

ARITHMETIC = {
    "float32": "float32, multiplied as TF32",
    "bfloat16": "bfloat16 where it is multiplied",
    "float16": "float16 where it is multiplied, with a loss that is scaled",
    "float64": "float64",
}
LAST, FIRST = torch.channels_last, torch.contiguous_format
COMPILERS = ("g++", "clang++", "c++", "cl")  # of C++; PyTorch needs one to compile


def layout(precision: str, device: torch.device) -> torch.memory_format:
    """How maps lie in memory, whose arithmetic is of a precision.

    With their channels last a step takes 0.65 to 0.8 of the time on a CPU (B0, 32 to 128 pixels,
    one thread), and it is what the tensor cores of NVIDIA's GPUs read.  Neither has kernels for
    float64 that gain by it.
    """
    fast = device.type in ("cpu", "cuda") and precision != "float64"
    return LAST if fast else FIRST


@contextmanager
def arithmetic(training: Training, device: torch.device) -> Iterator[None]:
    """Let NVIDIA's GPUs multiply float32 as TF32, which keeps ten of its 23 bits, and say so.

    Convolutions do so by PyTorch's default; elsewhere it would be in products of matrices that all
    bits were kept.  NVIDIA_TF32_OVERRIDE=0 in the environment is how to keep all of them.
    """
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _said(training: Training, device: torch.device, processes: int) -> str:
    """What was chosen for a GPU, in a line."""
    devices = f"{processes} x " if processes > 1 else ""
    order = "last" if layout(training.precision, device) is LAST else "first"
    return (
        f"on {devices}{torch.cuda.get_device_name(device)}: {ARITHMETIC[training.precision]}, "
        f"channels {order}" + (", compiled" if training.compile else "")
    )


def tell(training: Training, device: torch.device, processes: int) -> None:
    """Say what was chosen; on a CPU nothing is that anybody would see in the numbers."""
    if device.type == "cuda":
        sys.stderr.write(f"{_said(training, device, processes)}\n")


def sends_levels(batches: Batches, device: torch.device) -> bool:
    """Whether images go to the device as levels of uint8, which are a quarter of the bytes."""
    return device.type == "cuda" and batches.has_levels


def compile_model(model: nn.Module, device: torch.device, processes: int) -> None:
    """Have PyTorch make programs of a model, which happens when it is used first.

    On one GPU they are recorded and replayed as CUDA graphs: a small batch is mostly launching.

    Raises:
        UsageError: it cannot, as there is no compiler.
    """
    if not any(map(which, COMPILERS)):
        raise UsageError(
            "there is no C++ compiler, which PyTorch needs to compile a network; install one, or "
            "train without",
            argument="compile",
        )
    graphs = device.type == "cuda" and processes == 1
    options: dict[str, Any] = {"mode": "reduce-overhead"} if graphs else {}
    model.compile(dynamic=False, **options)


# ------------------------------------------------------------------ what a step depends on


def set_seed(device: torch.device, seed: int) -> None:
    """Begin again with what is random, on one device and the CPU.

    `torch.manual_seed` does so for every kind of device that there might be, which takes 0.4 ms.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def dump_scale(scaler: torch.amp.GradScaler | None) -> dict[str, Weights]:
    """What float16 scales the loss by, and for how many steps, as one more slot of a state."""
    if scaler is None:
        return {}
    state = scaler.state_dict()
    scale, steps = np.array([state["scale"]]), np.array([state["_growth_tracker"]])
    return {LOSS_SCALE: {"scale": scale, "steps": steps}}


def load_scale(scaler: torch.amp.GradScaler | None, slots: dict[str, Weights]) -> None:
    """Go on with the scale of a state, where it has one."""
    if scaler is None or LOSS_SCALE not in slots:
        return
    found = slots[LOSS_SCALE]
    scale, steps = found["scale"].item(), found["steps"].item()
    scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": steps})


# ------------------------------------------------------------------ batch norm


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


def synchronize(model: nn.Module) -> None:
    """Have every batch norm see the batches of all processes; its tensors stay the same ones."""
    dialect = network_of(model).dialect
    for name, module in list(model.named_modules()):
        if isinstance(module, BatchNorm):
            synchronized = SynchronizedBatchNorm(len(module.scale), dialect)
            synchronized.scale, synchronized.bias = module.scale, module.bias
            synchronized.mean, synchronized.variance = module.mean, module.variance
            model.set_submodule(name, synchronized.train(module.training))
