"""A graph run beside the network that was found in it, and judged: whether it was read right.

The runtimes of graphs compute in float32, so that the judgement is by what float32 does to the
network itself on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..architectures import changed
from ..backends.agreement import Foreign, Model, compared_in_float32, images_for
from ..backends.registry import REFERENCE
from ..errors import MissingDependencyError
from ..network import Dialect
from ..weights.canonical import Weights
from .graphs.recover import recover
from .graphs.run import RUNTIMES, nearest, run_graph
from .identify import match

PRECISION = "float32"
# What rounding in float32 explains at most, in units of the outputs' size, where a mistake shows.
TELLING = 1e-2


@dataclass(frozen=True)
class GraphOutputs:
    """How far a graph is from the network that was found in it, as `Outputs` has it of two files.

    `reason` says why they were not compared, if they were not; everything else is empty then.
    """

    runtime: str
    endpoint: str = ""
    error: float = 0.0
    tolerance: float = 0.0  # what float32 explains
    images: int = 0
    pixels: str = ""
    difference: str = ""
    reason: str = ""


def compared_with_graph(path: Path, dialect: Dialect, models: Sequence[Model]) -> GraphOutputs:
    """Run a graph, and the network in it in the framework of one of the models.

    `dialect` is for a graph that leaves its own open.

    Raises:
        RosettaError: the graph cannot be read any more, or cannot be run.
    """
    found = match(path)
    if found.dialect is None:
        found = match(path, dialect.name)
        assert found.dialect is not None
    format = found.checkpoint.format
    runtime = RUNTIMES[format]
    steps = recover(path, format, found.dialect.name).steps
    network = changed(found.network, dialect=asdict(found.dialect))
    weights = {name: np.asarray(stored) for name, stored in found.weights.items()}
    # The framework that takes the least time.
    chosen = min(models, key=lambda model: model.name != REFERENCE)
    right, narrow = (
        Model(chosen.name, chosen.backend, network, _wide(weights, dtype), dtype)
        for dtype in ("float64", PRECISION)
    )
    # A graph may have been exported for one size.
    sizes = images_for(network) if steps.size is None else images_for(network, [steps.size])
    sizes = [nearest(steps, images) for images in sizes]

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {network.output: run_graph(path, format, steps, images)}

    foreign = Foreign(runtime, run, up_to_a_constant=steps.ending == "softmax")
    try:
        agreement = compared_in_float32(narrow, right, foreign, sizes)
    except MissingDependencyError as error:
        return GraphOutputs(runtime, reason=str(error))
    judged = agreement.judged
    if judged.agrees and judged.tolerance > TELLING:
        return GraphOutputs(runtime, reason="with these weights float32 rounds too much to tell")
    return GraphOutputs(
        runtime=runtime,
        endpoint=judged.endpoint,
        error=judged.error,
        tolerance=judged.tolerance,
        images=sum(map(len, sizes)),
        pixels=" and ".join(f"{images.shape[2]} x {images.shape[3]}" for images in sizes),
        difference=agreement.difference,
    )


def _wide(weights: Weights, dtype: str) -> Weights:
    return {name: array.astype(dtype) for name, array in weights.items()}
