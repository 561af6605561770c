"""A network without its batch norms in PyTorch, for inference: convolutions with biases instead.

The same program as `keras_impl/folding.py`, name for name; what is folded into what, and how, says
`common.weights.folding`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from efficientnet_rosetta.common.errors import UsageError
from efficientnet_rosetta.common.network import Network
from efficientnet_rosetta.common.weights.folding import NO_TRAINING, folds

from .layers import Overwritten
from .weights import dump_weights, load_weights


class _Folded(Overwritten):
    """Where a batch norm was: (N, C, H, W) as it is.  It has no training mode."""

    def train(self, mode: bool = True) -> _Folded:
        """Inference only.

        Raises:
            UsageError: training is asked for.
        """
        if mode:
            raise UsageError(NO_TRAINING)
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x


def fold(model: Any, network: Network) -> nn.Module:
    """The model with each batch norm in the convolution before it; its parameters take no gradient.

    `load_weights` folds the canonical weights that it is given from then on.
    """
    weights = dump_weights(model)
    for conv, bn in folds(network).items():
        layer = model.get_submodule(conv)
        layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)))
        model.set_submodule(bn, _Folded())
    model.folded = True
    load_weights(model, weights)
    inference_only: nn.Module = model.requires_grad_(False).eval()
    return inference_only
