"""Canonical weights in and out of a PyTorch model: its `state_dict()` is canonical already."""

from __future__ import annotations

import torch
from torch import nn

from common.weights import Weights, check


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy canonical weights into a model, in the model's dtype.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape; nothing was copied.
    """
    tensors = model.state_dict(keep_vars=True)
    check({name: tuple(tensor.shape) for name, tensor in tensors.items()}, weights)
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(torch.tensor(weights[name]))


def dump_weights(model: nn.Module) -> Weights:
    """Copy a model's weights out as canonical arrays."""
    return {name: tensor.numpy(force=True).copy() for name, tensor in model.state_dict().items()}
