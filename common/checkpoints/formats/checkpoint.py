"""What is in a checkpoint file, and what is to be written into one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .lazy import LazyTensor


@dataclass(frozen=True)
class Checkpoint:
    """What is in a file: tensors by key, and what had to be unwrapped to get at them.

    `layer_names` are those that Keras 3 writes beside its counters, by group; `beside` is what was
    left out in unwrapping, and why; `tables` are the keys of the dictionaries that tensors were in;
    `model` is what Keras wrote of the model, as data; `averaged` says whether all is a moving
    average, where the format has a place for one; `parts` are the files that the path is an index
    of.
    """

    path: Path
    format: str
    tensors: Mapping[str, LazyTensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    layer_names: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    model: Mapping[str, Any] | None = None
    averaged: bool | None = None
    parts: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Content:
    """What is to be written: tensors by key, and what some formats keep beside them."""

    tensors: Mapping[str, LazyTensor]
    metadata: Mapping[str, str] = field(default_factory=dict)  # safetensors, torch and HDF5
    layer_names: Mapping[str, str] = field(default_factory=dict)  # .weights.h5 and .keras
    config: Mapping[str, Any] | None = None  # .keras: the model
