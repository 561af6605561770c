"""What a program returns, however nested, as arrays by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .program import Outputs

ALONE = "output"  # what the one output is called that has no name


def named(value: Any, array: Callable[[Any], np.ndarray | None]) -> Outputs:
    """The arrays in whatever a program returns, by their place in it.

    `array` makes one of a leaf, and None of what is to be left out, as None itself is.
    """
    found = ((path, array(leaf)) for path, leaf in leaves(value))
    return {path: wide(one) for path, one in found if one is not None}


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """What is inside of lists, dictionaries and dataclasses, by its place."""
    for path, leaf in _leaves(value, ()):
        yield _name(path), leaf


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        inner: Any = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and _is_nested(value):
        inner = zip(getattr(value, "_fields", range(len(value))), value, strict=True)
    elif is_dataclass(value) and not hasattr(value, "__array__"):
        inner = ((field.name, getattr(value, field.name)) for field in fields(value))
    else:
        yield path, value
        return
    for key, leaf in inner:
        yield from _leaves(leaf, (*path, key if isinstance(key, int) else str(key)))


def _is_nested(value: Sequence[Any]) -> bool:
    """Whether a sequence holds several outputs, and is not one made of numbers."""
    return not value or not all(isinstance(one, int | float) for one in value)


def _name(path: tuple[str | int, ...]) -> str:
    if not path:
        return ALONE
    names = [str(key) for key in path]
    return ".".join(names if isinstance(path[0], str) else [f"{ALONE} {names[0]}", *names[1:]])


def wide(array: np.ndarray) -> np.ndarray:
    """An array in a type that NumPy reckons in: half precision as float32, complex as pairs."""
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], -1)
    small = array.dtype.kind == "V" or (array.dtype.kind == "f" and array.dtype.itemsize < 4)
    return array.astype(np.float32) if small else array
