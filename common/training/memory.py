"""How large a batch may be: what training keeps of an image, and how much room there is."""

from __future__ import annotations

import math
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from ..network import Activation, Layer, Network
from .recipe import Recipe

STEPS = 4  # of an epoch, at least: fewer are hardly a training
SMALLEST = 8  # images: batch norm's statistics are of a batch
ROOM = 0.7  # share of what is free; the rest is for gradients in passing, and for others
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}  # of a value
COPIES = 5  # of the weights, in float32: themselves, gradient, two of the optimizer, average
SECONDS = 5.0  # that a driver may take to answer

MEMINFO = Path("/proc/meminfo")  # Linux
LIMIT, USED = (Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current"))


# ------------------------------------------------------------------ what a batch takes


def image_bytes(network: Network, precision: str) -> int:
    """What the gradient needs of one image: the map behind every layer and every activation."""
    values = 0
    for section in network.sections:
        for operation in section.path:
            if isinstance(operation, Layer):
                size, channels = operation.output_size, operation.out_channels
                values += math.prod(size) * channels
            elif isinstance(operation, Activation):
                values += math.prod(size) * channels  # of the layer before
    return values * BYTES[precision]


def weight_bytes(network: Network) -> int:
    """What does not grow with the batch: the weights, and all that is kept in their shapes."""
    return sum(map(math.prod, network.tensors.values())) * BYTES["float32"] * COPIES


# ------------------------------------------------------------------ what there is


def free_bytes() -> int | None:
    """What is free on the fullest GPU, or in the machine's memory; None where nothing says."""
    found = _of_gpus()
    return _of_machine() if found is None else found


def _of_gpus() -> int | None:
    """By NVIDIA's own tool, which asks no framework."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
        return min(int(line) for line in said.stdout.split()) * 2**20
    return None


def _of_machine() -> int | None:
    """By Linux: what is available, and what is left of the limit of a container."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = MEMINFO.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 2**10)
    with suppress(OSError, ValueError):  # the limit may be "max"
        found.append(int(LIMIT.read_text()) - int(USED.read_text()))
    return max(0, min(found)) if found else None


# ------------------------------------------------------------------ the batch


def fitting_batch(
    recipe: Recipe, network: Network, images: int, precision: str, devices: int, free: int | None
) -> tuple[int, str]:
    """The batch of a recipe, or the largest power of two below it that fits; and why it does not.

    It must leave some steps to an epoch of so many images, and its maps must fit into what is
    free.  On several devices each has such a part of it; how much is free there is not asked, as
    the answers may be different ones.
    """
    data = max(images // STEPS, min(SMALLEST, images))
    memory: float = math.inf
    if free is not None and devices == 1:
        left = ROOM * free - weight_bytes(network)
        memory = max(1.0, left / image_bytes(network, precision) * recipe.accumulation)
    most, parts = min(data, memory), devices * recipe.accumulation
    if recipe.batch <= most and recipe.batch % parts == 0:
        return recipe.batch, ""
    batch = parts * 2 ** int(math.log2(max(1, min(int(most), recipe.batch) // parts)))
    why = "memory" if memory < data else f"{images:,} images to train on"
    return batch, f"the recipe's {recipe.batch:,} does not fit the {why}"
