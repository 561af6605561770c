"""What is this file?  The answer of `rosetta inspect`."""

from __future__ import annotations

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


def inspect(path: str | Path, dialect: str | None = None, raw: bool = False) -> Inspection:
    """Say what a checkpoint file is.

    Raises:
        RosettaError: the file cannot be read, or no layout explains it whole.
    """
    return inspection(match(path, dialect, raw))


def inspection(found: Match) -> Inspection:
    """What there is to say of a file that was explained."""
    network = found.network
    roles = {stored.key: name for name, stored in found.weights.items()}
    return Inspection(
        path=found.checkpoint.path,
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
        parameters=count(network).trainable,
        fingerprint=fingerprint(found.weights),
        keys={**roles, **found.dropped},
        mark=mark_of(found),
        unusable=unusable(found.weights),
    )


def mark_of(found: Match) -> str | None:
    """What whoever uses the weights of a file has to know, if its metadata says so."""
    said = (found.checkpoint.metadata.get(key) for key in (UNFAITHFUL, FOLDED))
    return "; ".join(filter(None, said)) or None


def expectations(found: Match) -> tuple[str, ...]:
    """What the weights were trained on, outside a graph that normalises by itself."""
    if found.normalization is not None:
        return (str(found.normalization),)
    return tuple(dict.fromkeys(layout.expects for layout in found.layouts))
