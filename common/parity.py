"""The main job: one set of weights, run four ways, compared at every endpoint."""

from __future__ import annotations

import gc
import os
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common import __version__
from common.architectures import resolve
from common.backend import Backend, backend_names, get_backend
from common.calibration import calibrated
from common.compare import TOLERANCES, Comparison, compare
from common.counting import Count, count
from common.diagnosis import OPERATION, Diagnosis, Tracer, before, diagnose
from common.elsewhere import KERAS_BACKENDS, KerasOn
from common.errors import RosettaError
from common.graph import OnnxGraph
from common.preprocess import PHOTOGRAPH, photograph
from common.spec import TENSORFLOW, Network
from common.tracing import Divergence, Pair, align, first_divergence
from common.weights import Weights

if TYPE_CHECKING:
    pass

REFERENCE = "torch"  # in float64
# onnxruntime has no convolution in float64 on a CPU, so graphs run in float32 always.
GRAPH_DTYPE = "float32"

Progress = Callable[[str], None]


def backends() -> list[str]:
    """Every registered backend, the reference first."""
    return sorted(backend_names(), key=lambda name: (name != REFERENCE, name))


@dataclass(frozen=True)
class Settings:
    """What a parity run is a function of, besides the network.

    In float64 torch is the reference itself, and the graphs stay in float32.
    """

    image: Path = PHOTOGRAPH
    dtype: str = "float32"
    batch: int = 1
    seed: int = 0
    keras_backends: tuple[str, ...] = ()  # besides the one that Keras is running on


def runners(settings: Settings) -> list[str]:
    """The runs of a network: each backend, Keras's others, onnxruntime on each backend's export."""
    others = [f"keras-{name}" for name in settings.keras_backends]
    return [*backends(), *others, *(f"onnx-{name}" for name in backends())]


def steps(settings: Settings) -> int:
    """How often `run` reports progress."""
    return 2 + 3 * len(backends()) + len(settings.keras_backends)


@dataclass(frozen=True)
class Result:
    """Every run of one network against torch in float64."""

    network: Network
    count: Count
    comparisons: tuple[Comparison, ...]
    seconds: float
    diagnoses: Mapping[str, Diagnosis]  # of the runs that differ, by runner

    @property
    def agrees(self) -> bool:
        """All runs are within their tolerance."""
        return all(comparison.agrees for comparison in self.comparisons)

    @property
    def top5_agreement(self) -> float | None:
        """The least of all runs."""
        shares = [c.top5_agreement for c in self.comparisons if c.top5_agreement is not None]
        return min(shares, default=None)


def run(network: Network, settings: Settings, progress: Progress = lambda step: None) -> Result:
    """Build, port, run and export with every backend, on a photograph and on noise.

    Raises:
        RosettaError: a backend is not installed, or the photograph cannot be read.
    """
    start = time.perf_counter()
    progress("calibrating weights")
    weights, images = calibrated(network, settings.seed), parity_images(network, settings)
    progress(f"{REFERENCE} float64")
    reference = _endpoints(get_backend(REFERENCE), network, weights, images, "float64")
    comparisons = {
        comparison.runner: comparison
        for name in backends()
        for comparison in _compare_backend(
            name, network, weights, images, reference, settings, progress
        )
    }
    for name in settings.keras_backends:
        runner = f"keras-{name}"
        progress(f"{runner} {GRAPH_DTYPE}")
        values = _endpoints(KerasOn(name), network, weights, images, GRAPH_DTYPE)
        comparisons[runner] = compare(runner, reference, values, TOLERANCES[GRAPH_DTYPE])
    ordered = [comparisons[runner] for runner in runners(settings) if runner in comparisons]
    diagnoses = {}
    for comparison in ordered:
        if not comparison.agrees:
            progress(f"looking for the difference of {comparison.runner}")
            diagnoses[comparison.runner] = _diagnosis(
                comparison, network, weights, images, reference, settings
            )
    seconds = time.perf_counter() - start
    return Result(network, count(network), tuple(ordered), seconds, diagnoses)


def _diagnosis(
    comparison: Comparison,
    network: Network,
    weights: Weights,
    images: np.ndarray,
    reference: dict[str, np.ndarray],
    settings: Settings,
) -> Diagnosis:
    runner = comparison.runner
    dtype = dtype_of(runner, settings)
    tracers = (
        tracer(REFERENCE, network, weights, "float64"),
        tracer(runner, network, weights, dtype),
    )
    found = diagnose(comparison, dtype, reference, images, tracers)
    return replace(found, command=trace_command(network, found.growth.endpoint, runner, settings))


def dtype_of(runner: str, settings: Settings) -> str:
    """What a runner computes in: graphs, and Keras's other backends, know float32 only."""
    return settings.dtype if runner in backends() else GRAPH_DTYPE


