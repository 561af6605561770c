"""The main job: one set of weights, run four ways, compared at every endpoint."""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from efficientnet_rosetta import __version__

from .._util.memory import release
from ..architectures import resolve
from ..backends.align import OPERATION, Divergence, Pair, align, first_divergence
from ..backends.comparison import (
    FLOAT32_NOISE,
    TOLERANCES,
    Comparison,
    Tolerance,
    compare_endpoints,
    explained_in_float32,
)
from ..backends.judgement import with_noise
from ..backends.process import ProcessBackend
from ..backends.protocol import (
    Backend,
    Described,
    Exporter,
    Tracer,
    Variants,
    loaded,
    provides,
    require,
)
from ..backends.registry import REFERENCE, backend_names, get_backend
from ..counting import Count, count
from ..errors import UsageError
from ..images.decode import PHOTOGRAPH, photograph
from ..network import Network
from ..weights.calibration import calibrated
from ..weights.canonical import Weights
from .diagnosis import Diagnosis, SectionTracer, before, diagnose
from .onnx_program import OnnxGraph

# onnxruntime has no convolution in float64 on a CPU, so graphs run in float32 always.
GRAPH_DTYPE = "float32"
GRAPH = "onnx"  # a runner is named by it, and by the backend whose export it runs

Progress = Callable[[str], None]


def backends() -> list[str]:
    """Every registered backend, the reference first."""
    return sorted(backend_names(), key=lambda name: (name != REFERENCE, name))


@dataclass(frozen=True)
class Settings:
    """What a parity run is a function of, besides the network.

    In float64 the reference is compared with itself, and the graphs stay in float32.  `variants`
    are other ways to run a backend, by backend and name, such as ("keras", "jax").
    """

    image: Path = PHOTOGRAPH
    dtype: str = "float32"
    batch: int = 1
    seed: int = 0
    variants: tuple[tuple[str, str], ...] = ()


def runners(settings: Settings) -> list[str]:
    """The runs of a network: each backend, its variants, onnxruntime on each backend's export.

    Raises:
        MissingDependencyError: the framework of a backend is not installed.
    """
    variants = [f"{backend}-{variant}" for backend, variant in settings.variants]
    return [*backends(), *variants, *(f"{GRAPH}-{name}" for name in exporters())]


def exporters() -> list[str]:
    """The backends that write ONNX."""
    return [name for name in backends() if provides(get_backend(name), Exporter)]


def all_variants() -> tuple[tuple[str, str], ...]:
    """Every other way to run a backend, by backend and name."""
    found = {name: get_backend(name) for name in backends()}
    return tuple(
        (name, variant)
        for name, backend in found.items()
        if provides(backend, Variants)
        for variant in backend.variants()
    )


def steps(settings: Settings) -> int:
    """How often `run` reports progress."""
    return 2 + len(backends()) + 2 * len(exporters()) + len(settings.variants)


@dataclass(frozen=True)
class NetworkResult:
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


def run(
    network: Network, settings: Settings, progress: Progress = lambda step: None
) -> NetworkResult:
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
    for name, variant in settings.variants:
        runner = f"{name}-{variant}"
        progress(f"{runner} {GRAPH_DTYPE}")
        values = _endpoints(ProcessBackend(name, variant), network, weights, images, GRAPH_DTYPE)
        comparisons[runner] = compare_endpoints(runner, reference, values, TOLERANCES[GRAPH_DTYPE])
    ordered = [comparisons[runner] for runner in runners(settings) if runner in comparisons]
    fixed = TOLERANCES[GRAPH_DTYPE]
    over = [run for run in ordered if run.tolerance == fixed and not run.agrees]
    if over:
        explained = tolerance_in_float32(network, weights, images, reference)
        ordered = [replace(run, tolerance=explained) if run in over else run for run in ordered]
    diagnoses = {}
    for comparison in ordered:
        if not comparison.agrees:
            progress(f"looking for the difference of {comparison.runner}")
            diagnoses[comparison.runner] = _diagnosis(
                comparison, network, weights, images, reference, settings
            )
    seconds = time.perf_counter() - start
    return NetworkResult(network, count(network), tuple(ordered), seconds, diagnoses)


def tolerance_in_float32(
    network: Network, weights: Weights, images: np.ndarray, reference: dict[str, np.ndarray]
) -> Tolerance:
    """What rounding in float32 explains of a network, for runs that are off by more than most.

    `reference` is every endpoint of the images (N, C, H, W) in float64; it is run once more.
    """
    random = np.random.default_rng(0)
    noisy = {name: with_noise(array, random, FLOAT32_NOISE) for name, array in weights.items()}
    batch = with_noise(images, random, FLOAT32_NOISE)
    values = _endpoints(get_backend(REFERENCE), network, noisy, batch, "float64")
    return explained_in_float32(reference, values)


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


