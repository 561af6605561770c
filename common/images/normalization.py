"""What pixels are divided by and what is subtracted, before a network sees them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from ..errors import RosettaError

LEVELS = 256  # of a colour of 8 bits

# Of ImageNet's red, green and blue, on a scale of 0 to 1.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Normalization:
    """What an image is given to a network as: (RGB / 255 - mean) / std, channel by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.4g}" for value in v) for v in (self.mean, self.std))
        return f"RGB / 255, mean {mean}, standard deviation {std}"

    def to_json(self) -> str:
        """What the metadata of files keep."""
        return json.dumps(asdict(self))


IMAGENET = Normalization(tuple(IMAGENET_MEAN.tolist()), tuple(IMAGENET_STD.tolist()))
INCEPTION = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # -1 to 1; AdvProp's too
LITE_PIXELS = Normalization((127 / 255,) * 3, (128 / 255,) * 3)  # (RGB - 127) / 128
V2_PIXELS = Normalization((128 / 255,) * 3, (128 / 255,) * 3)  # (RGB - 128) / 128
RAW = Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # 0 to 255 as it is


def check_normalization(normalization: Normalization) -> None:
    """Refuse what cannot be applied to an image of red, green and blue.

    Raises:
        RosettaError: it has another number of channels, is not finite, or divides by zero.
    """
    mean, std = (np.array(values) for values in (normalization.mean, normalization.std))
    if any(len(values) not in (1, 3) for values in (mean, std)):
        raise RosettaError(f"{normalization}: has not one number for each of red, green and blue")
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise RosettaError(f"{normalization}: is not finite, or divides by zero")


def normalised(
    image: np.ndarray, normalization: Normalization = IMAGENET, out: np.ndarray | None = None
) -> np.ndarray:
    """(H, W, 3) from 0 to 255 -> (3, H, W) of float32, in `out` if given: mean 0, deviation 1."""
    if out is None:
        out = np.empty((3, *image.shape[:2]), np.float32)
    if image.dtype == np.uint8:
        for channel, table in enumerate(level_table(normalization)):
            # No level is outside of the table; of the modes, "raise" would make a copy of `out`.
            np.take(table, image[..., channel], out=out[channel], mode="wrap")
    else:
        out[:] = _normalised(image, normalization).transpose(2, 0, 1)
    return out


@lru_cache(maxsize=64)
def level_table(normalization: Normalization) -> np.ndarray:
    """What becomes of each level of red, green and blue: (3, 256) of float32, to be read only.

    A look-up is the same, bit for bit, as the arithmetic in float64 of which it holds all results.
    """
    levels = np.broadcast_to(np.arange(LEVELS)[:, None], (LEVELS, 3))
    table = np.ascontiguousarray(_normalised(levels, normalization).T.astype(np.float32))
    table.setflags(write=False)  # whoever asks next is given the same array
    return table


def _normalised(image: np.ndarray, normalization: Normalization) -> np.ndarray:
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    return np.asarray((image / 255 - mean) / std)
