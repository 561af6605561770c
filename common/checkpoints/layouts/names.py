"""How files call layers: by templates, by the canonical roles, or by counting.

Templates name the layers of a block; `{S}` is the stage from 0, `{S1}` the stage from 1, `{B}` the
block in its stage, `{L}` that block as a letter, `{I}` the block in the network, `{H}` the head as
the stage after the last, from 1, and `{P}` the preset.  Block letters end at 26, which is what
limits the layouts that use them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import ClassVar, Protocol

from ...blocks import StageBlock
from ...network import MapSection, Network
from ...spec import MBConvBlock

# What stands in the place of each in a file.
PLACEHOLDERS = {
    "{P}": r"[\w-]+",
    "{L}": "[a-z]",
    **dict.fromkeys(("{S}", "{S1}", "{B}", "{I}"), r"\d+"),
}


class LayerNames(Protocol):
    """How a file calls layers."""

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""

    @property
    def territory(self) -> str | None:
        """A pattern of the names that only layers of the network's blocks have, if there is one."""


FIRST_STAGE = 2  # of blocks: the stem is stage 1 in every table


@dataclass(frozen=True)
class StagedNames:
    """Templates for the names of a network's layers that has a stem, stages of blocks and a head.

    The layers of a block are called by its kind: MBConv, or fused, each with an expansion and
    without one.  A library that does not have a kind of block has no names for it.
    """

    stem_conv: str
    stem_bn: str
    block: str
    expanded: Mapping[str, str]
    head_conv: str
    head_bn: str
    classifier: str
    plain: Mapping[str, str] | None = None  # MBConv without expansion, where that differs
    fused: Mapping[str, str] | None = None
    fused_plain: Mapping[str, str] | None = None  # the only convolution is the projection
    headless_without: str = ""  # a prefix that the names of a network without classifier lack
    presets: Mapping[str, str] = field(default_factory=dict)  # what {P} is where it is not ours

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role.

        Raises:
            TypeError: the network has blocks for which there are no names.
        """
        ends = {
            "stem.conv": self.stem_conv,
            "stem.bn": self.stem_bn,
            "head.conv": self.head_conv,
            "head.bn": self.head_bn,
            "classifier": self.classifier,
        }
        last = str(network.maps[-1].stage - FIRST_STAGE + 1)
        names = {role: name.replace("{H}", last) for role, name in ends.items()}
        for block in network.blocks:
            members = self._members(network, block)
            before = self.block.format(**self.place(block))
            for layer in block.layers:
                names[layer.role] = before + members[layer.role.rpartition(".")[2]]
        lacking = self.headless_without if network.classifier is None else ""
        preset = self.presets.get(network.name, network.name)
        return {
            layer.role: names[layer.role].replace("{P}", preset).removeprefix(lacking)
            for layer in network.layers
        }

    def _members(self, network: Network, block: MapSection) -> Mapping[str, str]:
        """The names of the layers of a block of its kind."""
        members = None
        if isinstance(block, MBConvBlock | StageBlock):
            of_block = {layer.role.rpartition(".")[2] for layer in block.layers}
            if "depthwise_conv" in of_block:
                members = self.expanded if block.has_expansion else (self.plain or self.expanded)
            else:
                members = self.fused if block.has_expansion else self.fused_plain
        if members is None:
            raise TypeError(f"{network.title} is no network with these names: {block.operator}")
        return members

    def place(self, block: MapSection) -> dict[str, str | int]:
        """What stands for the placeholders in the names of a block's layers."""
        assert isinstance(block, MBConvBlock | StageBlock)
        stage = block.stage - FIRST_STAGE
        return {
            "S": stage,
            "S1": stage + 1,
            "B": block.repeat,
            "L": chr(ord("a") + block.repeat),
            "I": block.index,
            "P": "{P}",
        }

    @property
    def territory(self) -> str:
        """A pattern of the names that only layers of the network's blocks have."""
        pattern = re.escape(self.block)
        for placeholder, found in PLACEHOLDERS.items():
            pattern = pattern.replace(re.escape(placeholder), found)
        return pattern


@dataclass(frozen=True)
class Roles:
    """The canonical roles themselves."""

    territory: ClassVar[None] = None

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        return {layer.role: layer.role for layer in network.layers}


SEPARABLE = "separable_conv2d"  # one layer of Keras for a depthwise and a pointwise convolution
CLASSES = {
    "conv": "conv2d",
    "depthwise_conv": "depthwise_conv2d",
    "batch_norm": "batch_normalization",
    "dense": "dense",
}


@dataclass(frozen=True)
class Counters:
    """Names by class and order of creation, as Keras 3 gives its weight files.

    A classifier may keep the rest of the network as a layer of its own, under `backbone`.
    """

    backbone: str = ""
    territory: ClassVar[str | None] = None

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        counts: Counter[str] = Counter()
        inner = "layers/" if network.classifier is None else f"layers/{self.backbone}"
        names: dict[str, str] = {}
        name = ""
        for layer, following in zip_longest(network.layers, network.layers[1:]):
            if layer.kind != "pointwise_conv":  # it is of the layer before
                separable = following is not None and following.kind == "pointwise_conv"
                kind = SEPARABLE if separable else CLASSES[layer.kind]
                name = counted(kind, counts[kind])
                counts[kind] += 1
            names[layer.role] = ("layers/" if layer.kind == "dense" else inner) + name
        return names


def counted(name: str, number: int) -> str:
    """Keras's name for one of many: the first has no number."""
    return f"{name}_{number}" if number else name


@dataclass(frozen=True)
class Ordered:
    """Names by order alone, as Keras 2 gives its TensorFlow checkpoints; `first` is the stem's."""

    name: str  # a template of {number}
    first: int
    territory: ClassVar[None] = None

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        names: dict[str, str] = {}
        number = self.first - 1
        for layer in network.layers:
            if layer.kind != "pointwise_conv":  # it is of the layer before
                number += 1
            names[layer.role] = self.name.format(number=number)
        return names