def tracer(runner: str, network: Network, weights: Weights, dtype: str) -> SectionTracer:
    """What runs one section of a network in a runner, operation by operation.

    Raises:
        RosettaError: no such runner, its framework is not installed, or it cannot trace.
    """
    kind, _, name = runner.partition("-")
    backend: Backend | ProcessBackend
    if kind == GRAPH:
        backend = get_backend(name)
        model = loaded(backend, network, weights, dtype)
        exporter = require(backend, Exporter, name)
        exported = exporter.export_onnx(model, network, endpoints=True)
        return OnnxGraph(exported.SerializeToString()).trace
    backend = ProcessBackend(kind, name) if name else require(get_backend(kind), Tracer, kind)
    model = loaded(backend, network, weights, dtype)
    return partial(backend.trace, model)


@dataclass(frozen=True)
class Traced:
    """One section in the reference and in a runner, operation by operation."""

    pairs: list[Pair]
    divergence: Divergence | None
    limit: float


def traced(network: Network, endpoint: str, runner: str, settings: Settings) -> Traced:
    """Run the section of an endpoint alone in the reference and in a runner, on the same value.

    Raises:
        RosettaError: no such endpoint or runner.
    """
    known = runners(replace(settings, variants=all_variants()))
    if runner not in known:
        raise UsageError(f"unknown run {runner!r}; choose from {', '.join(known)}")
    if endpoint not in network.computed_endpoints:
        places = ", ".join(network.computed_endpoints)
        raise UsageError(f"unknown endpoint {endpoint!r}; choose from {places}")
    weights, images = calibrated(network, settings.seed), parity_images(network, settings)
    reference = require(get_backend(REFERENCE), Tracer, REFERENCE)
    model = loaded(reference, network, weights, "float64")
    value = before(reference.endpoints(model, images), images, endpoint)
    dtype = dtype_of(runner, settings)
    first = reference.trace(model, endpoint, value)
    second = tracer(runner, network, weights, dtype)(endpoint, value)
    limit = OPERATION[dtype]
    return Traced(align(first, second, limit), first_divergence(first, second, limit), limit)


def trace_command(network: Network, endpoint: str, runner: str, settings: Settings) -> str:
    """The command that runs one section alone in the reference and in a runner."""
    sides = set(network.resolution)
    released = resolve(network.name)
    options = {
        "--run": runner,
        "--size": str(network.resolution[0]) if len(sides) == 1 else "",
        "--dialect": "" if network.dialect == released.dialect else network.dialect.name,
        "--dtype": "" if settings.dtype == GRAPH_DTYPE else settings.dtype,
        "--image": "" if settings.image == PHOTOGRAPH else shlex.quote(str(settings.image)),
        "--batch": "" if settings.batch == 1 else str(settings.batch),
        "--seed": "" if settings.seed == 0 else str(settings.seed),
    }
    if network.resolution == released.resolution:
        options["--size"] = ""
    said = " ".join(f"{option} {value}" for option, value in options.items() if value)
    return f"rosetta trace {network.name} {endpoint} {said}"


def parity_images(network: Network, settings: Settings) -> np.ndarray:
    """`batch` variants of the photograph, then as many images of noise: (2 * batch, C, H, W)."""
    image = photograph(settings.image, network.in_channels, network.resolution)
    # Mirrored, and dimmer by turns, so that no two rows of a batch are alike.
    variants = [image[..., :: (-1) ** i] * 0.8 ** (i // 2) for i in range(settings.batch)]
    noise = np.random.default_rng(settings.seed).normal(
        size=(settings.batch, network.in_channels, *network.resolution)
    )
    return np.concatenate([variants, noise])


def _endpoints(
    backend: Backend | ProcessBackend,
    network: Network,
    weights: Weights,
    images: np.ndarray,
    dtype: str,
) -> dict[str, np.ndarray]:
    model = loaded(backend, network, weights, dtype)
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
        yield compare_endpoints(name, reference, values, TOLERANCES[settings.dtype])
    model = loaded(backend, network, weights, GRAPH_DTYPE)
    if settings.dtype == GRAPH_DTYPE:
        values = backend.endpoints(model, images)
        yield compare_endpoints(name, reference, values, TOLERANCES[GRAPH_DTYPE])
    if not provides(backend, Exporter):
        return
    progress(f"{name} to ONNX")
    exported = backend.export_onnx(model, network, endpoints=True).SerializeToString()
    # B7 does not fit twice beside its activations otherwise.
    del model
    release()
    progress(f"onnxruntime on {name}'s export")
    graph = OnnxGraph(exported)
    del exported
    values = graph.run(images)
    yield compare_endpoints(f"{GRAPH}-{name}", reference, values, TOLERANCES[GRAPH_DTYPE])


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
        backend = get_backend(name)
        if provides(backend, Described):
            found |= backend.versions()
    return found
