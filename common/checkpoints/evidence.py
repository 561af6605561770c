"""What a file, and what lies beside it, says of its dialect and of the images it is for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import UsageError
from ..images.normalization import IMAGENET_MEAN, IMAGENET_STD, Normalization
from ..network import DIALECTS, Dialect
from .formats.lazy import LazyTensor
from .recognition import Reading
from .stated import CONFIG_FILE, checked, neighbour

TOLD = "the dialect that was given"
# timm's and efficientnet-jax's own names say the dialect; `efficientnet_b0` alone could be
# anybody's, so it takes one of timm's training tags as well.
FILE_NAMES = {
    r"(^|[^a-z])tf_efficientnet_(b\d|l2|lite\d|e[sml])": "tensorflow",
    r"(^|[^a-z])tf_efficientnetv2_": "automl",
    r"(^|[^a-z])pt_efficientnet_(b\d|l2|lite\d)": "pytorch",
    r"^efficientnet_(b\d|lite\d|e[sml])[._](ra\d?|ft|sw)([._-]|$)": "pytorch",
}


def possible_dialects(found: Sequence[Reading]) -> tuple[Dialect, ...]:
    """The dialects that the libraries of some readings run."""
    dialects = [dialect for f in found for dialect in f.layout.dialects.get(f.network.name, ())]
    return tuple(dict.fromkeys(dialects))


def dialect_of(
    path: Path, possible: tuple[Dialect, ...], told: str | None
) -> tuple[Dialect | None, str | None]:
    """The dialect of the weights and how it is known: told, by the layout, or beside the file."""
    if told is not None and told not in DIALECTS:
        raise UsageError(f"unknown dialect {told!r}; choose from {', '.join(DIALECTS)}")
    if told is not None:
        return DIALECTS[told], TOLD
    if len(possible) == 1:
        return possible[0], "the layout"
    architecture = neighbour(path).get("architecture")
    for name, where in ((architecture, CONFIG_FILE), (path.name, "the file's name")):
        hint = _named(name) if isinstance(name, str) else None
        # The configuration is written by timm itself: `efficientnet_b0` is no coincidence there.
        if where == CONFIG_FILE and hint is None and re.match("efficientnet(v2)?_", str(name)):
            hint = "pytorch"
        if hint and DIALECTS[hint] in possible:
            return DIALECTS[hint], where
    return None, None


def _named(name: str) -> str | None:
    hints = (hint for pattern, hint in FILE_NAMES.items() if re.search(pattern, name.lower()))
    return next(hints, None)


def constants(path: Path, reading: Reading) -> Normalization | None:
    """What a Keras file says of the image, in the constants of its graph.

    Raises:
        DamagedFileError: it cannot be applied to an image.
    """
    marker, inside = reading.form.marker, reading.names
    ordered = sorted((inside[key], key) for key in reading.others if key in inside)
    constants: list[LazyTensor] = [
        reading.tensors[key]
        for name, key in ordered  # the mean before the variance, in every form
        if marker and re.search(marker, name) and reading.tensors[key].is_float
    ]
    if len(constants) == 2 and all(c.shape == (reading.network.in_channels,) for c in constants):
        mean, variance = (constant.read() for constant in constants)
        return checked(path, from_keras(mean, variance), reading.network.in_channels)
    return None


def from_keras(mean: np.ndarray, variance: np.ndarray) -> Normalization:
    """What the weights of a keras.applications file were trained on, by its two constants.

    The published files keep the standard deviation where the variance belongs, and
    keras.applications makes up for it if the weights are asked for as "imagenet".
    """
    published = (
        len(mean) == len(IMAGENET_MEAN)
        and np.allclose(variance, IMAGENET_STD)
        and np.allclose(mean, IMAGENET_MEAN)
    )
    std = variance if published else np.sqrt(np.maximum(variance, 0))
    return Normalization(
        tuple(float(value) for value in mean), tuple(float(value) for value in std)
    )
