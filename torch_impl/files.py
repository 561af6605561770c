"""PyTorch's checkpoint files, as data: no class in them is built, no code in them runs."""

from __future__ import annotations

import argparse
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from common.errors import RosettaError, reading
from common.formats.stored import Stored

METADATA = "efficientnet-rosetta"  # stands where a module's name would


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The (nested) dictionaries of tensors in a file, and our metadata; the rest is left out.

    Raises:
        RosettaError: damaged, or a pickled or scripted module rather than its weights.
    """
    # timm's training checkpoints carry their command line in a Namespace, which is inert.
    allowed = torch.serialization.safe_globals([argparse.Namespace])
    with reading(path, "a PyTorch file"), allowed:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise RosettaError(
                f"{path}: is damaged, or holds Python objects, which are not rebuilt because that "
                "runs code; ask its owner to save model.state_dict()"
            ) from None
        except RuntimeError as error:
            if "TorchScript" not in str(error):
                raise
            raise RosettaError(
                f"{path}: is a TorchScript program, which is not run; ask its owner to save "
                "torch.jit.load(...).state_dict()"
            ) from None
    if not isinstance(content, Mapping):
        raise RosettaError(f"{path}: holds a {type(content).__name__} and not a state dict")
    with reading(path, "a PyTorch file"):
        return _stored(content), _metadata(content)


def _metadata(content: Mapping) -> dict[str, str]:
    modules = getattr(content, "_metadata", None)
    found = modules.get(METADATA) if isinstance(modules, Mapping) else None
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}


def _stored(content: Mapping) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, torch.Tensor):
            found[str(key)] = Stored.of(str(key), _array(value))
        elif isinstance(value, Mapping):
            found[str(key)] = _stored(value)
    return found


def _array(tensor: torch.Tensor) -> np.ndarray:
    """Its own memory: NumPy knows bfloat16 as the two bytes that it is, and by ml_dtypes' name."""
    if tensor.dtype == torch.bfloat16:
        bytes_ = tensor.detach().contiguous().view(torch.int16).numpy(force=True)
        return bytes_.view(ml_dtypes.bfloat16)
    return tensor.detach().numpy(force=True)


def write_checkpoint(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays as the state dict that `torch.load` and `load_state_dict` expect."""
    tensors: OrderedDict[str, Any] = OrderedDict(
        # PyTorch warns of an array that is only a view of a file, as those of ONNX are.
        (name, torch.from_numpy(np.require(array, requirements="W")))
        for name, array in arrays.items()
    )
    # What a state dict says of its modules by name; `load_state_dict` looks up those it has.
    tensors._metadata = OrderedDict({"": {"version": 1}, METADATA: dict(metadata)})
    torch.save(tensors, path)
