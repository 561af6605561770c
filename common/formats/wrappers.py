"""What people's training code puts around a state dict, and how to get at it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

# In the order of preference: moving averages are what was evaluated.
AVERAGED = ("state_dict_ema", "model_ema", "ema_model")
PLAIN = ("state_dict", "model_state_dict", "model")
WRAPPED = re.compile(r"^(?:_orig_mod\.|module\.)+")  # torch.compile, DataParallel, AveragedModel
AVERAGED_MODEL_COUNTER = "n_averaged"
SHADOW = "/ExponentialMovingAverage"


def unwrap(content: Mapping, raw: bool) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays of a checkpoint by key, and what was around them."""
    found: list[str] = []
    for name in (*PLAIN, *AVERAGED) if raw else (*AVERAGED, *PLAIN):
        if isinstance(content.get(name), Mapping):
            content = content[name]
            found.append(name)
            break
    arrays = {key: value for key, value in content.items() if isinstance(value, np.ndarray)}
    if AVERAGED_MODEL_COUNTER in arrays:
        del arrays[AVERAGED_MODEL_COUNTER]
        found.append("AveragedModel")
    prefixes = {match.group() for key in arrays if (match := WRAPPED.match(key))}
    if prefixes and all(WRAPPED.match(key) for key in arrays):
        arrays = {WRAPPED.sub("", key): value for key, value in arrays.items()}
        found += sorted(prefix.rstrip(".") for prefix in prefixes)
    return arrays, tuple(found)


def averages(
    arrays: Mapping[str, np.ndarray], raw: bool
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The moving averages of a TensorFlow checkpoint under plain names, if it has any."""
    raw_arrays = {key: array for key, array in arrays.items() if not key.endswith(SHADOW)}
    if raw or len(raw_arrays) == len(arrays):
        return raw_arrays, ()
    shadows = {
        key.removesuffix(SHADOW): array for key, array in arrays.items() if key.endswith(SHADOW)
    }
    return shadows, (SHADOW.strip("/"),)


def without_prefix(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str] | None:
    """The arrays below the attribute that a network was kept in, if all are below one."""
    prefixes = {key.partition(".")[0] for key in arrays}
    if len(prefixes) != 1:
        return None
    (prefix,) = prefixes
    stripped = {key.partition(".")[2]: array for key, array in arrays.items()}
    return None if "" in stripped else (stripped, prefix)
