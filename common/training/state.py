"""What it takes to go on with a run: its state after an epoch, checked as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from .._util.atomic import replacing
from .._util.files import is_file
from ..errors import DamagedFileError, FileError, reason
from ..weights import tensors_file
from ..weights.canonical import Weights
from ..weights.metadata import SCHEMA, SCHEMA_KEY, check_schema

# Of the slots the one that is of no parameter: what float16 scales the loss by ("scale"), and for
# how many steps it has done so ("steps").
LOSS_SCALE = "loss_scale"
CHECKSUM = "sha256"  # of everything else that the file says
BEST_EPOCH = "best_epoch"


@dataclass
class State:
    """What it takes to go on after an epoch, in canonical names and orientation.

    `slots` are the optimizer's, such as "momentum"; where a phase has just ended they are not used.
    """

    epochs: int  # done
    best: float  # top-1
    model: Weights
    average: Weights
    slots: dict[str, Weights]
    best_epoch: int = 0  # after which the best was reached, from 1


def write_state(path: Path, state: State) -> None:
    """Keep a state.

    Raises:
        RosettaError: there is no room for it.
    """
    groups = {"model": state.model, "average": state.average, **state.slots}
    tensors = {
        f"{group}/{name}": weights[name]
        for group, weights in sorted(groups.items())
        for name in sorted(weights)
    }
    said = {
        "epochs": str(state.epochs),
        "best": repr(state.best),
        BEST_EPOCH: str(state.best_epoch),
    }
    metadata = {SCHEMA_KEY: str(SCHEMA), **said, CHECKSUM: _checksum(said, tensors)}
    with replacing(path) as temporary:
        tensors_file.write(temporary, tensors, metadata)


def read_state(path: Path) -> State:
    """The state that was kept.

    Raises:
        FileError: it was not written by `write_state`, or not by this version of it.
        DamagedFileError: a value was changed since, or a tensor is gone.
    """
    if not is_file(path):
        raise FileError(path, "is not the state of a run; remove it to begin again")
    tensors: dict[str, np.ndarray] = {}
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            check_schema(path, metadata)
            for key in file.keys():  # noqa: SIM118 - not a dict
                tensors[key] = file.get_tensor(key)
        said = {name: metadata[name] for name in ("epochs", "best")}
        # A state from before runs had patience does not say it.
        said |= {name: metadata[name] for name in (BEST_EPOCH,) if name in metadata}
        whole = _checksum(said, tensors) == metadata[CHECKSUM]
        epochs, best = int(said["epochs"]), float(said["best"])
        best_epoch = int(said.get(BEST_EPOCH, epochs))
    except FileError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FileError(path, f"is not the state of a run ({reason(error)})") from error
    if not whole:
        raise DamagedFileError(
            path, "does not fit its checksum; remove it to begin again, or start another run"
        )
    groups: dict[str, Weights] = {}
    for key, array in tensors.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = array
    model, average = groups.pop("model", {}), groups.pop("average", {})
    return State(epochs, best, model, average, groups, best_epoch)


def _checksum(said: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(repr(sorted(said.items())).encode())
    for key in sorted(tensors):
        array = np.ascontiguousarray(tensors[key])
        digest.update(f"{key} {array.shape} {array.dtype}\n".encode())
        digest.update(array.data.cast("B"))
    return digest.hexdigest()
