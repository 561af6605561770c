"""What is this file?  The answer of `rosetta inspect`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from .._util.result import Result
from ..counting import count
from ..weights.canonical import fingerprint, unusable
from ..weights.metadata import FOLDED, UNFAITHFUL
from .identify import Match, match


@dataclass(frozen=True)
class Inspection(Result):
    """What `inspect` says of a file."""

    path: Path
    record: str | None  # the name of a published file, if it was asked for by that or its address
    format: str
    layouts: tuple[str, ...]
    preset: str
    scaling: dict[str, float]
    num_classes: int | None
    in_channels: int
    dtypes: tuple[str, ...]
    wrappers: tuple[str, ...]
    dialect: str | None
    dialect_from: str | None  # what says so
    possible_dialects: tuple[str, ...]
    expects: tuple[str, ...]  # of an image
    parameters: int
    fingerprint: str
    keys: dict[str, str] = field(
        repr=False
    )  # the canonical name of every key, or why it holds no weights
    mark: str | None  # of a file that was forced on another dialect, or lost its batch norms
    unusable: dict[str, str]  # tensors with which nothing can be computed, by canonical name
    head: dict[str, tuple[int, ...]]  # shapes of what has weights and is not of the network
    head_problem: str | None  # what keeps the only dense layer from being the classifier
    activation: str | None  # of the classifier's outputs; None where the file does not say
    averaged: bool | None  # None where the file says nothing of a moving average
    ending: str | None  # where the network ends, if that is before its head convolution
    notes: tuple[str, ...]


def inspect(
    path: str | Path,
    dialect: str | None = None,
    raw: bool = False,
    network: str | None = None,
) -> Inspection:
    """Say what a checkpoint file is.

    `raw` prefers the raw weights to their moving average, and `network` is the prefix of the one
    that is meant where a file holds several.

    Raises:
        RosettaError: the file cannot be read, no layout explains it, or it holds several networks
            and none was named.
    """
    return inspection(match(path, dialect, raw, network))


def inspection(found: Match) -> Inspection:
    """What there is to say of a file that was explained."""
    network = found.network
    roles = {key: name for name, key in found.stored.items()}
    return Inspection(
        path=found.checkpoint.path,
        record=None if found.record is None else found.record.reference,
        format=found.checkpoint.format,
        layouts=tuple(layout.name for layout in found.layouts),
        preset=network.name,
        scaling=network.scaling,
        num_classes=network.num_classes,
        in_channels=network.in_channels,
        dtypes=tuple(sorted({stored.dtype.name for stored in found.weights.values()})),
        wrappers=found.wrappers,
        dialect=None if found.dialect is None else found.dialect.name,
        dialect_from=found.dialect_from,
        possible_dialects=tuple(dialect.name for dialect in found.possible),
        expects=expectations(found),
        parameters=_parameters(found),
        fingerprint=fingerprint(found.weights),
        keys={**roles, **found.dropped},
        mark=mark_of(found),
        unusable=unusable(found.weights),
        head=dict(found.head.rest),
        head_problem=found.head.problem,
        activation=found.activation,
        averaged=found.averaged,
        ending=found.ending,
        notes=(*found.head.notes, *found.findings),
    )


def _parameters(found: Match) -> int:
    """Numbers that are trained: all but the running statistics."""
    if not found.ends_early:
        return count(found.network).trainable
    shapes = {
        n: s.shape for n, s in found.weights.items() if not n.endswith((".mean", ".variance"))
    }
    return sum(math.prod(shape) for shape in shapes.values())


def mark_of(found: Match) -> str | None:
    """What whoever uses the weights of a file has to know, if its metadata says so."""
    said = (found.checkpoint.metadata.get(key) for key in (UNFAITHFUL, FOLDED))
    return "; ".join(filter(None, said)) or None


def expectations(found: Match) -> tuple[str, ...]:
    """What the weights were trained on, outside a graph that normalises by itself."""
    if found.normalization is not None:
        return (str(found.normalization),)
    return tuple(dict.fromkeys(layout.expects for layout in found.layouts))