def tracer(runner: str, network: Network, weights: Weights, dtype: str) -> Tracer:
    """What runs one section of a network in a runner, operation by operation.

    Raises:
        RosettaError: no such runner, or its framework is not installed.
    """
    kind, _, name = runner.partition("-")
    if kind == "onnx":
        backend = get_backend(name)
        model = backend.build(network, dtype)
        backend.load_weights(model, weights)
        exported = backend.export_onnx(model, network, endpoints=True)
        return OnnxGraph(exported.SerializeToString()).trace
    backend = KerasOn(name) if name else get_backend(kind)
    model = backend.build(network, dtype)
    backend.load_weights(model, weights)
    return partial(backend.trace, model)


@dataclass(frozen=True)
class Traced:
    """One section in the reference and in a runner, operation by operation."""

    pairs: list[Pair]
    divergence: Divergence | None
    limit: float


def trace(network: Network, endpoint: str, runner: str, settings: Settings) -> Traced:
    """Run the section of an endpoint alone in the reference and in a runner, on the same value.

    Raises:
        RosettaError: no such endpoint or runner.
    """
    if runner not in runners(replace(settings, keras_backends=KERAS_BACKENDS)):
        known = ", ".join(runners(replace(settings, keras_backends=KERAS_BACKENDS)))
        raise RosettaError(f"unknown run {runner!r}; choose from {known}")
    if endpoint not in network.computed_endpoints:
        known = ", ".join(network.computed_endpoints)
        raise RosettaError(f"unknown endpoint {endpoint!r}; choose from {known}")
    weights, images = calibrated(network, settings.seed), parity_images(network, settings)
    reference = get_backend(REFERENCE)
    model = reference.build(network, "float64")
    reference.load_weights(model, weights)
    value = before(reference.endpoints(model, images), images, endpoint)
    dtype = dtype_of(runner, settings)
    first = reference.trace(model, endpoint, value)
    second = tracer(runner, network, weights, dtype)(endpoint, value)
    limit = OPERATION[dtype]
    return Traced(align(first, second, limit), first_divergence(first, second, limit), limit)


def trace_command(network: Network, endpoint: str, runner: str, settings: Settings) -> str:
    """The command that runs one section alone in the reference and in a runner."""
    sides = set(network.resolution)
    options = {
        "--run": runner,
        "--size": str(network.resolution[0]) if len(sides) == 1 else "",
        "--dialect": "" if network.dialect == TENSORFLOW else network.dialect.name,
        "--dtype": "" if settings.dtype == GRAPH_DTYPE else settings.dtype,
        "--image": "" if settings.image == PHOTOGRAPH else shlex.quote(str(settings.image)),
        "--batch": "" if settings.batch == 1 else str(settings.batch),
        "--seed": "" if settings.seed == 0 else str(settings.seed),
    }
    if network.resolution == resolve(network.name).resolution:
        options["--size"] = ""
    said = " ".join(f"{option} {value}" for option, value in options.items() if value)
    return f"rosetta trace {network.name} {endpoint} {said}"


def parity_images(network: Network, settings: Settings) -> np.ndarray:
    """`batch` variants of the photograph, then as many images of noise: (2 * batch, C, H, W)."""
    image = photograph(settings.image, network)
    # Mirrored, and dimmer by turns, so that no two rows of a batch are alike.
    variants = [image[..., :: (-1) ** i] * 0.8 ** (i // 2) for i in range(settings.batch)]
    noise = np.random.default_rng(settings.seed).normal(
        size=(settings.batch, network.in_channels, *network.resolution)
    )
    return np.concatenate([variants, noise])


def _endpoints(
    backend: Backend | KerasOn, network: Network, weights: Weights, images: np.ndarray, dtype: str
) -> dict[str, np.ndarray]:
    model = backend.build(network, dtype)
    backend.load_weights(model, weights)
    return backend.endpoints(model, images)


def _compare_backend(
    name: str,
    network: Network,
    weights: Weights,
    images: np.ndarray,
    reference: dict[str, np.ndarray],
    settings: Settings,
    progress: Progress,
) -> Iterator[Comparison]:
    backend = get_backend(name)
    progress(f"{name} {settings.dtype}")
    if settings.dtype != GRAPH_DTYPE and name != REFERENCE:
        values = _endpoints(backend, network, weights, images, settings.dtype)
        yield compare(name, reference, values, TOLERANCES[settings.dtype])
    model = backend.build(network, GRAPH_DTYPE)
    backend.load_weights(model, weights)
    if settings.dtype == GRAPH_DTYPE:
        values = backend.endpoints(model, images)
        yield compare(name, reference, values, TOLERANCES[GRAPH_DTYPE])
    values = None
    progress(f"{name} to ONNX")
    exported = backend.export_onnx(model, network, endpoints=True).SerializeToString()
    # Frameworks keep cycles; B7 does not fit twice beside its activations otherwise.
    del model
    gc.collect()
    progress(f"onnxruntime on {name}'s export")
    graph = OnnxGraph(exported)
    del exported
    values = graph.run(images)
    yield compare(f"onnx-{name}", reference, values, TOLERANCES[GRAPH_DTYPE])


def environment() -> dict[str, str]:
    """What the numbers of a run depend on beyond this project: versions, threads, oneDNN."""
    found = {
        "efficientnet-rosetta": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        **{package: version(package) for package in ("numpy", "onnx", "onnxruntime")},
    }
    for name in backends():
        found |= get_backend(name).versions()
    return found
