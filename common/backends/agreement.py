"""Two programs run on the same images in float64, and judged; where they differ, the operation.

What is compared are the features and the logits, on a photograph and on structured noise, at two
sizes.  The sides of the second are odd at other strides than those of the first, where padding
rules differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import RosettaError
from ..images.decode import PHOTOGRAPH, photograph
from ..network import Network, Size
from ..weights.calibration import calibrated, structured_images
from ..weights.canonical import Weights
from .align import OPERATION, first_divergence, operation_sentences, relative_error
from .judgement import (
    FLOOR,
    Judged,
    Values,
    apart,
    explained_by_float32,
    explained_by_noise,
    judge,
    relative,
    says_something,
    scales,
    with_noise,
)
from .protocol import Backend, Tracer, loaded, provides
from .registry import REFERENCE
from .trace import Trace

SIZES: tuple[Size, ...] = ((96, 96), (97, 71))  # pixels: as few as leave maps with an inside
HEADLESS = ("features",)
ENDPOINTS = ("features", "logits")
PARTED = 1e-9  # relative error of an endpoint that is no rounding of one or a few sections
SMALLEST = 1e-15  # that rounding leaves
# What the frameworks say in their own classes of errors when memory ends.
FULL = ("memory", "ResourceExhausted", "OOM")


@dataclass(frozen=True)
class Agreement:
    """What two programs on the same images came to."""

    judged: Judged
    difference: str = ""  # the first operation that differs, in words; empty where they agree
    calibrated: bool = False  # run with calibrated weights, for their own magnify rounding too much


NOWHERE = Judged("logits", np.inf, 0.0)  # there are no two values to compare


@dataclass(frozen=True)
class Foreign:
    """A program that is not ours, such as a graph in onnxruntime.

    `run` takes images (N, C, H, W) to values by endpoint, "features" and "logits", of which one
    may be missing.  With `up_to_a_constant`, its logits are known up to one number an image, as
    where it ends in a softmax.
    """

    name: str
    run: Callable[[np.ndarray], dict[str, np.ndarray]]
    up_to_a_constant: bool = False


class Model:
    """A network in a backend with the weights of a file, built once."""

    def __init__(
        self, name: str, backend: Backend, network: Network, weights: Weights, dtype: str
    ) -> None:
        self.name, self.backend, self.network = name, backend, network
        self.weights = {tensor: weights[tensor] for tensor in network.tensors}
        self.dtype = dtype

    @cached_property
    def model(self) -> Any:
        """The framework's own object.

        Raises:
            WeightsError: the weights are not those of what the framework built.
        """
        return loaded(self.backend, self.network, self.weights, self.dtype)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Features, and logits: images (N, C, H, W) -> (N, C'), (N, classes)."""
        names = HEADLESS if self.network.num_classes is None else ENDPOINTS
        return self.backend.endpoints(self.model, images, names)

    def noisy(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """The same of every batch, with noise on weights and images."""
        random = np.random.default_rng(0)
        self.load({name: with_noise(array, random) for name, array in self.weights.items()})
        try:
            return [self.run(with_noise(batch, random)) for batch in images]
        finally:
            self.load(self.weights)

    def load(self, weights: Weights) -> None:
        """Other weights for the same model."""
        self.backend.load_weights(self.model, weights)

    def give(self, weights: Weights) -> None:
        """Other weights from now on."""
        self.weights = {tensor: weights[tensor] for tensor in self.network.tensors}
        self.load(self.weights)

    def trace(self, endpoint: str, value: np.ndarray) -> Trace:
        """The operations that lead to an endpoint from the one before."""
        assert provides(self.backend, Tracer)
        return self.backend.trace(self.model, endpoint, value)


def images_for(network: Network, sizes: Sequence[Size] = SIZES) -> list[np.ndarray]:
    """A photograph and structured noise at every size: batches (2, C, H, W)."""
    channels = network.in_channels
    return [
        np.stack(
            [
                photograph(PHOTOGRAPH, channels, size).astype(np.float64),
                structured_images(1, channels, size, seed=7)[0],
            ]
        )
        for size in sizes
    ]


# ------------------------------------------------------------------ two of our own models


def compared(first: Model, second: Model, images: Sequence[np.ndarray]) -> Agreement:
    """Run two models of one network, each with the weights of its own file, and judge them.

    Raises:
        MemoryError: a framework has too little of it.
    """
    found = judged(first, second, images)
    if found.judged.agrees or found.difference:
        return found
    return replace(found, difference=located(first, second, images))


def judged(first: Model, second: Model, images: Sequence[np.ndarray]) -> Agreement:
    """The same, but for the operation in which they differ, which takes longer to find.

    Raises:
        MemoryError: a framework has too little of it.
    """
    # The framework that takes the least time is run again with noise.
    one, other = (second, first) if second.name == REFERENCE else (first, second)
    try:
        found = _judged(one, other, images)
        if found is None and _same(one.weights, other.weights):
            found = _with_calibrated(one, other, images)
    except (RosettaError, RuntimeError, ValueError) as error:
        said = f"{error}".strip().partition("\n")[0]
        if any(word in f"{type(error).__name__} {error}" for word in FULL):
            raise MemoryError(said) from error
        return Agreement(NOWHERE, f"a program stops ({said})")
    if found is None:
        return Agreement(NOWHERE, "the weights, which magnify rounding too much to say where")
    return found


def _same(first: Weights, second: Weights) -> bool:
    return all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)


