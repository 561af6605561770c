"""What a backend is, and finding one by name.

A backend is a module that keeps the `Backend` protocol and is registered under the entry-point
group `rosetta.backends`; everything above the backends talks to this protocol only.  Nothing
is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.architectures import ARCHITECTURES
from common.errors import RosettaError
from common.recipe import Optimization
from common.spec import Network
from common.tracing import Trace
from common.weights import Weights

if TYPE_CHECKING:
    from onnx import ModelProto

    from common.data import Batches
    from common.training import Run, Scores, Training

GROUP = "rosetta.backends"
DROPOUT = "dropout"  # that before the classifier, where masks are given by role
OPSET = 18  # of ONNX; the exporters use nothing newer, and onnxruntime has had it since 1.14


@dataclass(frozen=True)
class Gradients:
    """A batch's loss, and its gradient at the images (N, C, H, W) and at what is trained."""

    loss: float
    image: np.ndarray
    weights: Weights  # canonical names and orientation


@dataclass(frozen=True)
class Trained:
    """The loss of every step, and the moving average of all tensors where one was asked for."""

    losses: tuple[float, ...]
    average: Weights | None


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

    def trace(self, model: Any, endpoint: str, value: np.ndarray) -> Trace:
        """The operations that lead to an endpoint from the one before, whose value is given.

        Inference; `value` is (N, C, H, W), or the images for the first endpoint.
        """

    def export_onnx(
        self, model: Any, network: Network, endpoints: bool = False, opset: int = OPSET
    ) -> ModelProto:
        """A checked ONNX model with a dynamic batch, described in its metadata."""

    def gradients(
        self,
        model: Any,
        images: np.ndarray,
        labels: np.ndarray,
        smoothing: float = 0.0,
        masks: Mapping[str, np.ndarray] | None = None,
    ) -> Gradients:
        """Loss and gradients of a batch (N, C, H, W) in training, what is dropped being given.

        `masks` has 1 for what is kept: (N,) of a block's role, (N, features) of "dropout"; nothing
        is dropped where it has none.
        """

    def train(
        self,
        model: Any,
        batches: Iterable[tuple[np.ndarray, np.ndarray]],
        optimization: Optimization,
    ) -> Trained:
        """One step on each batch of images (N, C, H, W) and labels (N,); nothing is dropped."""

    def fit(self, training: Training, weights: Weights, run: Run, progress: bool = False) -> None:
        """The framework's own training loop: from weights, or on from the state of the run.

        Raises `RosettaError` if the loss is no number, or images cannot be read, and
        `KeyboardInterrupt` if the run is to stop.
        """

    def evaluate(self, model: Any, batches: Batches, run: Run, workers: int = 0) -> Scores:
        """Scores of the model on all images that can be read; `RosettaError` if none can."""

    def drop_factors(self, model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
        """What is multiplied by what in training: (N,) of each block's branch, by its role.

        0 for a sample that is dropped, and not a number where its values differ in that.  Of
        "dropout" it is one factor for each feature of each sample that is not 0.
        """

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


def model_maker(package: str, network: Network) -> Callable[[Network], Any]:
    """What makes a model of a network's architecture in a backend's package."""
    architecture = ARCHITECTURES[network.architecture]
    return getattr(import_module(f"{package}.{architecture.name}"), architecture.model)


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


def drop_factors_of(role: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The factors of `Backend.drop_factors` from values (N, ...) before and after dropping."""
    before, after = (
        values.reshape(len(values), -1).astype(np.float64) for values in (before, after)
    )
    if role != DROPOUT:
        return _common_factors(before, after)
    alive = before != 0
    return after[alive] / before[alive]


def _common_factors(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The factor that turns each row of `before` (N, values) into that of `after`; NaN if none."""
    # The largest value of a row has the most certain ratio.
    rows, largest = np.arange(len(before)), np.abs(before).argmax(1)
    factors = after[rows, largest] / before[rows, largest]
    same = np.isclose(after, before * factors[:, None], rtol=1e-5, atol=1e-9).all(1)
    return np.where(same, factors, np.nan)
