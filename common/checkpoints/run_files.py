"""Running two files on the same pictures, in a process of its own.

The process keeps the frameworks, and the memory they take, out of the one that moves bytes.
This module, run as a program, is that process; `compare_runs` starts it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .._util.child import last_line, run_module
from ..architectures import changed
from ..backends.agreement import Agreement, Model, compared, images_for, moved
from ..backends.judgement import DIFFERS, NOT_RUN, PROVED, Verdict
from ..backends.registry import installed_backend
from ..errors import RosettaError
from ..network import Dialect, Network
from .graph_runs import GraphOutputs, compared_with_graph
from .identify import match

PRECISION = "float64"


@dataclass(frozen=True)
class FileRun:
    """A file, the framework that its library runs on, and the dialect to run it in."""

    path: Path
    framework: str
    dialect: Dialect
    raw: bool = False
    network: str | None = None  # the prefix of the one that is meant


@dataclass(frozen=True)
class Outputs:
    """How far apart the outputs of two runs are, where they are furthest for what is allowed.

    Errors are in units of the features' root mean square, or of the size of what is added up to a
    logit.
    """

    frameworks: tuple[str, str]
    endpoint: str  # "features" or "logits"
    error: float
    tolerance: float  # what rounding explains there
    precision: str  # what both computed in
    images: int
    difference: str  # the first operation that differs, in words; empty where they agree
    calibrated: bool  # run with calibrated weights: the files' own magnify any rounding too much
    narrowing: float | None = None  # by how much rounding the weights changes the outputs
    graph: GraphOutputs | None = None  # of the graph that the weights are out of, if they are

    @property
    def agree(self) -> bool:
        """Rounding explains the error."""
        return not self.difference


@dataclass(frozen=True)
class NotRun:
    """Why there are no outputs: no framework is installed, memory ended, or nobody asked."""

    reason: str


NOT_ASKED = NotRun("they were not asked for")


def verdict_on(outputs: Outputs | NotRun, fingerprint: str) -> Verdict:
    """What a check of two files with the same weights ends in."""
    if isinstance(outputs, NotRun):
        return Verdict(NOT_RUN, outputs.reason)
    if not outputs.agree:
        return Verdict(DIFFERS, outputs.difference)
    graph = outputs.graph
    if graph is not None and graph.difference:
        return Verdict(DIFFERS, f"{graph.difference}, which runs the graph, from what was found")
    if graph is not None and graph.reason:
        return Verdict(NOT_RUN, f"the graph itself was not compared: {graph.reason}")
    names = dict.fromkeys(outputs.frameworks)
    both = " and ".join(names)
    runs = f"{both} compute" if len(names) > 1 else f"{both} computes"
    also = "" if graph is None else f", as {graph.runtime} does with the graph itself"
    return Verdict(
        PROVED, f"the weights are the same ({fingerprint[:16]}), and {runs} the same{also}"
    )


def compare_runs(
    first: FileRun,
    second: FileRun,
    original: FileRun | None = None,
    *,
    graph: Path | None = None,
) -> Outputs | NotRun:
    """Run two files on the same images, in a process of its own.

    They may be one file, which two libraries run.  With an `original`, which the first was made of
    by rounding its weights, it is also measured how far that moves the outputs.  A `graph`, which
    the weights are out of, is run too, and compared with the network that was found in it.
    """
    given = (first, second) if original is None else (first, second, original)
    runs = [{**asdict(run), "path": str(run.path.absolute())} for run in given]
    said = {"runs": runs, "graph": None if graph is None else str(graph.absolute())}
    done = run_module(__name__, json.dumps(said))
    if done.returncode != 0:
        return NotRun(last_line(done))
    found = json.loads(done.stdout.splitlines()[-1])
    known = found["graph"] and GraphOutputs(**found["graph"])
    return Outputs(**{**found, "frameworks": tuple(found["frameworks"]), "graph": known})


def run_here(
    first: FileRun,
    second: FileRun,
    original: FileRun | None = None,
    *,
    graph: Path | None = None,
) -> Outputs:
    """Run two files in this process, as `compare_runs` does in another.

    Raises:
        RosettaError: a file cannot be read, or no framework is installed.
        MemoryError: a framework has too little of it.
    """
    alike = replace(second, framework=first.framework, dialect=first.dialect) == first
    one = _loaded(first)
    other = one if alike else _loaded(second)
    loaded = [
        (changed(network, dialect=asdict(run.dialect)), arrays)
        for run, (network, arrays) in zip((first, second), (one, other), strict=True)
    ]
    if len({network.num_classes for network, _ in loaded}) > 1:
        loaded = [(changed(network, num_classes=None), arrays) for network, arrays in loaded]
    models = [
        Model(*installed_backend(run.framework), network, arrays, PRECISION)
        for run, (network, arrays) in zip((first, second), loaded, strict=True)
    ]
    images = images_for(models[0].network)
    found = compared(models[0], models[1], images)
    narrowing = None
    if original is not None and not found.difference:
        narrowing = moved(models[0], _loaded(original)[1], images)
    outputs = _outputs(models, found, sum(map(len, images)), narrowing)
    if graph is None or found.difference:
        return outputs
    return replace(outputs, graph=compared_with_graph(graph, first.dialect, models))


def _outputs(
    models: list[Model], found: Agreement, images: int, narrowing: float | None
) -> Outputs:
    judged = found.judged
    return Outputs(
        frameworks=(models[0].name, models[1].name),
        endpoint=judged.endpoint,
        error=judged.error,
        tolerance=judged.tolerance,
        precision=PRECISION,
        images=images,
        difference=found.difference,
        calibrated=found.calibrated,
        narrowing=narrowing,
    )


def _loaded(run: FileRun) -> tuple[Network, dict[str, np.ndarray]]:
    found = match(run.path, raw=run.raw, network=run.network)
    weights = {}
    for name, stored in found.weights.items():
        # float64 stays what it is; narrower types are exact in float32, which takes less memory.
        wide = stored.dtype == np.float64
        weights[name] = np.asarray(stored, np.float64 if wide else np.float32)
    return found.network, weights


def main() -> None:
    """Read the runs from the command line, and print their comparison."""
    gc.disable()  # looking for cycles is a quarter of what it takes to import the frameworks
    said = json.loads(sys.argv[1])
    runs = [
        FileRun(**{**run, "path": Path(run["path"]), "dialect": Dialect(**run["dialect"])})
        for run in said["runs"]
    ]
    graph = said["graph"] and Path(said["graph"])
    try:
        outputs = run_here(*runs, graph=graph)
    except MemoryError as error:
        sys.exit(f"there is not enough memory ({error or 'no details'})")
    except RosettaError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(asdict(outputs)) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what the frameworks do before they end takes as long as a third of their import


if __name__ == "__main__":
    main()
