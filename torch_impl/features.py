"""A network without its head in PyTorch: the last map of each resolution, for other tasks.

The same program as `keras_impl/features.py`, name for name.
"""

from __future__ import annotations

from torch import Tensor, nn

from efficientnet_rosetta.common.network import Network


class FeatureMaps(nn.Module):
    """Images (N, C, H, W) -> maps (N, C', H', W'), the last of each resolution, largest first.

    Weights keep their canonical names, below `model.`; what follows the last map is left out.
    """

    def __init__(self, model: nn.Module, network: Network):
        super().__init__()
        self.names, unused = network.feature_maps, network.after_features
        for role in unused:
            model.set_submodule(role, nn.Identity())
        self.model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        values: dict[str, Tensor] = {}
        self.model(x, values)
        return [values[name] for name in self.names]
