"""What people's training code puts around a state dict, and how to get at it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .lazy import LazyTensor

AVERAGED_MODEL_COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel
SHADOW = "/ExponentialMovingAverage"
# Of the attribute or the entry that holds a moving average: state_dict_ema, model_ema, ema.module,
# swa_model, averaged_model, ...
AVERAGED_PREFIX = re.compile(
    r"(^|[._/])(ema|swa|averaged?|avg)(_\w*|model|module)?[./]",
    re.IGNORECASE,
)
# Lightning's WeightAveraging leaves the average where the weights were, and the weights elsewhere.
AVERAGED_TABLES = {"current_model_state": "state_dict"}


@dataclass(frozen=True)
class Flat:
    """Tensors by key, joined from the keys of the dictionaries that they were in.

    `tables` are the keys of the dictionaries.
    """

    tensors: dict[str, LazyTensor] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)


def flatten(content: Mapping[str, Any]) -> Flat:
    """The tensors of dictionaries inside one another, by one key each.

    A key that two tensors would share goes to the first of them.
    """
    found = Flat()
    _flatten(content, "", found)
    return found


def _flatten(content: Mapping[str, Any], prefix: str, found: Flat) -> None:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, LazyTensor):
            found.tensors.setdefault(name, replace(value, key=name))
        elif isinstance(value, Mapping):
            found.tables.add(name)
            _flatten(value, f"{name}.", found)


def around(prefix: str, tables: set[str] | frozenset[str], own: str = "") -> tuple[str, ...]:
    """The names in a prefix: each dictionary, and then the attributes in the last of them.

    `own` is the end of it that is the library's.
    """
    inside = prefix.removesuffix(own).rstrip("./")
    found: list[str] = []
    while inside:
        dictionaries = [t for t in tables if inside == t or inside.startswith(f"{t}.")]
        table = min(dictionaries, key=len, default=inside)
        found.append(table)
        rest = inside[len(table) + 1 :]
        tables = {t[len(table) + 1 :] for t in tables if t.startswith(f"{table}.")}
        inside = rest
    return tuple(found)


def averages(
    tensors: Mapping[str, LazyTensor], raw: bool
) -> tuple[dict[str, LazyTensor], bool | None, dict[str, str]]:
    """The moving averages of a TensorFlow checkpoint under plain names, if it has any.

    With them whether they are the averages, and what was beside them and why.
    """
    plain = {key: stored for key, stored in tensors.items() if not key.endswith(SHADOW)}
    if len(plain) == len(tensors):
        return plain, None, {}
    if raw:
        return plain, False, {key: "the moving average" for key in tensors if key not in plain}
    shadows = {
        key.removesuffix(SHADOW): stored for key, stored in tensors.items() if key.endswith(SHADOW)
    }
    beside = {
        key: "what the moving average is of" if key in shadows else "state of the training"
        for key in plain
    }
    return shadows, True, beside
