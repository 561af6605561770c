"""What is said of a file of weights in its metadata and in `config.json` beside it: claims only."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .._util.files import content, is_folder
from ..errors import DamagedFileError, FileError
from ..images.normalization import Normalization
from ..weights.metadata import NORMALIZATION
from .formats.checkpoint import Checkpoint

CONFIG_FILE = "config.json"  # what Hugging Face's hub keeps beside a file of weights
CONFIG_LIMIT = 2**22  # bytes


def neighbour(path: Path) -> dict[str, Any]:
    """What a Hugging Face `config.json` beside a file, or in a folder, says; or nothing."""
    try:
        folder = path if is_folder(path) else path.parent
        found = json.loads(content(folder / CONFIG_FILE, CONFIG_LIMIT))
    except (FileError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def stated_normalization(checkpoint: Checkpoint, channels: int) -> Normalization | None:
    """What a file's metadata, or timm's configuration beside it, says of its images.

    Raises:
        DamagedFileError: what is said cannot be applied to images of so many channels.
    """
    said = checkpoint.metadata.get(NORMALIZATION)
    if said is not None:
        return _parsed(checkpoint.path, said, channels)
    config = neighbour(checkpoint.path).get("pretrained_cfg")
    if not isinstance(config, dict) or not {"mean", "std"} <= config.keys():
        return None
    return _parsed(checkpoint.path.parent / CONFIG_FILE, config, channels)


def _parsed(path: Path, said: Any, channels: int) -> Normalization:
    try:
        found = json.loads(said) if isinstance(said, str) else said
        mean, std = (tuple(map(float, found[name])) for name in ("mean", "std"))
    except (TypeError, KeyError, ValueError, OverflowError, RecursionError) as error:
        raise DamagedFileError(
            path, f"the normalization in it makes no sense ({type(error).__name__}); correct it"
        ) from error
    return checked(path, Normalization(mean, std), channels)


def checked(path: Path, said: Normalization, channels: int) -> Normalization:
    """What a file says of its images, if it can be applied to so many channels.

    Raises:
        DamagedFileError: it cannot.
    """
    mean, std = said.mean, said.std
    fits = len(mean) == len(std) and len(mean) in (1, 3, channels)
    if not fits or not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise DamagedFileError(
            path,
            f"the normalization in it, mean {list(mean[:4])} and std {list(std[:4])}, is not of "
            f"{channels} channels, not finite, or divides by zero; correct it",
        )
    return said
