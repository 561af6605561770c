"""The main job: one set of weights, run four ways, compared at every endpoint."""

from __future__ import annotations

import gc
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common import __version__
from common.backend import Backend, backend_names, get_backend
from common.calibration import calibrated
from common.compare import TOLERANCES, Comparison, Error, compare
from common.counting import Count, count
from common.graph import OnnxGraph
from common.preprocess import PHOTOGRAPH, photograph
from common.spec import Network
from common.weights import Weights

if TYPE_CHECKING:
    from common.claims import Claim

REFERENCE = "torch"  # in float64
SCHEMA = 2
# onnxruntime has no convolution in float64 on a CPU, so graphs run in float32 always.
GRAPH_DTYPE = "float32"

Progress = Callable[[str], None]


def backends() -> list[str]:
    """Every registered backend, the reference first."""
    return sorted(backend_names(), key=lambda name: (name != REFERENCE, name))


def runners() -> list[str]:
    """The runs of a network: each backend, then onnxruntime on each backend's export."""
    return [*backends(), *(f"onnx-{name}" for name in backends())]


def steps() -> int:
    """How often `run` reports progress."""
    return 2 + 3 * len(backends())


@dataclass(frozen=True)
class Settings:
    """What a parity run is a function of, besides the network.

    In float64 torch is the reference itself, and the graphs stay in float32.
    """

    image: Path = PHOTOGRAPH
    dtype: str = "float32"
    batch: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """Every run of one network against torch in float64."""

    network: Network
    count: Count
    comparisons: tuple[Comparison, ...]
    seconds: float

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
    return Result(
        network,
        count(network),
        tuple(comparisons[runner] for runner in runners() if runner in comparisons),
        time.perf_counter() - start,
    )


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
    backend: Backend, network: Network, weights: Weights, images: np.ndarray, dtype: str
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


def report(
    results: list[Result], settings: Settings, claims: Mapping[str, list[Claim]] | None = None
) -> dict:
    """The content of a run as plain data, ready for JSON; `schema` grows when it changes.

    `claims` are those of `common.claims`, by preset, where they were checked.
    """
    claims = claims or {}
    held = all(claim.holds for found in claims.values() for claim in found)
    return {
        "schema": SCHEMA,
        "agrees": held and all(result.agrees for result in results),
        "reference": f"{REFERENCE} float64",
        "environment": environment(),
        "settings": {**asdict(settings), "image": settings.image.name},
        "presets": [_report_one(result) for result in results],
        "claims": {
            preset: [_finite({**asdict(claim), "holds": claim.holds}) for claim in found]
            for preset, found in claims.items()
        },
    }


def _report_one(result: Result) -> dict:
    network = result.network
    return {
        "preset": network.name,
        "resolution": network.resolution,
        "dialect": asdict(network.dialect),
        "parameters": result.count.trainable,
        "macs": result.count.macs,
        "seconds": round(result.seconds, 1),
        "agrees": result.agrees,
        "runs": [
            {
                "runner": comparison.runner,
                "tolerance": asdict(comparison.tolerance),
                "agrees": comparison.agrees,
                "top5_agreement": comparison.top5_agreement,
                "endpoints": [_report_error(error) for error in comparison.errors],
            }
            for comparison in result.comparisons
        ],
    }


def _report_error(error: Error) -> dict:
    return _finite(asdict(error))


def _finite(values: dict) -> dict:
    """null stands for what is no number: JSON has neither infinity nor NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
