"""What a backend is: a small core, and further parts that it may have.

Everything above the backends talks to these protocols only.  A module that keeps `Backend` is run
by `rosetta parity`; what else it can do it says by keeping one of the other protocols too, which
is asked with `provides`.  Images and maps cross this border as (N, C, H, W), whatever the
framework keeps inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar

import numpy as np

from ..errors import RosettaError
from ..network import Network
from ..weights.canonical import Weights
from .trace import Trace

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..images.batches import Batches
    from ..training.plan import Training
    from ..training.run import Run, Scores
    from ..training.schedules import Optimization

OPSET = 18  # of ONNX; the exporters use nothing newer, and onnxruntime has had it since 1.14


class Backend(Protocol):
    """The core.  A model is the framework's own object, with nothing around it."""

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


class FeatureBuilder(Backend, Protocol):
    """A backend that builds a network without its head, for detection and segmentation."""

    def build_features(
        self, network: Network, weights: Weights | None = None, dtype: str = "float32"
    ) -> Any:
        """A trainable model whose outputs are the last map of each resolution, the largest first.

        Maps are in the framework's own order of axes.  `weights` are those of the network.
        """


class Tracer(Backend, Protocol):
    """A backend that shows every operation, so that a difference can be found in one of them."""

    def trace(self, model: Any, endpoint: str, value: np.ndarray) -> Trace:
        """The operations that lead to an endpoint from the one before, whose value is given.

        Inference; `value` is (N, C, H, W), or the images for the first endpoint.
        """


class Exporter(Backend, Protocol):
    """A backend that writes ONNX."""

    def export_onnx(
        self, model: Any, network: Network, endpoints: bool = False, opset: int = OPSET
    ) -> ModelProto:
        """A checked ONNX model with a dynamic batch, described in its metadata.

        Raises `ValueError` if the model is not of this network, its resolution apart.
        """


Judge = Callable[[int, np.ndarray, np.ndarray], None]


class Trainer(Backend, Protocol):
    """A backend with a training loop."""

    def fit(self, training: Training, weights: Weights, run: Run) -> None:
        """The framework's own training loop: from weights, or on from the state of the run.

        Raises `RosettaError` if the loss is no number, or images cannot be read, and
        `KeyboardInterrupt` if the run is to stop.
        """

    def evaluate(
        self,
        model: Any,
        batches: Batches,
        run: Run,
        workers: int = 0,
        judge: Judge | None = None,
    ) -> Scores:
        """Scores of the model on all images that can be read; `RosettaError` if none can.

        `judge` is told of every batch of which anything can be read, in their order: its number,
        the logits (read, classes) of that, and its labels (N,), which are negative where a place
        has no image.
        """


@dataclass(frozen=True)
class Gradients:
    """A batch's loss, and its gradient at the images (N, C, H, W) and at what is trained."""

    loss: float
    image: np.ndarray
    weights: Weights  # canonical names and orientation


@dataclass(frozen=True)
class Stepped:
    """The loss of every step, and the moving average of all tensors where one was asked for."""

    losses: tuple[float, ...]
    average: Weights | None


class Probes(Backend, Protocol):
    """A backend whose training can be looked at step by step, which the claims do."""

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

    def steps(
        self,
        model: Any,
        batches: Iterable[tuple[np.ndarray, np.ndarray]],
        optimization: Optimization,
    ) -> Stepped:
        """One step on each batch of images (N, C, H, W) and labels (N,); nothing is dropped."""

    def drop_factors(self, model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
        """What is multiplied by what in training: (N,) of each block's branch, by its role.

        0 for a sample that is dropped, and not a number where its values differ in that.  Of
        "dropout" it is one factor for each feature of each sample that is not 0.
        """


@dataclass(frozen=True)
class Variant:
    """A way to run a backend: what must be installed, and what the environment must say.

    `current` is that in which this process runs it.
    """

    package: str
    environment: Mapping[str, str] = field(default_factory=dict)
    current: bool = False


class Variants(Backend, Protocol):
    """A backend that can also be run in other ways, each in a process of its own."""

    def variants(self) -> Mapping[str, Variant]:
        """The ways in which it can be run, by name."""


class Described(Backend, Protocol):
    """A backend that says what its results depend on."""

    def versions(self) -> dict[str, str]:
        """The framework's libraries and settings that a result depends on."""


class Loadable(Protocol):
    """What `loaded` asks of a backend, wherever that runs."""

    def build(self, network: Network, dtype: str = "float32") -> Any:
        """As `Backend.build`."""

    def load_weights(self, model: Any, weights: Weights) -> None:
        """As `Backend.load_weights`."""


def loaded(backend: Loadable, network: Network, weights: Weights, dtype: str = "float32") -> Any:
    """A model of a network that has canonical weights.

    Raises:
        WeightsError: the weights are not those of the network.
    """
    model = backend.build(network, dtype)
    backend.load_weights(model, weights)
    return model


Part = TypeVar("Part", bound=Backend)


def provides(backend: object, part: type[Part]) -> TypeGuard[Part]:
    """Whether a backend has all verbs of a part."""
    return not _lacking(backend, part)


def require(backend: object, part: type[Part], name: str) -> Part:
    """The backend, as one that has a further part.

    Raises:
        RosettaError: it does not.
    """
    if not provides(backend, part):
        lacking = " and no ".join(_lacking(backend, part))
        raise RosettaError(f"backend {name!r} cannot do this: it has no {lacking}")
    return backend


def _lacking(backend: object, part: type[Part]) -> list[str]:
    # Not isinstance: what it looks at in a protocol is another thing from Python 3.12 on.
    verbs = [verb for kind in part.__mro__[:-3] for verb in vars(kind) if verb[0] != "_"]
    return [verb for verb in verbs if not hasattr(backend, verb)]
