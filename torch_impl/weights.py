"""Canonical weights in and out of a PyTorch model: its `state_dict()` is canonical already."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights.canonical import Weights, check
from efficientnet_rosetta.common.weights.folding import NO_WEIGHTS, folded


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy canonical weights into a model, in the model's dtype; a folded one folds them.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape; nothing was copied.
    """
    if is_folded(model):
        double = next(model.parameters()).dtype == torch.float64
        weights = folded(network_of(model), weights, "float64" if double else "float32")
    check(tensor_shapes(model), weights)
    tensors = model.state_dict(keep_vars=True)
    # Converted all of them first: an array that cannot be leaves the model as it was.
    values = {name: torch.tensor(np.ascontiguousarray(weights[name])) for name in tensors}
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(values[name])


def dump_weights(model: nn.Module) -> Weights:
    """Copy a model's weights out as canonical arrays.

    Raises:
        UsageError: the model's batch norms are folded.
    """
    if is_folded(model):
        raise UsageError(NO_WEIGHTS)
    return {name: tensor.numpy(force=True).copy() for name, tensor in model.state_dict().items()}


def tensor_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor by its canonical name."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def network_of(model: nn.Module) -> Network:
    """The network that a model was made of.

    Raises:
        UsageError: it is no model of ours.
    """
    network = getattr(model, "network", None)
    if not isinstance(network, Network):
        raise UsageError("this model was not made by `build`, which notes its network")
    return network


def is_folded(model: nn.Module) -> bool:
    """Whether a model's batch norms are folded into its convolutions."""
    return bool(getattr(model, "folded", False))
