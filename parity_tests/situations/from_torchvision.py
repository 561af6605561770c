"""What people make of torchvision's EfficientNets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from parity_tests.peers import operators
from parity_tests.situations.making import awake, features, outputs

operators.declare()

import torchvision  # noqa: E402


def built(preset: str, classifier: nn.Module | None = None, seed: int = 0) -> nn.Module:
    """A model with somebody's classifier, awake."""
    model = torchvision.models.get_model(f"efficientnet_{preset}")
    if classifier is not None:
        model.classifier = classifier
    return awake(model, seed=seed)


def as_published(path: Path, images: np.ndarray) -> np.ndarray:
    """The library's own file."""
    model = built("b0")
    torch.save(model.state_dict(), path)
    return outputs(model, images)


def last_layer_replaced(path: Path, images: np.ndarray) -> np.ndarray:
    """`model.classifier[1] = nn.Linear(1280, 5)`"""
    model = built("b0", nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 5)))
    torch.save(model.state_dict(), path)
    return outputs(model, images)


def classifier_replaced(path: Path, images: np.ndarray) -> np.ndarray:
    """`model.classifier = nn.Linear(1280, 2)`"""
    model = built("b0", nn.Linear(1280, 2))
    torch.save(model.state_dict(), path)
    return outputs(model, images)


def softmax_behind(path: Path, images: np.ndarray) -> np.ndarray:
    """A classifier that ends in a softmax, which has no weights."""
    model = built("b0", nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 5), nn.LogSoftmax(1)))
    torch.save(model.state_dict(), path)
    model.classifier[2] = nn.Identity()
    return outputs(model, images)


def two_dense_layers(path: Path, images: np.ndarray) -> np.ndarray:
    """`nn.Sequential(Linear, ReLU, Dropout, Linear, LogSoftmax)`"""
    layers = (nn.Linear(1280, 256), nn.ReLU(), nn.Dropout(0.4), nn.Linear(256, 7), nn.LogSoftmax(1))
    model = built("b1", nn.Sequential(*layers))
    torch.save(model.state_dict(), path)
    return features(model.features, images)


def whole_module(path: Path, images: np.ndarray) -> np.ndarray:
    """`torch.save(model, path)`"""
    model = built("b0", nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 5)))
    torch.save(model, path)
    return outputs(model, images)


def compiled_b5(path: Path, images: np.ndarray) -> np.ndarray:
    """B5 in an attribute of a module, compiled; a checkpoint of a loop of one's own."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.compile(torchvision.models.efficientnet_b5())

    model = Net()
    awake(model.net._orig_mod)
    torch.save({"epoch": 3, "network": model.state_dict(), "best": 0.9}, path)
    return outputs(model.net._orig_mod, images)


def averaged(path: Path, images: np.ndarray) -> np.ndarray:
    """torch's `AveragedModel` around `DataParallel`."""
    model = built("b0", nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 10)))
    torch.save(AveragedModel(nn.DataParallel(model)).state_dict(), path)
    return outputs(model, images)


def only_features(path: Path, images: np.ndarray) -> np.ndarray:
    """`model.features.state_dict()`"""
    model = built("b2")
    torch.save(model.features.state_dict(), path)
    return features(model.features, images)


def children(path: Path, images: np.ndarray) -> np.ndarray:
    """`nn.Sequential(*list(model.children())[:-1])`"""
    model = built("b0")
    torch.save(nn.Sequential(*list(model.children())[:-1]).state_dict(), path)
    return features(model.features, images)


def distributed(path: Path, images: np.ndarray) -> np.ndarray:
    """A folder of `torch.distributed.checkpoint`."""
    from torch.distributed import checkpoint

    model = built("b0", nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 5)))
    checkpoint.save({"model": model.state_dict(), "step": 7}, checkpoint_id=path, no_dist=True)
    return outputs(model, images)
