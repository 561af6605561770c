"""Sound files that only a framework writes.

    python -m parity_tests.fuzz.exported KIND PATH

Each is made by a process of its own: the threads that a framework leaves running in this one would
not survive the fork that every case begins with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from efficientnet_rosetta.common.backends.protocol import loaded
from efficientnet_rosetta.common.backends.registry import KERAS, TORCH, get_backend

from .networks import network, weights


def exported(kind: str, name: str) -> Callable[[Path], Path]:
    """What writes a file of a kind into a folder, and returns its path."""

    def make(folder: Path) -> Path:
        path = folder / name
        command = [sys.executable, "-m", __name__, kind, str(path)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=quiet, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{kind} was not exported: {done.stderr}")
        return path

    return make


def _torch(preset: str = "custom") -> tuple[Any, tuple[Any]]:
    """A model in inference, and the arguments to trace it with."""
    import torch

    found = network(preset)
    model = loaded(get_backend(TORCH), found, weights(preset)).eval()
    return model, (torch.zeros(1, found.in_channels, *found.resolution),)


def script(path: Path) -> None:
    """TorchScript, by tracing."""
    import torch

    torch.jit.trace(*_torch()).save(path)


def program(path: Path) -> None:
    """An archive of torch.export."""
    import torch

    torch.export.save(torch.export.export(*_torch()), path)


def distributed(path: Path) -> None:
    """A folder of torch.distributed.checkpoint."""
    from torch.distributed import checkpoint

    model, _ = _torch()
    checkpoint.save({"model": model.state_dict()}, checkpoint_id=path, no_dist=True)


def external(path: Path) -> None:
    """ONNX with its values in a file beside it, by PyTorch's exporter of torch.export."""
    import torch

    torch.onnx.export(*_torch(), str(path), dynamo=True, external_data=True, verbose=False)


def graph(path: Path) -> None:
    """ONNX with folded batch norms, which has to be recognised by its operations."""
    import torch

    torch.onnx.export(*_torch("b0"), str(path), dynamo=False, opset_version=17)


def lite(path: Path) -> None:
    """TensorFlow Lite."""
    import tensorflow as tf

    found = network("b0")
    model = loaded(get_backend(KERAS), found, weights("b0"))
    spec = tf.TensorSpec((1, *found.resolution, found.in_channels), tf.float32)
    function = tf.function(model).get_concrete_function(spec)
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())


KINDS = {made.__name__: made for made in (script, program, distributed, external, graph, lite)}


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        KINDS[sys.argv[1]](Path(sys.argv[2]))
