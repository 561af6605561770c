"""How far apart two runs of one network are, and where they part.

Errors are relative to the spread of the reference: the standard deviation of its values at
that endpoint.  The logits are judged by their largest error.  Maps inside the network are
judged by the root mean square, because the largest of a million rounding errors grows with
their number and says nothing about the algorithm.

The tolerances follow from measurement.  In float64 the frameworks agree to 1e-13 where the
algorithm is the same, and the smallest mistake (the epsilon of one batch norm) shows at 1e-3;
float32 rounds to 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

TOLERANCES = {"float64": 1e-11, "float32": 1e-4}
TOP = 5

Endpoints = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Error:
    """Difference from the reference at one endpoint, both relative to the reference's spread."""

    endpoint: str
    largest: float
    rms: float


@dataclass(frozen=True)
class Comparison:
    """One run against the reference, endpoint by endpoint in forward order."""

    runner: str
    tolerance: float
    errors: tuple[Error, ...]
    top5_agreement: float | None

    @property
    def output(self) -> Error:
        """The error of the logits, or of the features without a classifier."""
        return self.errors[-1]

    @property
    def worst(self) -> Error:
        """The endpoint with the largest root-mean-square error."""
        return max(self.errors, key=lambda error: error.rms)

    @property
    def first_divergence(self) -> Error | None:
        """The first endpoint over the tolerance, where to start looking."""
        if self.agrees:
            return None
        over = (error for error in self.errors if error.rms > self.tolerance)
        return next(over, self.output)

    @property
    def agrees(self) -> bool:
        """The largest error of the output, and the RMS error everywhere, are within tolerance."""
        return self.output.largest <= self.tolerance and self.worst.rms <= self.tolerance


def compare(
    runner: str, reference: Endpoints, values: Endpoints, tolerance: float = TOLERANCES["float32"]
) -> Comparison:
    """Compare every endpoint of the reference; the last one is the output.

    Raises:
        ValueError: `values` lacks an endpoint, or has one in another shape.
    """
    errors = tuple(_error(name, expected, values.get(name)) for name, expected in reference.items())
    output = errors[-1].endpoint
    agreement = None
    if output == "logits":
        agreement = top_agreement(reference[output], values[output])
    return Comparison(runner, tolerance, errors, agreement)


def _error(name: str, expected: np.ndarray, found: np.ndarray | None) -> Error:
    if found is None or found.shape != expected.shape:
        shape = "nothing" if found is None else found.shape
        raise ValueError(f"endpoint {name}: {shape} where the reference has {expected.shape}")
    difference = np.abs(found.astype(np.float64) - expected)
    if not np.isfinite(difference).all():
        return Error(name, np.inf, np.inf)
    spread = expected.std()
    if spread == 0:
        raise ValueError(f"endpoint {name} of the reference is constant; nothing can be compared")
    rms = np.sqrt(np.mean(np.square(difference)))
    return Error(name, float(difference.max() / spread), float(rms / spread))


def top_agreement(reference: np.ndarray, values: np.ndarray) -> float:
    """Share of images whose five highest logits are the same classes in the same order."""
    best, found = (np.argsort(-logits, axis=1)[:, :TOP] for logits in (reference, values))
    return float((best == found).all(1).mean())
