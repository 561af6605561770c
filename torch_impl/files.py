"""PyTorch's checkpoint files, as data: no class in them is built, no code in them runs."""

from __future__ import annotations

import argparse
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import RosettaError, reading


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], set[str]]:
    """The dictionaries in a file with their tensors as arrays, and the dtypes they were stored in.

    Everything else in the file is left out.  bfloat16, which NumPy lacks, is widened to float32.

    Raises:
        RosettaError: damaged, or a pickled module rather than its weights.
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
    if not isinstance(content, Mapping):
        raise RosettaError(f"{path}: holds a {type(content).__name__} and not a state dict")
    dtypes: set[str] = set()
    return _arrays(content, dtypes), dtypes


def _arrays(content: Mapping, dtypes: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, torch.Tensor):
            dtypes.add(str(value.dtype).removeprefix("torch."))
            value = value.float() if value.dtype == torch.bfloat16 else value
            found[key] = value.detach().numpy(force=True)
        elif isinstance(value, Mapping):
            found[key] = _arrays(value, dtypes)
    return found


def write_checkpoint(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as the state dict that `torch.load` and `load_state_dict` expect."""
    tensors = OrderedDict((name, torch.tensor(array)) for name, array in arrays.items())
    torch.save(tensors, path)
