"""Checking the arguments by which a network is described."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import TypeVar

from ..errors import UsageError

LARGEST = 100  # multiplier of width or depth; L2, the largest there is, has 4.3 and 5.3

Entry = TypeVar("Entry")


def look_up(what: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """The entry of a table by its name, in small letters.

    Raises:
        UsageError: there is none.
    """
    found = table.get(name.lower()) if isinstance(name, str) else None
    if found is None:
        raise UsageError(f"unknown {what} {name!r}; choose from {', '.join(table)}")
    return found


def positive(what: str, value: float) -> float:
    """A number that must be above 0, and of a size that a network can have.

    Raises:
        UsageError: it is not.
    """
    if not (isinstance(value, Real) and 0 < value <= LARGEST):
        raise UsageError(f"{what} is {value}; it must be a positive number, at most {LARGEST}")
    return float(value)


def rate(what: str, value: float) -> float:
    """A share of 1, of which something must be left.

    Raises:
        UsageError: it is none.
    """
    if not (isinstance(value, Real) and 0 <= value < 1):
        raise UsageError(f"{what} is {value}; it must be at least 0 and below 1")
    return float(value)


def whole(value: int) -> int | None:
    """The value as a plain integer, of whatever integer type it is; None if it is not one."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def whole_count(what: str, value: int, otherwise: str = "", most: int | None = None) -> int:
    """A whole number of at least 1, and at most `most`; `otherwise` is what else may be said.

    Raises:
        UsageError: it is none.
    """
    count = whole(value)
    if count is None or count < 1:
        raise UsageError(f"{what} is {value}; it must be a whole number of at least 1{otherwise}")
    if most is not None and count > most:
        raise UsageError(f"{what} is {value}; it must be at most {most}")
    return count
