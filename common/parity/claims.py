"""What makes two implementations the same beyond the forward pass, claim by claim.

Every claim is a number held against a limit: the reference is the backend `parity.REFERENCE` in
float64, each other backend is compared with it.  Training claims run on small images, where the
algorithm is the same and the time is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .._util.memory import release
from ..architectures import changed
from ..backends.comparison import ROUNDING_SHARE, TOLERANCES, compare_endpoints
from ..backends.judgement import SATURATED, with_noise
from ..backends.process import ProcessBackend
from ..backends.protocol import Backend, Part, Probes, Variants, loaded, provides, require
from ..backends.registry import REFERENCE, get_backend
from ..backends.values import DROPOUT
from ..errors import RosettaError
from ..network import PYTORCH, TENSORFLOW, Layer, Network, Size, conv_std, dense_bound
from ..training.schedules import Constant, Exponential, Optimization
from ..weights.calibration import calibrated, structured_images
from ..weights.canonical import Weights
from .run import backends, tolerance_in_float32

SIDE = 64  # pixels, of training images
# Height even at every stride, where the padding rules differ; width odd at every stride, where a
# rule that was worked out for even maps does.
FORWARD_SIZE = (96, 97)
BATCH = 4
STEPS = 10
SAMPLES, TINY = 512, 32  # images by which the frequency of dropping is measured, and their pixels
SMOOTHING = 0.1
DEVIATIONS = 5  # standard deviations that a random number may be off
DTYPE = "float64"
FLOAT64_NOISE = 2.0**-52  # relative, of a weight: the next number that float64 has

Measure = Callable[[Probes, Any], tuple[Weights, float | None]]  # tensors, and their scale

# At ten times this rate the deeper networks amplify rounding to 1e-9 within the ten steps.
RATE = Exponential(1e-4, 0.97, 2.4, warmup=3)
RMSPROP, SGD = Optimization(RATE), Optimization(RATE, rule="sgd")


@dataclass(frozen=True)
class Claim:
    """One claim about one backend: how far it is off, and how far it may be."""

    name: str
    backend: str
    size: float
    limit: float
    what: str  # where the largest deviation is, or why there is no number
    dialect: str = ""  # where a claim is checked in several

    @property
    def holds(self) -> bool:
        """The deviation is within its limit; a number that is none is not."""
        return self.size <= self.limit


def check(network: Network, seed: int = 0) -> Iterator[Claim]:
    """Every claim about a network, as they are checked.

    Keras's other backends run in processes of their own, beside the rest.
    """
    beside = [claim for claim in CLAIMS if claim is variants]
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(list, claim(network, seed)) for claim in beside]
        for claim in CLAIMS:
            if claim not in beside:
                yield from claim(network, seed)
                release()
        for found in waiting:
            yield from found.result()


def _models(
    network: Network, seed: int, part: type[Part], dtype: str = DTYPE
) -> Iterator[tuple[str, Part, Any]]:
    """Every backend that has a part, with a model of the same weights, the reference first.

    Whoever asks for the next model lets go of the one before: two of the largest do not fit.

    Raises:
        RosettaError: the reference lacks the part.
    """
    weights = calibrated(network, seed)
    for name in backends():
        backend = get_backend(name)
        if name == REFERENCE:
            require(backend, part, name)
        if provides(backend, part):
            yield name, backend, loaded(backend, network, weights, dtype)
            release()


def _small(network: Network, size: int | Size = SIDE) -> Network:
    return changed(network, resolution=size)


def _batches(network: Network, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    if network.num_classes is None:
        raise RosettaError(f"{network.title} has no classifier, which the claims on training need")
    random = np.random.default_rng(seed)
    return [
        (
            structured_images(BATCH, network.in_channels, network.resolution, seed + number),
            random.integers(network.num_classes, size=BATCH),
        )
        for number in range(count)
    ]


def _apart(reference: Weights, found: Weights, scale: float | None = None) -> tuple[float, str]:
    """The largest difference of any tensor and where, relative to its largest value or `scale`."""
    worst = (0.0, "")
    for name, expected in reference.items():
        largest = scale or np.abs(expected).max() or 1.0
        worst = max(worst, (float(np.abs(found[name] - expected).max() / largest), name))
    return worst


def _against_reference(
    name: str, network: Network, seed: int, measure: Measure, limit: float
) -> Iterator[Claim]:
    """A claim that compares what `measure(backend, model)` gives."""
    reference: tuple[Weights, float | None] = {}, None
    for backend_name, backend, model in _models(network, seed, Probes):
        found = measure(backend, model)
        del model
        if backend_name == REFERENCE:
            reference = found
        else:
            size, where = _apart(reference[0], found[0], reference[1])
            if size > limit:
                explained = _explained(network, seed, measure, *reference)
                if explained < SATURATED:  # or rounding would explain any mistake
                    limit = max(limit, explained)
            yield Claim(name, backend_name, size, limit, where)


def _explained(
    network: Network, seed: int, measure: Measure, reference: Weights, scale: float | None
) -> float:
    """What rounding explains of a measure: the reference is run on weights that are rounded so.

    The deepest networks magnify it more than others, the more steps they take.
    """
    release()
    random = np.random.default_rng(seed)
    weights = {
        name: with_noise(array, random, FLOAT64_NOISE)
        for name, array in calibrated(network, seed).items()
    }
    backend = require(get_backend(REFERENCE), Probes, REFERENCE)
    found, _ = measure(backend, loaded(backend, network, weights, DTYPE))
    return ROUNDING_SHARE * _apart(reference, found, scale)[0]


# ------------------------------------------------------------------ the claims


def forward(network: Network, seed: int) -> Iterator[Claim]:
    """Claim 1: every endpoint in float64, in both families of dialects."""
    for dialect in (TENSORFLOW, PYTORCH):
        one = changed(_small(network, FORWARD_SIZE), dialect=asdict(dialect))
        images = structured_images(2, one.in_channels, one.resolution, seed + 1)
        reference: Mapping[str, np.ndarray] = {}
        for name, backend, model in _models(one, seed, Backend):
            values = backend.endpoints(model, images)
            del model
            if name == REFERENCE:
                reference = values
                continue
            found = compare_endpoints(name, reference, values, TOLERANCES[DTYPE])
            worst, limit = found.worst, found.tolerance.limit
            what = f"{worst.endpoint}, {dialect.name}"
            yield Claim("forward", name, found.judged(worst), limit, what, dialect.name)


def _gradients(
    backend: Probes, model: Any, network: Network, seed: int, masks: Mapping[str, np.ndarray]
) -> tuple[Weights, float]:
    """The gradients, and the largest number in any of them."""
    ((images, labels),) = _batches(network, 1, seed)
    found = backend.gradients(model, images, labels, SMOOTHING, masks)
    tensors = {**found.weights, "image": found.image, "loss": np.array(found.loss)}
    return tensors, max(float(np.abs(gradient).max()) for gradient in found.weights.values())


def gradients(network: Network, seed: int) -> Iterator[Claim]:
    """Claim 2: the loss and its gradient at every parameter and at the image, nothing dropped."""
    network = _small(network)
    yield from _against_reference(
        "gradients", network, seed, lambda b, m: _gradients(b, m, network, seed, {}), 1e-10
    )


def batch_norm(network: Network, seed: int) -> Iterator[Claim]:
    """Claim 3: running statistics after one batch and after five."""
    network = _small(network)
    batches = _batches(network, 5, seed)
    still = Optimization(Constant(0.0), rule="sgd", average=None)
    parts = {"batch norm, 1 batch": batches[:1], "batch norm, 5 batches": batches[1:]}
    references: dict[str, Weights] = {}
    for backend_name, backend, model in _models(network, seed, Probes):
        for name, further in parts.items():
            backend.steps(model, further, still)
            weights = backend.dump_weights(model)
            kept = {n: a for n, a in weights.items() if n.endswith((".mean", ".variance"))}
            if backend_name == REFERENCE:
                references[name] = kept
            else:
                size, where = _apart(references[name], kept)
                yield Claim(name, backend_name, size, 1e-11, where)
        del model


def stochastic_depth(network: Network, seed: int) -> Iterator[Claim]:
    """Claim 4: the same under the same masks, and each block drops as often as it should."""
    network = _small(network)
    random = np.random.default_rng(seed)
    masks = {
        role: (random.random(BATCH) >= rate).astype(float)
        for role, rate in network.drop_path_rates.items()
    }
    if network.classifier is not None:
        shape = (BATCH, network.classifier.in_channels)
        masks[DROPOUT] = (random.random(shape) >= network.classifier.dropout).astype(float)
    yield from _against_reference(
        "dropping, given masks",
        network,
        seed,
        lambda b, m: _gradients(b, m, network, seed, masks),
        1e-10,
    )
    tiny = _small(network, TINY)
    rates = rates_of_dropping(tiny)
    images = structured_images(SAMPLES, tiny.in_channels, tiny.resolution, seed)
    for name, backend, model in _models(tiny, seed, Probes, "float32"):
        factors = backend.drop_factors(model, images)
        del model
        size, where = max(
            (_surprise(factors.get(role), rate), role) for role, rate in rates.items()
        )
        yield Claim("dropping, frequency", name, size, DEVIATIONS, f"sigmas, {where}")


def rates_of_dropping(network: Network) -> dict[str, float]:
    """With what probability each branch beside a shortcut is dropped, and each feature, by role."""
    added = {section.role for section in network.sections if section.shortcut is not None}
    rates = {role: rate for role, rate in network.drop_path_rates.items() if role in added}
    if network.classifier is not None:
        rates[DROPOUT] = network.classifier.dropout
    return rates


def _surprise(factors: np.ndarray | None, rate: float) -> float:
    """By how many standard deviations a frequency is off; infinite where the rule is another."""
    if factors is None or not np.isfinite(factors).all():
        return math.inf
    dropped = factors == 0
    # What is kept is scaled so that the expectation is, too.
    if not np.allclose(factors[~dropped], 1 / (1 - rate), rtol=1e-6):
        return math.inf
    deviation = math.sqrt(rate * (1 - rate) / len(factors))
    off = abs(float(dropped.mean()) - rate)
    return off / deviation if deviation else (0.0 if off == 0 else math.inf)


def optimizers(network: Network, seed: int) -> Iterator[Claim]:
    """Claim 5: ten steps of each optimizer, L2 and moving average included."""
    network = _small(network)
    for optimization in (RMSPROP, SGD):

        def measure(
            backend: Probes, model: Any, optimization: Optimization = optimization
        ) -> tuple[Weights, None]:
            trained = backend.steps(model, _batches(network, STEPS, seed), optimization)
            averages = trained.average or {}
            average = {f"average of {name}": array for name, array in averages.items()}
            losses = {"losses": np.array(trained.losses)}
            return {**backend.dump_weights(model), **average, **losses}, None

        name = f"{STEPS} steps of {optimization.rule}"
        yield from _against_reference(name, network, seed, measure, 1e-9)


def initialisation(network: Network, seed: int) -> Iterator[Claim]:
    """Claim 6: mean and standard deviation of every kernel, in standard deviations of these."""
    for name in backends():
        backend = get_backend(name)
        weights = backend.dump_weights(backend.build(network))
        size, where = unlikely(network, weights)
        yield Claim("initialisation", name, size, DEVIATIONS, f"sigmas, {where}")


def unlikely(network: Network, weights: Weights) -> tuple[float, str]:
    """How improbable weights are as a draw of the official initialisation, and which the most."""
    worst = (0.0, "")
    constants = {"scale": 1, "bias": 0, "mean": 0, "variance": 1}
    for layer in network.layers:
        for name in layer.tensors:
            array, last = weights[name].astype(np.float64), name.rpartition(".")[2]
            if last in constants:
                size = 0.0 if (array == constants[last]).all() else math.inf
            else:
                std = _expected_std(layer)
                # Of n values, the mean is known to std / sqrt(n), the spread to std / sqrt(2 n).
                count = math.sqrt(array.size)
                mean, spread = float(array.mean()), float(array.std())
                size = max(abs(mean) / std * count, abs(spread / std - 1) * count * math.sqrt(2))
            worst = max(worst, (size, name))
    return worst


def _expected_std(layer: Layer) -> float:
    if layer.kind == "dense":
        return dense_bound(layer.out_channels) / math.sqrt(3)
    return conv_std(layer.kernel, 1 if layer.kind == "depthwise_conv" else layer.out_channels)


def variants(network: Network, seed: int) -> Iterator[Claim]:
    """Claim 7: a backend in the other ways that it can be run in, each in a process of its own.

    For Keras these are JAX and PyTorch.  In float32: Keras promotes float64 to float32 in its
    means there.
    """
    network = _small(network, FORWARD_SIZE)
    images = structured_images(2, network.in_channels, network.resolution, seed + 1)
    weights = calibrated(network, seed)
    backend = get_backend(REFERENCE)
    model = loaded(backend, network, weights, DTYPE)
    reference = backend.endpoints(model, images)
    for name, variant in other_variants():
        try:
            other = ProcessBackend(name, variant)
            described = loaded(other, network, weights)
            found = compare_endpoints(variant, reference, other.endpoints(described, images))
            if not found.agrees:
                explained = tolerance_in_float32(network, weights, images, reference)
                found = replace(found, tolerance=explained)
        except RosettaError as error:
            yield Claim("Keras backend", variant, math.inf, 0.0, str(error))
            continue
        worst = found.worst
        what = f"{worst.endpoint}, float32"
        yield Claim("Keras backend", variant, found.judged(worst), found.tolerance.limit, what)


def other_variants() -> list[tuple[str, str]]:
    """The ways to run a backend in which this process does not run it."""
    return [
        (name, variant)
        for name in backends()
        if provides((backend := get_backend(name)), Variants)
        for variant, found in backend.variants().items()
        if not found.current
    ]


CLAIMS = (
    forward,
    gradients,
    batch_norm,
    stochastic_depth,
    optimizers,
    initialisation,
    variants,
)
