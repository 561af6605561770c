"""A backend in a process of its own, with other settings than the one of this process.

Keras takes the framework that it runs on from the environment when it is imported, so that a
process has one.  Images, weights and values pass through files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .._util.child import last_line, run_module
from ..errors import MissingDependencyError, RosettaError, UsageError
from ..network import Network
from ..weights.canonical import Weights, load, save
from .protocol import Tracer, Variants, loaded, require
from .registry import get_backend
from .trace import Trace


@dataclass
class RemoteModel:
    """A model that is built where it runs."""

    network: Network
    dtype: str
    weights: Weights | None = None


class ProcessBackend:
    """The verbs of a backend that parity needs, in one of the backend's variants.

    Raises:
        RosettaError: the backend has no variants.
        UsageError: it has no such variant.
        MissingDependencyError: what the variant runs on is not installed.
    """

    def __init__(self, backend: str, variant: str):
        variants = require(get_backend(backend), Variants, backend).variants()
        if variant not in variants:
            known = f"choose from {', '.join(variants)}" if variants else "there are none"
            raise UsageError(f"unknown variant {variant!r} of {backend}; {known}")
        found = variants[variant]
        if find_spec(found.package) is None:
            raise MissingDependencyError(
                f"{backend} on {variant} needs {found.package}, which is not installed; "
                f"run: pip install {found.package}",
                package=found.package,
            )
        self.backend, self.variant, self.environment = backend, variant, found.environment

    def build(self, network: Network, dtype: str = "float32") -> RemoteModel:
        """A model with no weights yet."""
        return RemoteModel(network, dtype)

    def load_weights(self, model: RemoteModel, weights: Weights) -> None:
        """Take canonical weights along."""
        model.weights = weights

    def endpoints(
        self, model: RemoteModel, images: np.ndarray, names: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Inference, keeping the named endpoints (all by default) of images (N, C, H, W)."""
        return self._run(model, images, {"names": None if names is None else list(names)})

    def trace(self, model: RemoteModel, endpoint: str, value: np.ndarray) -> Trace:
        """The operations that lead to an endpoint from the one before, whose value is given."""
        found = Trace()
        for name, array in self._run(model, value, {"endpoint": endpoint}).items():
            found.keep(name, array)
        return found

    def _run(
        self, model: RemoteModel, value: np.ndarray, asked: dict[str, Any]
    ) -> dict[str, np.ndarray]:
        with TemporaryDirectory() as folder:
            if model.weights is None:
                raise ValueError("the model has no weights yet; load some")
            save(Path(folder, "weights.safetensors"), model.network, model.weights)
            np.save(Path(folder, "value.npy"), value)
            asked = {"backend": self.backend, "dtype": model.dtype, **asked}
            Path(folder, "asked.json").write_text(json.dumps(asked))
            done = run_module(__name__, folder, self.environment)
            if done.returncode:
                raise RosettaError(f"{self.backend} on {self.variant} failed: {last_line(done)}")
            with np.load(Path(folder, "found.npz")) as found:
                return {name: found[name] for name in found.files}


def main() -> None:
    """Do what the folder named on the command line asks for, and leave the values there."""
    folder = Path(sys.argv[1])
    asked = json.loads((folder / "asked.json").read_text())
    network, weights = load(folder / "weights.safetensors")
    value = np.load(folder / "value.npy")
    backend = get_backend(asked["backend"])
    model = loaded(backend, network, weights, asked["dtype"])
    found: dict[str, Any]
    if "endpoint" in asked:
        tracer = require(backend, Tracer, asked["backend"])
        found = {step.name: step.value for step in tracer.trace(model, asked["endpoint"], value)}
    else:
        found = backend.endpoints(model, value, asked["names"])
    np.savez(folder / "found.npz", **found)


if __name__ == "__main__":
    main()
