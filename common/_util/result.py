"""What the functions of the public API return."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np


class Result:
    """A dataclass that can be turned into plain data."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as dictionaries, lists, text and numbers, ready for JSON.

        Numbers that are infinite, or not a number, are None, as JSON knows neither.  Fields whose
        representation is left out, such as arrays, are left out here as well, but for mappings.
        """
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {
            field.name: plain(getattr(self, field.name))
            for field in fields
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
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


ARRAYS = {"arrays": True}  # metadata of a field that is too large for a dictionary of plain data
