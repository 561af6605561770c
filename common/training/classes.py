"""The names of the classes, which a training run keeps beside its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .._util.arguments import whole
from .._util.files import content, is_there
from ..errors import DamagedFileError, FileError, reason

CLASSES = "class_indices.json"
LIMIT = 2**24  # bytes


def class_names(weights: str | Path) -> Sequence[str] | None:
    """The names of the classes, in order, from `class_indices.json` beside a file of weights.

    Raises:
        RosettaError: it is there but cannot be read.
    """
    path = Path(weights).parent / CLASSES
    if not is_there(path):
        return None
    try:
        found = json.loads(content(path, LIMIT))
        indices = {str(name): index for name, index in found.items()}
    except FileError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(path, f"is not a table of classes ({reason(error)})") from error
    if sorted(map(whole, indices.values()), key=str) != sorted(range(len(indices)), key=str):
        raise DamagedFileError(path, "does not number its classes from 0 on")
    return sorted(indices, key=indices.__getitem__)
