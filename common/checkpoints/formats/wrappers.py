"""What people's training code puts around a state dict, and how to get at it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .lazy import LazyTensor

# In the order of preference: moving averages are what was evaluated.
AVERAGED = ("state_dict_ema", "model_ema", "ema_model")
PLAIN = ("state_dict", "model_state_dict", "model")
WRAPPED = re.compile(r"^(?:_orig_mod\.|module\.)+")  # torch.compile, DataParallel, AveragedModel
AVERAGED_MODEL_COUNTER = "n_averaged"
SHADOW = "/ExponentialMovingAverage"
AVERAGED_PREFIX = r"(^|[._/])(ema|averaged)"  # of the attribute that holds a moving average


def unwrap(
    content: Mapping[str, Any], raw: bool
) -> tuple[dict[str, LazyTensor], tuple[str, ...], dict[str, str]]:
    """The tensors of a checkpoint by key, what was around them, what was beside them and why."""
    found: list[str] = []
    beside: dict[str, str] = {}
    for name in (*PLAIN, *AVERAGED) if raw else (*AVERAGED, *PLAIN):
        if isinstance(content.get(name), Mapping):
            beside = {key: f"beside {name}" for key in content if key != name}
            content = content[name]
            found.append(name)
            break
    tensors = {key: value for key, value in content.items() if isinstance(value, LazyTensor)}
    if AVERAGED_MODEL_COUNTER in tensors:
        del tensors[AVERAGED_MODEL_COUNTER]
        found.append("AveragedModel")
    prefixes = {match.group() for key in tensors if (match := WRAPPED.match(key))}
    if prefixes and all(WRAPPED.match(key) for key in tensors):
        tensors = {WRAPPED.sub("", key): value for key, value in tensors.items()}
        found += sorted(prefix.rstrip(".") for prefix in prefixes)
    return tensors, tuple(found), beside


def averages(
    tensors: Mapping[str, LazyTensor], raw: bool
) -> tuple[dict[str, LazyTensor], tuple[str, ...], dict[str, str]]:
    """The moving averages of a TensorFlow checkpoint under plain names, if it has any.

    With them what was around them, and what was beside them and why.
    """
    plain = {key: stored for key, stored in tensors.items() if not key.endswith(SHADOW)}
    if raw or len(plain) == len(tensors):
        return plain, (), {key: "the moving average" for key in tensors if key not in plain}
    shadows = {
        key.removesuffix(SHADOW): stored for key, stored in tensors.items() if key.endswith(SHADOW)
    }
    beside = {
        key: "what the moving average is of" if key in shadows else "state of the training"
        for key in plain
    }
    return shadows, (SHADOW.strip("/"),), beside
