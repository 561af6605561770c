"""Parameters and multiply-accumulates of a resolved network, from the specification alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .network import Layer, Network


@dataclass(frozen=True)
class Count:
    """What a part of a network costs.

    `macs` are the multiply-accumulates of its convolutions and dense layers for one image,
    squeeze-and-excitation included; batch norm, activation and pooling are not counted, which
    is the convention of the paper's Table 2 ("FLOPS" there).
    """

    trainable: int = 0
    non_trainable: int = 0
    macs: int = 0

    @property
    def parameters(self) -> int:
        """Trainable or not."""
        return self.trainable + self.non_trainable

    def __add__(self, other: Count) -> Count:
        return Count(
            self.trainable + other.trainable,
            self.non_trainable + other.non_trainable,
            self.macs + other.macs,
        )


def count_layer(layer: Layer) -> Count:
    """Cost of one layer."""
    if layer.kind == "batch_norm":
        return Count(2 * layer.out_channels, 2 * layer.out_channels, 0)
    shapes = layer.tensors.values()
    weight = math.prod(layer.tensors[f"{layer.role}.weight"])
    return Count(sum(map(math.prod, shapes)), 0, weight * math.prod(layer.output_size))


def count(network: Network) -> Count:
    """Cost of the whole network at its resolution."""
    return sum(map(count_layer, network.layers), Count())


def count_stages(network: Network) -> dict[int, Count]:
    """Cost of each row of the paper's table, 1 (the stem) to the last (head and classifier)."""
    return {
        stage: sum(
            (count_layer(layer) for section in sections for layer in section.layers), Count()
        )
        for stage, sections in network.stages.items()
    }
