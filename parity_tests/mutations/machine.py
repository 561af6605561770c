"""What a mistake is, how one is made, and how it is seen what notices it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np

from efficientnet_rosetta.common.architectures import changed, resolve
from efficientnet_rosetta.common.backends.comparison import compare_endpoints
from efficientnet_rosetta.common.backends.protocol import (
    Backend,
    Gradients,
    Probes,
    Stepped,
    require,
)
from efficientnet_rosetta.common.backends.registry import KERAS, TORCH, get_backend
from efficientnet_rosetta.common.counting import count
from efficientnet_rosetta.common.errors import WeightsError
from efficientnet_rosetta.common.network import PYTORCH, TENSORFLOW, Network
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.common.training.schedules import Optimization
from efficientnet_rosetta.common.weights.calibration import calibrated, structured_images
from efficientnet_rosetta.common.weights.canonical import Weights
from efficientnet_rosetta.common.weights.initial import initial

Apply = Callable[[ExitStack], None]
# What notices a mistake without a claim: the checkpoint no longer fits, or PyTorch stops because
# shapes inside of the network do not.
WEIGHTS, SHAPES = "weights", "shapes"
FREQUENCY = "dropping, frequency"  # of two claims that one function makes
# By what factor an effect may be another one than was stated: machines round differently, and
# chance has a part in what is dropped or drawn.
ORDER = 10

SIDE = 64
RTOL, ATOL = 1e-4, 1e-5  # of allclose, as a test of one's own usually has them
# Ten blocks, of every kind there is, for the claims that take many steps.
HALF = {"width": 0.5, "depth": 0.5}
IN_TRAINING = ("batch_norm", "stochastic_depth", "optimizers")


@dataclass(frozen=True)
class Mutation:
    """A mistake, where it is made, the claim that guards against it, and what that will find."""

    name: str
    claim: str  # a function of common.parity.claims
    apply: Apply
    size: float  # how far off the claim will find it to be, in its order of magnitude
    # What must notice it: WEIGHTS, SHAPES, or the claim, where that has another name than its
    # function.
    by: str | None = None
    preset: str = "b0"  # B0 scales nothing, and so hides mistakes of scaling
    scaling: Mapping[str, float] = field(default_factory=dict, hash=False)  # of the preset

    @property
    def made_in(self) -> Mapping[str, float]:
        """How the preset is scaled where the mistake is studied: B0 is halved for many steps."""
        return HALF if self.claim in IN_TRAINING and self.preset == "b0" else self.scaling

    @property
    def catcher(self) -> str:
        """What must notice it, as `Caught.by` calls it."""
        return self.by or self.claim


@dataclass(frozen=True)
class Caught:
    """What became of a mistake."""

    mutation: Mutation
    by: str  # the claim, WEIGHTS, SHAPES, or the error that was raised; empty if nothing noticed
    size: float  # how far off the claim was; infinite where there is no number
    seen_by_shapes: bool
    seen_on_default_initialisation: bool
    # By how much the logits are off, over the spread of the right ones; of mistakes in inference.
    logits: float | None = None
    # By how much the rate of dropping is off where it is most, as what is kept is scaled by it; of
    # mistakes in dropping, unless parts of a sample are dropped.
    rate: float | None = None
    # By what share of the right number there are more parameters, where weights do not fit.
    parameters: float | None = None

    @property
    def as_stated(self) -> bool:
        """It was noticed by what must notice it, and its effect has the order that was stated.

        That anything at all went wrong is not enough: a mistake that no longer fits the code it is
        made in would then count as caught for ever.
        """
        stated = self.mutation.size
        if math.isinf(stated) or math.isinf(self.size):
            same_order = stated == self.size
        else:
            same_order = stated / ORDER <= self.size <= stated * ORDER
        return self.by == self.mutation.catcher and same_order

    @property
    def row(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "mistake": self.mutation.name,
            "claim": self.mutation.claim,
            "preset": self.mutation.preset,
            "scaling": dict(self.mutation.made_in),
            "caught_by": self.by,
            "size": self.size,
            "logits": self.logits,
            "rate": self.rate,
            "parameters": self.parameters,
            "seen_by_shapes": self.seen_by_shapes,
            "seen_on_default_initialisation": self.seen_on_default_initialisation,
        }


# ------------------------------------------------------------------ the backend that is right

Step = tuple[Any, ...]  # a verb, and what it was given


class Remembered:
    """A backend whose results are kept: nothing is changed in it, so they are always the same.

    Its models are the list of what was done to them; a real one is made where a result is new.
    """

    def __init__(self, backend: Probes) -> None:
        self.backend = backend
        self.results: dict[tuple[str, ...], Any] = {}

    def build(self, network: Network, dtype: str = "float32") -> list[Step]:
        """A model, as yet only by name."""
        return [("build", network, dtype)]

    def load_weights(self, model: list[Step], weights: Weights) -> None:
        """Note which weights."""
        model.append(("load_weights", weights))

    def dump_weights(self, model: list[Step]) -> Weights:
        """What the backend says, or has said."""
        found: Weights = self._result(*model, ("dump_weights",))
        return found

    def run(self, model: list[Step], images: np.ndarray) -> np.ndarray:
        """What the backend says, or has said."""
        found: np.ndarray = self._result(*model, ("run", images))
        return found

    def endpoints(
        self, model: list[Step], images: np.ndarray, names: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """What the backend says, or has said."""
        found: dict[str, np.ndarray] = self._result(*model, ("endpoints", images, names))
        return found

    def gradients(
        self,
        model: list[Step],
        images: np.ndarray,
        labels: np.ndarray,
        smoothing: float = 0.0,
        masks: Mapping[str, np.ndarray] | None = None,
    ) -> Gradients:
        """What the backend says, or has said."""
        found: Gradients = self._result(*model, ("gradients", images, labels, smoothing, masks))
        return found

    def drop_factors(self, model: list[Step], images: np.ndarray) -> dict[str, np.ndarray]:
        """What the backend says, or has said."""
        found: dict[str, np.ndarray] = self._result(*model, ("drop_factors", images))
        return found

    def steps(
        self,
        model: list[Step],
        batches: Iterable[tuple[np.ndarray, np.ndarray]],
        optimization: Optimization,
    ) -> Stepped:
        """Train, and note that it was done."""
        model.append(("steps", list(batches), optimization))
        found: Stepped = self._result(*model)
        return found

    def _result(self, build: Step, *steps: Step) -> Any:
        """The result of the last step."""
        key = tuple(_digest(step) for step in (build, *steps))
        if key not in self.results:
            model, found = self.backend.build(*build[1:]), None
            for verb, *arguments in steps:
                found = getattr(self.backend, verb)(model, *arguments)
            self.results[key] = found
        return self.results[key]


def _digest(value: Any) -> str:
    """A short name for a value, arrays included."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, np.ndarray):
            digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, dict):
            add(list(part.items()))
        elif isinstance(part, list | tuple):
            for entry in part:
                add(entry)
        else:
            digest.update(repr(part).encode())

    add(value)
    return digest.hexdigest()