def _judged(one: Model, other: Model, images: Sequence[np.ndarray]) -> Agreement | None:
    """The worst of all batches; None if a mistake would not show in one of them."""
    found = []
    for batch, noisy in zip(images, one.noisy(images), strict=True):
        worst = judged_batch(one.run(batch), noisy, other.run(batch), one.weights)
        if worst is None:
            return None
        found.append(worst)
    return Agreement(max(found, key=lambda worst: worst.share))


def judged_batch(values: Values, noisy: Values, others: Values, weights: Weights) -> Judged | None:
    """The worst image of a batch; None if a mistake would not show in all of them.

    `noisy` are the values with noise, `others` those of the other program.
    """
    scale = scales(values, weights)
    explained = explained_by_noise(values, noisy, scale)
    if not says_something(values, explained):
        return None
    return judge(values, others, scale, explained)


def _with_calibrated(one: Model, other: Model, images: Sequence[np.ndarray]) -> Agreement:
    """The same programs with weights that show what they compute.

    What both files hold is the same; what is left to be seen is the programs, and these are the
    same for any weights.  Calibrated ones magnify nothing, so the least is allowed.
    """
    weights, found = calibrated(one.network), []
    for side in (one, other):
        side.give(weights)
    for batch in images:
        values = one.run(batch)
        least = {name: np.full(len(batch), FLOOR["float64"]) for name in values}
        found.append(judge(values, other.run(batch), scales(values, weights), least))
    return Agreement(max(found, key=lambda worst: worst.share), calibrated=True)


def moved(model: Model, weights: Weights, images: Sequence[np.ndarray]) -> float:
    """The largest change of an output by other weights, in units of its scale."""
    largest = 0.0
    model.load(model.weights)
    before = [model.run(batch) for batch in images]
    model.load({name: weights[name] for name in model.weights})
    for values, batch in zip(before, images, strict=True):
        scale, output = scales(values, model.weights), model.network.output
        gap = relative(apart(values[output], model.run(batch)[output]), scale[output])
        largest = max(largest, float(gap.max()))
    return largest


# ------------------------------------------------------------------ a program of somebody else's


def compared_in_float32(
    narrow: Model, right: Model, foreign: Foreign, images: Sequence[np.ndarray]
) -> Agreement:
    """Judge a program that runs in float32 by a network of ours that should compute the same.

    `right` is that network in float64, `narrow` the same in float32: how far the two are apart is
    what float32 explains on these images.
    """
    found = []
    for batch in images:
        values = right.run(batch)
        scale = scales(values, right.weights)
        explained = explained_by_float32(values, narrow.run(batch), scale)
        theirs = foreign.run(batch)
        found.append(judge(values, theirs, scale, explained, foreign.up_to_a_constant))
    worst = max(found, key=lambda judged: judged.share)
    said = "" if worst.agrees else f"{worst.endpoint} of {foreign.name}"
    return Agreement(worst, said)


# ------------------------------------------------------------------ where two models differ


def located(first: Model, second: Model, images: Sequence[np.ndarray]) -> str:
    """The first operation that two models differ in, in words."""
    if not (provides(first.backend, Tracer) and provides(second.backend, Tracer)):
        return f"{first.network.output}; one of the programs does not show its operations"
    names = first.network.computed_endpoints
    for batch in images:
        one, other = (s.backend.endpoints(s.model, batch, names) for s in (first, second))
        errors = [relative_error(one[name], other[name]) for name in names]
        if max(errors) > PARTED:
            place = _jump(errors)
            before = one[names[place - 1]] if place else batch
            return _operation(first, second, names[place], before)
    return first.network.output


def _jump(errors: Sequence[float]) -> int:
    """Where the error grows the most, up to the first endpoint at which it is large."""
    last = next(place for place, error in enumerate(errors) if error > PARTED)
    known = [SMALLEST, *(max(error, SMALLEST) for error in errors[: last + 1])]
    return int(np.argmax([after / before for before, after in pairwise(known)]))


def _operation(first: Model, second: Model, endpoint: str, value: np.ndarray) -> str:
    traces = first.trace(endpoint, value), second.trace(endpoint, value)
    found = first_divergence(*traces, OPERATION["float64"])
    inside = "" if endpoint in ENDPOINTS else f"{endpoint}: "
    if found is None:
        return f"{inside}no operation that is given the same values, but what they are given"
    return inside + operation_sentences(found)[0]
