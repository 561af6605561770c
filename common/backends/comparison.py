"""How far apart two runs of one network are, and where they part.

Errors are relative to the spread of the reference: the standard deviation of its values at
that endpoint, or a tenth of their size where they hardly vary, so that one value, or two that are
close to one another, can be compared as well.  The logits are judged by their largest error.  Maps
inside the network are judged by the root mean square, because the largest of a million rounding
errors grows with their number and says nothing about the algorithm.

The tolerances follow from measurement.  Where the algorithm is the same, float64 agrees to 1e-13
on the logits and 1e-12 at any value of any endpoint of B0-B7, so there everything is judged by its
largest error; float32 rounds to 1e-5.  The smallest mistake tried, the epsilon of one batch norm
of B0, shows at 1e-3.

Some networks magnify rounding more than others, EfficientNetV2-L by so much that float32 may be
off by 1e-4.  A run in float32 that is off by more is therefore judged by what rounding does to that
network: by the reference in float64, run once more with noise as large as float32 rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .align import difference, spread_of

Endpoints = Mapping[str, np.ndarray]
TOP = 5


@dataclass(frozen=True)
class Error:
    """Difference from the reference at one endpoint, both relative to the reference's spread."""

    endpoint: str
    largest: float
    rms: float


@dataclass(frozen=True)
class Tolerance:
    """What is allowed: `limit`, of the largest error at the output and of `inside` elsewhere."""

    limit: float
    inside: Literal["largest", "rms"]


TOLERANCES = {"float64": Tolerance(1e-11, "largest"), "float32": Tolerance(1e-4, "rms")}


# Of a value that is rounded to float32, relative.
FLOAT32_NOISE = 2.0**-24
# How many times what that noise on weights and images does to a network all its rounding may do,
# which occurs in every operation.  Seen are 1 to 3 times, and 5 in EfficientNetV2-L.
ROUNDING_SHARE = 20.0
# An allowance that is as large as the smallest mistake would prove nothing.
SMALLEST_MISTAKE = 1e-3


@dataclass(frozen=True)
class Comparison:
    """One run against the reference, endpoint by endpoint in forward order."""

    runner: str
    tolerance: Tolerance
    errors: tuple[Error, ...]
    top5: tuple[bool, ...] | None  # of each image: are the five best classes the same?

    @property
    def top5_agreement(self) -> float | None:
        """Share of images whose five best classes are the same, in the same order."""
        return None if self.top5 is None else sum(self.top5) / len(self.top5)

    @property
    def output(self) -> Error:
        """The error of the logits, or of the features without a classifier."""
        return self.errors[-1]

    def judged(self, error: Error) -> float:
        """The number that is held against the limit."""
        return error.largest if error is self.output else getattr(error, self.tolerance.inside)

    @property
    def worst(self) -> Error:
        """The endpoint that is furthest off."""
        return max(self.errors, key=self.judged)

    @property
    def first_divergence(self) -> Error | None:
        """The first endpoint over the limit, where to start looking; None if there is none."""
        over = (e for e in self.errors if self.judged(e) > self.tolerance.limit)
        return next(over, None)

    @property
    def agrees(self) -> bool:
        """No endpoint is over the limit."""
        return self.first_divergence is None


def compare_endpoints(
    runner: str,
    reference: Endpoints,
    values: Endpoints,
    tolerance: Tolerance = TOLERANCES["float32"],
) -> Comparison:
    """Compare every endpoint of the reference; the last one is the output.

    What `values` lacks, or has in another shape, is infinitely far off.
    """
    errors = tuple(_error(name, expected, values.get(name)) for name, expected in reference.items())
    output = errors[-1].endpoint
    expected, found = reference[output], values.get(output)
    agreement = None
    if output == "logits" and found is not None and found.shape == expected.shape:
        agreement = same_top(expected, found)
    return Comparison(runner, tolerance, errors, agreement)


def explained_in_float32(reference: Endpoints, noisy: Endpoints) -> Tolerance:
    """What float32 explains of a network; `noisy` is the reference with `FLOAT32_NOISE`.

    The tolerance of any network, where rounding is so much that it would hide mistakes.
    """
    fixed = TOLERANCES["float32"]
    moved = compare_endpoints("noise", reference, noisy, fixed)
    explained = ROUNDING_SHARE * moved.judged(moved.worst)
    return replace(fixed, limit=explained) if fixed.limit < explained < SMALLEST_MISTAKE else fixed


def _error(name: str, expected: np.ndarray, found: np.ndarray | None) -> Error:
    if found is None or found.shape != expected.shape:
        return Error(name, np.inf, np.inf)
    gap = difference(expected, found)
    if gap is None or not np.isfinite(gap).all():
        return Error(name, np.inf, np.inf)
    largest, rms = float(np.abs(gap).max()), float(np.sqrt(np.mean(np.square(gap))))
    spread = spread_of(expected)
    if spread == 0:
        return Error(name, *((0.0, 0.0) if largest == 0 else (np.inf, np.inf)))
    return Error(name, largest / spread, rms / spread)


def same_top(reference: np.ndarray, values: np.ndarray) -> tuple[bool, ...]:
    """For each image, whose logits are a row: are the five highest the same, in the same order?"""
    best, found = (np.argsort(-logits, axis=1)[:, :TOP] for logits in (reference, values))
    return tuple((best == found).all(1).tolist())