_RIGHT = Remembered(require(get_backend(KERAS), Probes, KERAS))


def backend_of(name: str) -> Backend:
    """Keras with a memory, and PyTorch, in which the mistakes are, without."""
    return _RIGHT if name == KERAS else get_backend(name)


# ------------------------------------------------------------------ making them, and what notices


@contextmanager
def made(mistake: Mutation) -> Iterator[None]:
    """The mistake is in the code while the block runs."""
    with ExitStack() as stack:
        mistake.apply(stack)
        yield


def study(mistake: Mutation, seed: int = 0) -> Caught:
    """Make a mistake, and see what notices it."""
    network = resolve(mistake.preset, resolution=SIDE, **mistake.made_in)
    with made(mistake), patch.object(claims, "get_backend", backend_of):
        try:
            found = list(getattr(claims, mistake.claim)(network, seed))
        except (RuntimeError, ValueError) as error:
            by = _raised(error)
            more = more_parameters(network) if by == WEIGHTS else None
            return Caught(mistake, by, math.inf, True, True, parameters=more)
        failed = [claim for claim in found if not claim.holds]
        worst = max(failed, key=lambda claim: claim.size / claim.limit, default=None)
        return Caught(
            mistake,
            "" if worst is None else worst.name,
            0.0 if worst is None else worst.size,
            False,
            _seen_on_default_initialisation(network, seed),
            _moved(network, seed) if mistake.claim == "forward" else None,
            rate_off(network, seed) if mistake.claim == "stochastic_depth" else None,
        )


def _raised(error: Exception) -> str:
    """What noticed a mistake that stops the program, by the error that it stopped with."""
    if isinstance(error, WeightsError):
        return WEIGHTS
    # PyTorch has no class of its own for shapes that do not fit; no subclass is raised for them.
    return SHAPES if type(error) is RuntimeError else type(error).__name__


def _moved(network: Network, seed: int) -> float:
    """By how much the logits of PyTorch are off, whichever family of dialects shows it more."""
    largest = []
    for dialect in (TENSORFLOW, PYTORCH):
        one = changed(network, resolution=claims.FORWARD_SIZE, dialect=asdict(dialect))
        images = structured_images(2, one.in_channels, one.resolution, seed + 1)
        logits = {}
        for name in (TORCH, KERAS):
            backend = backend_of(name)
            model = backend.build(one, claims.DTYPE)
            backend.load_weights(model, calibrated(one, seed))
            logits[name] = {"logits": backend.run(model, images)}
        largest.append(compare_endpoints(TORCH, logits[KERAS], logits[TORCH]).output.largest)
    return max(largest)


def rate_off(network: Network, seed: int) -> float | None:
    """By how much the rate of PyTorch is off where it is most: what is kept is over 1 - rate.

    Unlike how often something is dropped, this has no part of chance.
    """
    network = changed(network, resolution=claims.TINY)
    backend = require(get_backend(TORCH), Probes, TORCH)
    model = backend.build(network)
    backend.load_weights(model, calibrated(network, seed))
    images = structured_images(claims.SAMPLES, network.in_channels, network.resolution, seed)
    factors = backend.drop_factors(model, images)
    off = []
    for role, rate in claims.rates_of_dropping(network).items():
        kept = factors[role][factors[role] != 0]
        if not np.isfinite(kept).all():
            return None
        off += list(np.abs(1 - 1 / kept - rate))
    return float(max(off))


def more_parameters(network: Network) -> float:
    """By what share of the right number PyTorch's model has more parameters, or fewer."""
    model = get_backend(TORCH).build(network)
    right = count(network).trainable
    return sum(parameter.numel() for parameter in model.parameters()) / right - 1


def _seen_on_default_initialisation(network: Network, seed: int) -> bool:
    """What comparing the outputs of two models with the official initialisation would say."""
    images = structured_images(2, network.in_channels, network.resolution, seed)
    outputs = []
    for name in (TORCH, KERAS):
        backend = backend_of(name)
        model = backend.build(network)
        backend.load_weights(model, initial(network, seed))
        outputs.append(backend.run(model, images))
    return not np.allclose(outputs[0], outputs[1], rtol=RTOL, atol=ATOL)
