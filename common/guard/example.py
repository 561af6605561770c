"""One input with something in it: a photograph, ramps and noise, whole numbers, masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..images.decode import PHOTOGRAPH, photograph
from .program import FLOAT64, Input

CHANNELS = 3
HIGHEST = 10  # of whole numbers that say nothing of their range, which are indices mostly
EXTENT = 2.0  # of ramps, to both sides of 0: about as far as normalized pixels reach
ALONE = 0.75  # a single number


@dataclass(frozen=True)
class Case:
    """How many examples there are, and how large the open sides are.

    Images show pictures, one for each example, or else what is made up.  `begin` counts the
    examples that came before, so that others follow.
    """

    examples: int
    size: tuple[int, int]
    length: int
    begin: int
    pictures: tuple[str, ...] = ()


def array_for(said: Input, case: Case, random: np.random.Generator) -> np.ndarray:
    """An array for an input, images as (N, C, H, W).

    Raises:
        FileError: a picture cannot be read.
    """
    shape = _sides(said, case)
    if not shape:
        return np.asarray(ALONE).astype(said.dtype)
    kind = np.dtype(said.dtype).kind
    if kind == "b" or "mask" in said.name.lower():
        return _masks(shape).astype(said.dtype)
    if len(shape) == 4:
        return _images(shape, case, kind, random).astype(said.dtype)
    if kind in "iu":
        return _whole_numbers(shape, said.name.lower(), random).astype(said.dtype)
    return _numbers(shape, case.begin, random).astype(said.dtype)


def _sides(said: Input, case: Case) -> tuple[int, ...]:
    """A shape without open sides."""
    if not said.shape:
        return ()
    opened: tuple[int, ...] = (case.length,) * (len(said.shape) - 1)
    if len(said.shape) == 4:
        opened = (CHANNELS, *case.size)
    return tuple(
        other if side is None else side
        for side, other in zip(said.shape, (case.examples, *opened), strict=True)
    )


def _images(
    shape: tuple[int, ...], case: Case, kind: str, random: np.random.Generator
) -> np.ndarray:
    """Pictures; or a photograph, ramps, and noise in turn."""
    count, channels, height, width = shape
    found = []
    for place in range(count):
        turn = (case.begin + place) % 3
        if case.pictures or turn == 0:
            picture = case.pictures[place] if case.pictures else PHOTOGRAPH
            image = photograph(picture, channels, (height, width))
        elif turn == 1:
            image = _ramps(channels, height, width)
        else:
            image = random.normal(size=shape[1:])
        found.append(image if kind == "f" else _as_bytes(image))
    return np.stack(found)


def _ramps(channels: int, height: int, width: int) -> np.ndarray:
    """Values that rise along rows and columns, each channel at another angle."""
    rows = np.linspace(-EXTENT, EXTENT, height)[:, None]
    columns = np.linspace(-EXTENT, EXTENT, width)[None]
    angles = np.linspace(0, np.pi / 2, channels + 2)[1:-1, None, None]
    ramps: np.ndarray = np.cos(angles) * rows + np.sin(angles) * columns
    return ramps


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """An image in whole numbers from 0 to 255, or as far as it reaches."""
    least, most = image.min(), image.max()
    scale = 255 / ((most - least) or 1.0)
    pixels: np.ndarray = np.round((image - least) * scale)
    return pixels


def _masks(shape: tuple[int, ...]) -> np.ndarray:
    """Ones with a tail of zeros, of another length in every example."""
    found = np.ones(shape)
    if len(shape) > 1:
        for place, example in enumerate(found):
            example[..., shape[-1] - (place % 3 + 1) * shape[-1] // 4 :] = 0
    return found


def _whole_numbers(shape: tuple[int, ...], name: str, random: np.random.Generator) -> np.ndarray:
    """Indices, small enough for any vocabulary; places and kinds of parts, where a name says so."""
    if "position" in name:
        return np.broadcast_to(np.arange(shape[-1]), shape)
    if "type" in name or "segment" in name:
        return np.broadcast_to(np.arange(shape[-1]) * 2 // max(shape[-1], 1), shape)
    return random.integers(0, HIGHEST, shape)


def _numbers(shape: tuple[int, ...], begin: int, random: np.random.Generator) -> np.ndarray:
    """Noise and waves in turn."""
    found = random.normal(size=shape)
    for place in range(shape[0]):
        if (begin + place) % 2:
            along = np.arange(found[place].size, dtype=FLOAT64)
            found[place] = np.sin(0.37 * along + 0.011 * along**1.5).reshape(found[place].shape)
    return found
