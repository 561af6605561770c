"""The names of the classes, which a training run keeps beside its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import DamagedFileError

CLASSES = "class_indices.json"


def class_names(weights: str | Path) -> Sequence[str] | None:
    """The names of the classes, in order, from `class_indices.json` beside a file of weights.

    Raises:
        RosettaError: it is there but cannot be read.
    """
    path = Path(weights).parent / CLASSES
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        indices = {str(name): int(index) for name, index in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedFileError(path, f"is not a table of classes ({error})") from error
    if sorted(indices.values()) != list(range(len(indices))):
        raise DamagedFileError(path, "does not number its classes from 0 on")
    return sorted(indices, key=indices.__getitem__)
