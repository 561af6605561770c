"""What a backend is, and finding one by name.

A backend is a module that keeps the `Backend` protocol and is registered under the entry-point
group `rosetta.backends`; everything above the backends talks to this protocol only.  Nothing
is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.errors import RosettaError
from common.spec import Network
from common.weights import Weights

if TYPE_CHECKING:
    from onnx import ModelProto

GROUP = "rosetta.backends"
OPSET = 18  # of ONNX; the exporters use nothing newer, and onnxruntime has had it since 1.14


class Backend(Protocol):
    """The verbs of a backend.  A model is the framework's own object, with nothing around it.

    Images and maps cross this border as (N, C, H, W) whatever the framework keeps inside.
    """

    def build(self, network: Network, dtype: str = "float32") -> Any:
        """A model with the official initialisation; `dtype` is "float32" or "float64"."""

    def load_weights(self, model: Any, weights: Weights) -> None:
        """Copy canonical weights in; `WeightsError` if names or shapes do not fit both ways."""

    def dump_weights(self, model: Any) -> Weights:
        """Canonical copies of the model's weights, in the model's dtype."""

    def run(self, model: Any, images: np.ndarray) -> np.ndarray:
        """Inference: images (N, C, H, W) -> logits (N, classes), or features if headless."""

    def endpoints(
        self, model: Any, images: np.ndarray, names: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Inference, keeping the named endpoints (all by default): maps (N, C, H, W), then vectors.

        Raises `ValueError` for a name that is not one of `Network.endpoints`.
        """

    def export_onnx(
        self, model: Any, network: Network, endpoints: bool = False, opset: int = OPSET
    ) -> ModelProto:
        """A checked ONNX model with a dynamic batch, described in its metadata."""

    def read_checkpoint(self, path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
        """A file in the framework's own format: (nested) names of `formats.Stored` tensors.

        Beside them the metadata that `write_checkpoint` left, empty in anybody else's file.

        It is read as data: nothing in it is run.  Raises `RosettaError` where it cannot be.
        """

    def write_checkpoint(
        self, path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
    ) -> None:
        """Write arrays under their names in the framework's own format.

        The metadata is kept where no loader stumbles over it, and dropped if there is no place.
        """

    def versions(self) -> dict[str, str]:
        """The framework's libraries and settings that a result depends on."""


def backend_names() -> list[str]:
    """The registered backends, whether their framework is installed or not."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def get_backend(name: str) -> Backend:
    """Import a backend.

    Raises:
        RosettaError: no such backend, or its framework is not installed.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise RosettaError(f"unknown backend {name!r}; choose from {', '.join(sorted(found))}")
    try:
        return found[name].load()
    except ModuleNotFoundError as error:
        raise RosettaError(
            f"backend {name!r} needs {error.name}, which is not installed; "
            f"run: pip install 'efficientnet-rosetta[{name}]'"
        ) from None


def check_endpoints(known: Iterable[str], names: Iterable[str] | None) -> list[str]:
    """The names asked for, all of them if none were.

    Raises:
        ValueError: one is not known.
    """
    known = list(known)
    names = known if names is None else list(names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown endpoint {unknown[0]!r}; choose from {', '.join(known)}")
    return names


def to_layout(images: np.ndarray, channels_last: bool) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C) where the framework keeps channels last."""
    return images.transpose(0, 2, 3, 1) if channels_last else images


def from_layout(value: np.ndarray, channels_last: bool) -> np.ndarray:
    """The inverse of `to_layout` for a map; a vector (N, C) stays as it is."""
    return value.transpose(0, 3, 1, 2) if channels_last and value.ndim == 4 else value
