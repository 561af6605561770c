"""What the functions of the public API return."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Result:
    """A dataclass that can be turned into plain data."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as dictionaries, lists, text and numbers, ready for JSON.

        Numbers that are infinite, or not a number, are None, as JSON knows neither.  Fields of
        arrays, whose metadata is `ARRAYS`, are left out.
        """
        return {
            field.name: plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if not field.metadata.get("arrays")
        }


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Result):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(inner) for inner in value]
    if isinstance(value, Path | Enum):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy's, which the command line does without until it must
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


ARRAYS = {"arrays": True}  # metadata of a field that is too large for a dictionary of plain data
