"""The networks in PyTorch; this module keeps the protocols of `common/backends/protocol.py`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from efficientnet_rosetta.common.architectures import changed
from efficientnet_rosetta.common.backends.protocol import OPSET, Judge, Variant
from efficientnet_rosetta.common.backends.registry import model_maker
from efficientnet_rosetta.common.backends.values import check_endpoints
from efficientnet_rosetta.common.errors import UsageError, needs
from efficientnet_rosetta.common.images.batches import Batches
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.training.plan import Training
from efficientnet_rosetta.common.training.run import Run, Scores
from efficientnet_rosetta.common.weights.canonical import Weights
from efficientnet_rosetta.common.weights.metadata import description

from .features import FeatureMaps
from .steps import drop_factors, gradients, in_phase, steps
from .trace import trace
from .weights import dump_weights, load_weights, network_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "build",
    "build_features",
    "drop_factors",
    "dump_weights",
    "endpoints",
    "evaluate",
    "export_onnx",
    "fit",
    "gradients",
    "load_weights",
    "run",
    "steps",
    "trace",
    "variants",
    "versions",
]

LAYOUT = "NCHW"


def build(network: Network, dtype: str = "float32") -> nn.Module:
    """A model in inference mode, with the official initialisation."""
    return model_maker(__name__, network)(network).to(getattr(torch, dtype)).eval()


def run(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Images (N, C, H, W) -> logits (N, classes), or features (N, C') without a classifier."""
    with in_phase(model, training=False), torch.inference_mode():
        return model(_tensor(model, images)).numpy(force=True)


def endpoints(
    model: nn.Module, images: np.ndarray, names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Images (N, C, H, W) -> the named endpoints, all by default.

    Raises:
        ValueError: a name that is not one of `Network.endpoints`.
    """
    names = check_endpoints(network_of(model).endpoints, names)
    values: dict[str, torch.Tensor] = {}
    with in_phase(model, training=False), torch.inference_mode():
        model(_tensor(model, images), values)
    return {name: values[name].numpy(force=True) for name in names}


def _tensor(model: nn.Module, images: np.ndarray) -> torch.Tensor:
    like = next(model.parameters())
    return torch.tensor(np.ascontiguousarray(images), dtype=like.dtype, device=like.device)


def export_onnx(
    model: nn.Module, network: Network, endpoints: bool = False, opset: int = OPSET
) -> ModelProto:
    """A checked ONNX model: input `image` (batch, C, H, W), outputs named by endpoint.

    `network` is the model's own, at any resolution.

    Raises:
        UsageError: it is not.
        UnsupportedOperationError: the model does something that no emitter knows.
        MissingDependencyError: onnx is not installed.
    """
    with needs("ONNX"):
        from .onnx import export  # a backend without ONNX is still a backend

    if changed(network_of(model), resolution=network.resolution) != network:
        raise UsageError("the model was built from another network than the one given")
    names = network.endpoints if endpoints else (network.output,)
    metadata = description(network, LAYOUT, f"torch {torch.__version__}")
    shape = (network.in_channels, *network.resolution)
    with in_phase(model, training=False):
        return export(model, shape, names, metadata, opset)


def build_features(
    network: Network, weights: Weights | None = None, dtype: str = "float32"
) -> nn.Module:
    """A model whose outputs are the last map (N, C, H, W) of each resolution, the largest first.

    In training mode, like any new module; `weights` are canonical ones of the network.
    """
    model = build(network, dtype)
    if weights is not None:
        load_weights(model, weights)
    return FeatureMaps(model, network).train()


def fit(training: Training, weights: Weights, run: Run) -> None:
    """Train from canonical weights, or go on from the state of the run.

    Raises:
        RosettaError: the loss is no number, or images cannot be read.
    """
    from . import loop  # what a loop needs, nothing else does

    loop.fit(training, weights, run)


def evaluate(
    model: nn.Module,
    batches: Batches,
    run: Run,
    workers: int = 0,
    judge: Judge | None = None,
) -> Scores:
    """Scores of the model on all images that can be read.

    Raises:
        RosettaError: none can.
    """
    from . import loop

    return loop.evaluate(model, batches, run, workers, judge)


def variants() -> dict[str, Variant]:
    """PyTorch runs in one way."""
    return {}


def versions() -> dict[str, str]:
    """PyTorch's version, and whether oneDNN (which changes float32 a little) is on."""
    return {
        "torch": torch.__version__,
        "torch_onednn": "on" if torch.backends.mkldnn.is_available() else "off",
        "torch_threads": str(torch.get_num_threads()),
    }
