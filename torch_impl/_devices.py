"""What makes a device fast: its arithmetic, the layout of maps in memory, compiled programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import which
from typing import Any

import numpy as np
import torch
from torch import nn

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.state import LOSS_SCALE
from efficientnet_rosetta.common.weights.canonical import Weights

ARITHMETIC = {
    "float32": "float32, multiplied as TF32",
    "bfloat16": "bfloat16 where it is multiplied",
    "float16": "float16 where it is multiplied, with a loss that is scaled",
    "float64": "float64",
}
LAST, FIRST = torch.channels_last, torch.contiguous_format
COMPILERS = ("g++", "clang++", "c++", "cl")  # of C++; PyTorch needs one to compile


def layout(training: Training, device: torch.device) -> torch.memory_format:
    """How maps lie in memory.

    With their channels last a step takes 0.65 to 0.8 of the time on a CPU (B0, 32 to 128 pixels,
    one thread), and it is what the tensor cores of NVIDIA's GPUs read.  Neither has kernels for
    float64 that gain by it.
    """
    fast = device.type in ("cpu", "cuda") and training.precision != "float64"
    return LAST if fast else FIRST


@contextmanager
def fast_arithmetic(training: Training, device: torch.device) -> Iterator[None]:
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


def said(training: Training, device: torch.device, processes: int) -> str:
    """What was chosen for a GPU, in a line."""
    devices = f"{processes} x " if processes > 1 else ""
    order = "last" if layout(training, device) is LAST else "first"
    return (
        f"on {devices}{torch.cuda.get_device_name(device)}: {ARITHMETIC[training.precision]}, "
        f"channels {order}" + (", compiled" if training.compile else "")
    )


def tell(training: Training, device: torch.device, processes: int) -> None:
    """Say what was chosen; on a CPU nothing is that anybody would see in the numbers."""
    if device.type == "cuda":
        sys.stderr.write(f"{said(training, device, processes)}\n")


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
