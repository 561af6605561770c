"""Whether two programs compute the same, and the three things that a check can end in.

A difference says something only beside what rounding alone would do to the same values, and that
depends on the weights and on the image: some networks multiply it by a thousand, some by 2^60.  So
it is measured, never assumed.  A network is run again with noise of 2^-40 of their size on its
weights and its image.  An operation in float64 is rounded by 2^-52, and a sum of some thousand
terms up to some thousand times, so that the noise is as much as rounding can be: what it does to
the output is what is allowed.  The networks of test_verdict.py need a seventeenth of it at most.
Where one side runs in float32, the measure is what float32 does to a network that is known in
float64 as well.

Errors are relative to a scale that cannot vanish: for features their root mean square, for logits
the size of the terms that are added up to one.  The spread of the logits would not do: there may
be two of them, close to one another, or one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..weights.canonical import Weights

Values = Mapping[str, np.ndarray]  # "features", and "logits" where there is a classifier: (N, ...)
Ending = Literal["proved", "differs", "weights proved, outputs not run", "outputs not compared"]

PROVED: Ending = "proved"
DIFFERS: Ending = "differs"
NOT_RUN: Ending = "weights proved, outputs not run"
# The same where there are no weights to be proved: rounding explains any difference.
NOT_COMPARED: Ending = "outputs not compared"

NOISE = 2.0**-40  # relative, of weights and images
FLOOR = {"float64": 1e-11, "float32": 1e-5}  # relative to the scale: what is always allowed
# How many times what another run in float32 says rounding in float32 may be.
NARROW_SHARE = 30.0
# Noise that moves an output by this share of its scale leaves nothing to be said: what is allowed
# would be as large as a mistake.
SATURATED = 1e-5
# By how much of their size features of a photograph and of noise differ at least, if they say
# anything of the operations before them.
VARIES = 1e-7


@dataclass(frozen=True)
class Verdict:
    """What a check ended in, and why."""

    ending: Ending
    why: str

    def __str__(self) -> str:
        return f"{self.ending}: {self.why}"


@dataclass(frozen=True)
class Judged:
    """How far apart two runs are at one endpoint of one image, in units of its scale."""

    endpoint: str
    error: float
    tolerance: float  # what rounding explains; infinite where it explains anything

    @property
    def agrees(self) -> bool:
        """Rounding explains the difference."""
        return self.error <= self.tolerance

    @property
    def share(self) -> float:
        """The error, in units of what is allowed."""
        if np.isinf(self.tolerance) or self.error == 0:
            return 0.0
        return self.error / self.tolerance if self.tolerance else np.inf


def scales(values: Values, weights: Weights) -> dict[str, np.ndarray]:
    """The scale of every endpoint for each image (N,); `weights` are canonical.

    It is 0 only where every value, and everything that was added up to it, is 0.
    """
    found = {}
    for endpoint, value in values.items():
        if endpoint == "logits" and "classifier.weight" in weights:
            features = np.asarray(values["features"], np.float64)
            kernel = np.asarray(weights["classifier.weight"], np.float64)
            bias = np.asarray(weights["classifier.bias"], np.float64)
            terms = np.sqrt(np.square(features) @ np.square(kernel).T) + np.abs(bias)
            found[endpoint] = root_mean_square(terms)
        else:
            found[endpoint] = root_mean_square(value)
    return found


def root_mean_square(value: np.ndarray) -> np.ndarray:
    """Of each image's finite values: (N, ...) -> (N,)."""
    flat = np.asarray(value, np.float64).reshape(len(value), -1)
    flat = np.where(np.isfinite(flat), flat, 0)
    largest = np.abs(flat).max(1, initial=0)  # or squares of 1e200 would be infinite
    safe = np.where(largest > 0, largest, 1)
    return np.asarray(largest * np.sqrt(np.mean(np.square(flat / safe[:, None]), 1)))


def apart(first: np.ndarray, second: np.ndarray, up_to_a_constant: bool = False) -> np.ndarray:
    """The largest difference in each image: (N, ...) -> (N,).

    Infinite where shapes differ, or one value is finite and the other is not.  With
    `up_to_a_constant`, what all values of an image differ by is no difference, as before a softmax.
    """
    if first.shape != second.shape:
        return np.full(len(first), np.inf)
    one, other = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (first, second))
    finite = np.isfinite(one)
    with np.errstate(over="ignore"):
        gap = np.where(finite, other, 0) - np.where(finite, one, 0)
    if up_to_a_constant:
        gap = gap - gap.mean(1, keepdims=True)
    largest = np.abs(np.nan_to_num(gap, nan=np.inf, posinf=np.inf)).max(1, initial=0)
    alike = (finite == np.isfinite(other)).all(1)
    return np.where(alike, largest, np.inf)


def with_noise(array: np.ndarray, random: np.random.Generator, noise: float = NOISE) -> np.ndarray:
    """Every value a little larger or smaller, by turns of chance, in float64."""
    bits = np.unpackbits(np.frombuffer(random.bytes(array.size // 8 + 1), np.uint8))
    signs = bits[: array.size].reshape(array.shape)
    return np.asarray(array, np.float64) * (1 + noise * (2.0 * signs - 1))


def explained_by_noise(values: Values, noisy: Values, scale: Values) -> dict[str, np.ndarray]:
    """What float64 explains at every endpoint of each image (N,), in units of the scale.

    `noisy` are the values with `NOISE` on weights and image.
    """
    found = {}
    for endpoint, value in values.items():
        moves = relative(apart(value, noisy[endpoint]), scale[endpoint])
        explained = np.maximum(FLOOR["float64"], moves)
        found[endpoint] = np.where(moves > SATURATED, np.inf, explained)
    return found


def explained_by_float32(values: Values, narrow: Values, scale: Values) -> dict[str, np.ndarray]:
    """What float32 explains at every endpoint of each image (N,), in units of the scale.

    `narrow` are the values of the same network, run in float32.
    """
    found = {}
    for endpoint, value in values.items():
        moved = relative(apart(value, narrow[endpoint]), scale[endpoint])
        found[endpoint] = np.maximum(FLOOR["float32"], NARROW_SHARE * moved)
    return found


def relative(gap: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """In units of the scale; where that is 0, any difference is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(gap == 0, 0.0, gap / scale)


def judge(
    first: Values, second: Values, scale: Values, explained: Values, up_to_a_constant: bool = False
) -> Judged:
    """The endpoint and image at which two runs are furthest apart, for what is allowed there.

    Endpoints that the second lacks are not compared.  `up_to_a_constant` is of the logits.
    """
    found = []
    for endpoint, value in first.items():
        if endpoint not in second:
            continue
        gap = apart(value, second[endpoint], up_to_a_constant and endpoint == "logits")
        errors = relative(gap, scale[endpoint])
        for error, tolerance in zip(errors, explained[endpoint], strict=True):
            found.append(Judged(endpoint, float(error), float(tolerance)))
    # Of those that agree to the same share, the last endpoint is the one to be told.
    return max(reversed(found), key=lambda judged: (judged.share, -judged.tolerance))


def says_something(values: Values, explained: Values) -> bool:
    """Whether a mistake would show: values are finite, depend on the images, not on rounding."""
    features = values["features"]
    depends = apart(features[:1], features[1:2]) > VARIES * root_mean_square(features[:1])
    return bool(depends.all()) and all(
        np.isfinite(value.reshape(len(value), -1)).any(1).all()
        and np.isfinite(explained[endpoint]).all()
        for endpoint, value in values.items()
    )
