"""A graph without the format that it was in: operations by ONNX's names, and their constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from ..formats.lazy import LazyTensor
from ..formats.protobuf_wire import shown

MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operations
Kind = TypeVar("Kind")
NODES_LIMIT = 1 << 16  # B7 with its paddings computed at run time has some 3,000


class GraphError(ValueError):
    """A graph is none that a network is read from; the text, a phrase, says why."""


@dataclass(frozen=True)
class Node:
    """An operation; an input that is not given is "".

    Attributes are whole numbers, floats, texts, tuples of them, and tensors.  `domain` is "" for
    the operations of ONNX itself.
    """

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    domain: str = ""

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute that is a whole number.

        Raises:
            GraphError: it is something else.
        """
        value = self.attributes.get(name)
        return default if value is None else self._checked(name, value, int)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number.

        Raises:
            GraphError: it is something else.
        """
        value = self.attributes.get(name)
        return default if value is None else float(self._checked(name, value, (int, float)))

    def integers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """An attribute that is a list of whole numbers.

        Raises:
            GraphError: it is something else.
        """
        value = self._checked(name, self.attributes.get(name, default), tuple)
        return tuple(self._checked(name, number, int) for number in value)

    def text(self, name: str, default: str = "") -> str:
        """An attribute that is a text.

        Raises:
            GraphError: it is something else.
        """
        return self._checked(name, self.attributes.get(name, default), str)

    def _checked(self, name: str, value: Any, kind: type[Kind] | tuple[type[Kind], ...]) -> Kind:
        if not isinstance(value, kind):
            raise GraphError(f"has a {self.title} whose {name} makes no sense")
        return value

    @property
    def title(self) -> str:
        """The operation with its domain, as a message shows it."""
        name = f"{self.domain}.{self.operation}" if self.domain else self.operation
        return shown(name.encode())


@dataclass(frozen=True)
class Graph:
    """Operations, each after those whose values it takes, and the tensors that are stored.

    A size of an input's shape is None where the file leaves it open.  `types` are those of the
    inputs whose values NumPy has a type for.  `channels_last` says how the operations have their
    maps: (N, H, W, C) in TFLite, (N, C, H, W) in ONNX.
    """

    producer: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, LazyTensor]
    inputs: Mapping[str, tuple[int | None, ...]]
    types: Mapping[str, np.dtype[Any]]
    outputs: tuple[str, ...]
    channels_last: bool = False
