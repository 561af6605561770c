"""Choosing among the networks of a file: raw or averaged weights, or the one that was named."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FileError
from ..weights.canonical import fingerprint
from .formats.checkpoint import Checkpoint
from .formats.wrappers import (
    AVERAGED_MODEL_COUNTER,
    AVERAGED_PREFIX,
    AVERAGED_TABLES,
)
from .recognition import Reading

LISTED = 6  # networks named in a message


@dataclass(frozen=True)
class Choice:
    """The network that is meant: all readings of it, and what else the file says of it.

    `averaged` is None where the file has no moving average of it, nor says that it is one.
    `elsewhere` are the keys that belong to another network of the file, and what that is.
    """

    readings: Sequence[Reading]
    averaged: bool | None
    elsewhere: Mapping[str, str]


def choose(
    checkpoint: Checkpoint, found: Sequence[Reading], raw: bool, network: str | None
) -> Choice:
    """The network of a file that is meant, if there is no doubt.

    Raises:
        FileError: there are several and none is named, or none has the name.
    """
    path = checkpoint.path
    places: dict[str, list[Reading]] = {}
    for reading in found:
        places.setdefault(reading.place, []).append(reading)
    prefixes = {place: readings[0].prefix for place, readings in places.items()}
    wanted = _named(path, prefixes, network)
    averaged = [place for place in wanted if _is_average(checkpoint, prefixes[place])]
    plain = [place for place in wanted if place not in averaged]
    if raw and averaged and not plain:
        raise FileError(path, "holds the moving average only, and not the raw weights")
    chosen = plain if raw or not averaged else averaged
    place = chosen[0]
    if len(chosen) > 1:
        _check_equal(
            path, [places[one][0] for one in chosen], [_shown(prefixes[p]) for p in chosen]
        )
    others = [prefix for other, prefix in prefixes.items() if other != place]
    is_average = checkpoint.averaged
    if any(_is_average(checkpoint, prefix) for prefix in prefixes.values()):
        is_average = _is_average(checkpoint, prefixes[place])
    averages = {prefix for prefix in others if _is_average(checkpoint, prefix)}
    elsewhere = _elsewhere(places[place][0], others, averages, is_average)
    return Choice(places[place], is_average, elsewhere)


def _named(path: Path, prefixes: Mapping[str, str], network: str | None) -> list[str]:
    """The places below a name."""
    if network is None:
        return list(prefixes)
    wanted = network.rstrip("./")
    found = [
        place
        for place, prefix in prefixes.items()
        if prefix.rstrip("./") == wanted or re.match(re.escape(wanted) + "[./]", prefix)
    ]
    if not found:
        known = ", ".join(_shown(prefix) for prefix in list(prefixes.values())[:LISTED])
        raise FileError(path, f"holds no network below {network}; choose from {known}")
    return found


def _shown(prefix: str) -> str:
    return prefix.rstrip("./") or "the top"


def _is_average(checkpoint: Checkpoint, prefix: str) -> bool:
    """Whether a moving average stands below a prefix, in any of the ways that libraries keep it."""
    if re.search(AVERAGED_PREFIX, prefix):
        return True
    for raw, average in AVERAGED_TABLES.items():  # Lightning exchanges the two
        if raw in checkpoint.tables and prefix.startswith(f"{average}."):
            return True
    above, module, _ = prefix.rpartition("module.")
    return bool(module) and f"{above}{AVERAGED_MODEL_COUNTER}" in checkpoint.tensors


def _check_equal(path: Path, readings: Sequence[Reading], names: Sequence[str]) -> None:
    marks = {fingerprint(reading.weights) for reading in readings}
    if len(marks) > 1:
        more = ", ..." if len(names) > LISTED else ""
        raise FileError(
            path,
            f"holds {len(names)} networks, below {', '.join(names[:LISTED])}{more}; "
            "name the one that is meant",
            argument="network",
        )


def _elsewhere(
    chosen: Reading, others: Collection[str], averages: Collection[str], is_average: bool | None
) -> dict[str, str]:
    """The keys of the other networks of a file, with the heads that stand beside each."""
    reasons: dict[str, str] = {}
    for other in sorted(others, key=len):
        unit = _unit(other, [chosen.prefix])
        if unit and is_average and other not in averages:
            reasons[unit] = "the raw weights, of which the moving average was taken"
        elif unit and is_average is False and other in averages:
            reasons[unit] = "the moving average of the weights"
        elif unit:
            reasons[unit] = f"of another network, below {_shown(unit)}"
    used = set(chosen.stored.values())
    return {
        key: reason
        for unit, reason in reasons.items()
        for key in chosen.tensors
        if key.startswith(unit) and key not in used
    }


def _unit(prefix: str, others: Sequence[str]) -> str:
    """The shortest part of a prefix that none of the others begins with."""
    for end in re.finditer(r"[./]", prefix):
        unit = prefix[: end.end()]
        if not any(other.startswith(unit) for other in others):
            return unit
    return prefix
