"""Running two files on the same picture, in a process of its own.

The process keeps the frameworks, and the memory they take, out of the one that moves bytes.
This module, run as a program, is that process; `compare_runs` starts it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .._util.child import last_line, run_module
from ..architectures import changed
from ..backends.comparison import TOLERANCES, compare_endpoints
from ..backends.protocol import loaded
from ..backends.registry import installed_backend
from ..errors import RosettaError
from ..images.decode import PHOTOGRAPH, photograph
from ..network import Dialect, Network
from .identify import match

# L2 at its own 800 pixels takes more memory than most machines have.
LARGEST_SIDE = 672


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
    """How far the outputs of two runs are apart, relative to the spread of the first's."""

    endpoint: str  # "logits", or "features" where the classifiers cannot be compared
    error: float  # the largest
    tolerance: float
    frameworks: tuple[str, str]
    pixels: int

    @property
    def agree(self) -> bool:
        """Whether the error is within what float32 rounding explains."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class NotRun:
    """Why there are no outputs: no framework is installed, or it ran out of memory."""

    reason: str


def compare_runs(first: FileRun, second: FileRun) -> Outputs | NotRun:
    """Run two files on the photograph, in a process of its own."""
    runs = [{**asdict(run), "path": str(run.path.absolute())} for run in (first, second)]
    done = run_module(__name__, json.dumps(runs))
    if done.returncode != 0:
        return NotRun(last_line(done))
    found = json.loads(done.stdout.splitlines()[-1])
    return Outputs(**{**found, "frameworks": tuple(found["frameworks"])})


def run_here(first: FileRun, second: FileRun) -> Outputs:
    """Run two files in this process.

    Raises:
        RosettaError: a file cannot be read, or no framework is installed.
    """
    networks, weights = zip(*(_loaded(run) for run in (first, second)), strict=True)
    if networks[0].num_classes != networks[1].num_classes:
        networks = tuple(changed(network, num_classes=None) for network in networks)
    image = photograph(PHOTOGRAPH, networks[0].in_channels, networks[0].resolution)[None]
    values, frameworks = [], []
    for run, network, arrays in zip((first, second), networks, weights, strict=True):
        name, backend = installed_backend(run.framework)
        model = loaded(backend, network, {name: arrays[name] for name in network.tensors})
        values.append({networks[0].output: backend.run(model, image)})
        frameworks.append(name)
    error = compare_endpoints("second", values[0], values[1]).output
    return Outputs(
        endpoint=error.endpoint,
        error=error.largest,
        tolerance=TOLERANCES["float32"].limit,
        frameworks=(frameworks[0], frameworks[1]),
        pixels=max(networks[0].resolution),
    )


def _loaded(run: FileRun) -> tuple[Network, dict[str, np.ndarray]]:
    found = match(run.path, raw=run.raw, network=run.network)
    network = changed(found.network, dialect=asdict(run.dialect))
    if max(network.resolution) > LARGEST_SIDE:
        network = changed(network, resolution=LARGEST_SIDE // 2)
    weights = {name: np.asarray(stored, np.float32) for name, stored in found.weights.items()}
    return network, weights


def main() -> None:
    """Read two runs from the command line, and print their comparison."""
    runs = [
        FileRun(**{**run, "path": Path(run["path"]), "dialect": Dialect(**run["dialect"])})
        for run in json.loads(sys.argv[1])
    ]
    try:
        outputs = run_here(*runs)
    except RosettaError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(asdict(outputs)) + "\n")


if __name__ == "__main__":
    main()
