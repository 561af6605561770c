"""The Keras program on another of Keras's backends, in a process of its own.

Keras takes its backend from the environment when it is imported, so that a process has one.
`python -m common.elsewhere` is that process; images, weights and values pass through files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from common.backend import get_backend
from common.errors import RosettaError
from common.spec import Network
from common.tracing import Trace
from common.weights import Weights, load, save

# A program that runs once is not worth XLA's optimizations, which take ten seconds.
SETTINGS = {"XLA_FLAGS": "--xla_backend_optimization_level=0", "TF_CPP_MIN_LOG_LEVEL": "3"}
KERAS_BACKENDS = ("tensorflow", "jax", "torch")


@dataclass
class Described:
    """A model that is built where it runs."""

    network: Network
    dtype: str
    weights: Weights | None = None


class KerasOn:
    """The verbs of `common.backend.Backend` that parity needs, on one of Keras's backends."""

    def __init__(self, name: str):
        if name not in KERAS_BACKENDS:
            choices = ", ".join(KERAS_BACKENDS)
            raise RosettaError(f"unknown Keras backend {name!r}; choose from {choices}")
        if find_spec(name) is None:
            raise RosettaError(
                f"Keras on {name} needs {name}, which is not installed; run: pip install {name}"
            )
        self.name = name

    def build(self, network: Network, dtype: str = "float32") -> Described:
        """A model with no weights yet."""
        return Described(network, dtype)

    def load_weights(self, model: Described, weights: Weights) -> None:
        """Take canonical weights along."""
        model.weights = weights

    def endpoints(
        self, model: Described, images: np.ndarray, names: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Inference, keeping the named endpoints (all by default) of images (N, C, H, W)."""
        return self._run(model, images, {"names": None if names is None else list(names)})

    def trace(self, model: Described, endpoint: str, value: np.ndarray) -> Trace:
        """The operations that lead to an endpoint from the one before, whose value is given."""
        found = Trace()
        for name, array in self._run(model, value, {"endpoint": endpoint}).items():
            found.keep(name, array)
        return found

    def _run(self, model: Described, value: np.ndarray, asked: dict) -> dict[str, np.ndarray]:
        with TemporaryDirectory() as folder:
            save(Path(folder, "weights.safetensors"), model.network, model.weights)
            np.save(Path(folder, "value.npy"), value)
            Path(folder, "asked.json").write_text(json.dumps({"dtype": model.dtype, **asked}))
            done = subprocess.run(
                [sys.executable, "-P", "-m", "common.elsewhere", folder],
                capture_output=True,
                text=True,
                env={**os.environ, **SETTINGS, "KERAS_BACKEND": self.name},
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["ended without a word"])[-1]
                raise RosettaError(f"Keras on {self.name} failed: {last}")
            with np.load(Path(folder, "found.npz")) as found:
                return {name: found[name] for name in found.files}


def main() -> None:
    """Do what the folder named on the command line asks for, and leave the values there."""
    folder = Path(sys.argv[1])
    asked = json.loads((folder / "asked.json").read_text())
    network, weights = load(folder / "weights.safetensors")
    value = np.load(folder / "value.npy")
    backend = get_backend("keras")
    model = backend.build(network, asked["dtype"])
    backend.load_weights(model, weights)
    if "endpoint" in asked:
        found = {step.name: step.value for step in backend.trace(model, asked["endpoint"], value)}
    else:
        found = backend.endpoints(model, value, asked["names"])
    np.savez(folder / "found.npz", **found)


if __name__ == "__main__":
    main()
