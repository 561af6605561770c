"""What a layout is: data that says under which key, and in which orientation, a tensor is kept.

Templates name the layers of a block; `{S}` is the stage from 0, `{S1}` the stage from 1, `{B}` the
block in its stage, `{L}` that block as a letter, `{I}` the block in the network, and `{P}` the
preset.  Block letters end at 26, which is what limits the layouts that use them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from common.spec import TABLE_1, Block, Dialect, Layer, Network

Axes = tuple[int, ...]
BY_NAME = "by name"  # stands for the format of a Keras 3 file read by its layers' names


@dataclass(frozen=True)
class Orientation:
    """Axes of the canonical array, in the order of the file."""

    conv: Axes
    depthwise_conv: Axes
    dense: Axes

    def axes(self, layer: Layer, shape: tuple[int, ...]) -> Axes:
        """The transposition of one tensor of a layer; vectors have none."""
        return getattr(self, layer.kind) if len(shape) > 1 else (0,)


# (out, in, height, width), (channels, 1, height, width), (out, in): canonical is PyTorch's own.
PYTORCH_ORDER = Orientation((0, 1, 2, 3), (0, 1, 2, 3), (0, 1))
# (height, width, in, out), (height, width, channels, 1), (in, out)
TENSORFLOW_ORDER = Orientation((2, 3, 1, 0), (2, 3, 0, 1), (1, 0))


@dataclass(frozen=True)
class Tensors:
    """What a file calls the tensors of a layer."""

    weight: str
    depthwise_weight: str
    bias: str
    scale: str
    shift: str  # the bias of a batch norm
    mean: str
    variance: str

    def name(self, layer: Layer, tensor: str) -> str:
        """The file's name of a canonical tensor name's last part."""
        if layer.kind == "depthwise_conv" and tensor == "weight":
            return self.depthwise_weight
        if layer.kind == "batch_norm" and tensor == "bias":
            return self.shift
        return getattr(self, tensor)


PYTORCH_TENSORS = Tensors(
    "weight", "weight", "bias", "weight", "bias", "running_mean", "running_var"
)
TENSORFLOW_TENSORS = Tensors(
    "kernel", "depthwise_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"
)


@dataclass(frozen=True)
class Names:
    """Templates for the names of layers."""

    stem_conv: str
    stem_bn: str
    block: str
    expanded: Mapping[str, str]
    head_conv: str
    head_bn: str
    classifier: str
    plain: Mapping[str, str] | None = None  # in blocks without expansion, where they differ
    headless_without: str = ""  # a prefix that the names of a network without classifier lack

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        names = {
            "stem.conv": self.stem_conv,
            "stem.bn": self.stem_bn,
            "head.conv": self.head_conv,
            "head.bn": self.head_bn,
            "classifier": self.classifier,
        }
        for block in network.blocks:
            members = self.expanded if block.has_expansion else (self.plain or self.expanded)
            values = _placeholders(block)
            for layer in block.layers:
                member = layer.role.rpartition(".")[2]
                names[layer.role] = self.block.format(**values) + members[member]
        lacking = self.headless_without if network.classifier is None else ""
        return {
            layer.role: names[layer.role].replace("{P}", network.name).removeprefix(lacking)
            for layer in network.layers
        }


def _placeholders(block: Block) -> dict[str, str | int]:
    stage = block.stage - TABLE_1[0].number
    return {
        "S": stage,
        "S1": stage + 1,
        "B": block.repeat,
        "L": chr(ord("a") + block.repeat),
        "I": block.index,
        "P": "{P}",
    }


@dataclass(frozen=True)
class Roles:
    """The canonical roles themselves."""

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        return {layer.role: layer.role for layer in network.layers}


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

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        counts = dict.fromkeys(CLASSES, 0)
        inner = "layers/" if network.classifier is None else f"layers/{self.backbone}"
        names = {}
        for layer in network.layers:
            count = counts[layer.kind]
            counts[layer.kind] += 1
            name = CLASSES[layer.kind] + (f"_{count}" if count else "")
            names[layer.role] = ("layers/" if layer.kind == "dense" else inner) + name
        return names


@dataclass(frozen=True)
class Ordered:
    """Names by order alone, as Keras 2 gives its TensorFlow checkpoints; `first` is the stem's."""

    name: str  # a template of {number}
    first: int

    def layers(self, network: Network) -> dict[str, str]:
        """The file's name of every layer with weights, by role."""
        return {
            layer.role: self.name.format(number=number)
            for number, layer in enumerate(network.layers, self.first)
        }


@dataclass(frozen=True)
class Key:
    """Where a tensor is in a file, and the axes that turn the canonical array into it."""

    path: str
    axes: Axes


@dataclass(frozen=True)
class Form:
    """A layout in one file format."""

    names: Names | Counters | Ordered | Roles
    path: str  # of a tensor: a template of {layer} and {tensor}, or of {number}
    tensors: Tensors
    orientation: Orientation
    ignored: str | None = None  # a pattern of keys that hold no weights
    ignored_why: str = ""
    added: Literal["batch counters", "input normalization"] | None = None  # when it is written
    marker: str | None = None  # a pattern that one of the ignored keys always matches
    first: int = 0  # {number} of the first tensor
    layer_names: Names | None = None  # what each group of variables is said to belong to
    dialects: tuple[Dialect, ...] = ()  # where they are not those of the whole layout

    def keys(self, network: Network) -> dict[str, Key]:
        """Where each canonical tensor of a network is, by its name."""
        names = self.names.layers(network)
        keys: dict[str, Key] = {}
        for layer in network.layers:
            for canonical, shape in layer.tensors.items():
                tensor = self.tensors.name(layer, canonical.rpartition(".")[2])
                path = self.path.format(
                    layer=names[layer.role], tensor=tensor, number=self.first + len(keys)
                )
                keys[canonical] = Key(path, self.orientation.axes(layer, shape))
        return keys

    def stem(self, network: Network) -> str:
        """The key of the first kernel, by which a network inside another model is found."""
        return self.keys(replace(network, blocks=()))["stem.conv.weight"].path

    def is_ignored(self, path: str) -> bool:
        """Whether a key holds no weights of the network."""
        return bool(self.ignored and re.search(self.ignored, path))


def state_dict(names: Names) -> Form:
    """The form of a PyTorch model's weights, whose names alone differ between libraries."""
    return Form(
        names=names,
        path="{layer}.{tensor}",
        tensors=PYTORCH_TENSORS,
        orientation=PYTORCH_ORDER,
        ignored=r"(^|\.)num_batches_tracked$",
        ignored_why="batch counters, which inference does not use",
        added="batch counters",
    )


@dataclass(frozen=True)
class Layout:
    """One library's way of keeping EfficientNet weights."""

    name: str
    library: str
    presets: tuple[str, ...]
    dialects: Mapping[str, tuple[Dialect, ...]]  # by preset: what the library's own code runs
    forms: Mapping[str, Form]  # read and written, by format
    expects: str  # of an image
    framework: Literal["torch", "keras"]  # what its library runs on
    notes: tuple[str, ...] = ()
    any_network: bool = False  # of any scaling, in any dialect
    also_read: Mapping[str, tuple[Form, ...]] = field(default_factory=dict)  # by format

    @property
    def writable(self) -> bool:
        """Whether files of this layout are written at all."""
        return bool(self.forms)

    def forms_of(self, kind: str) -> tuple[Form, ...]:
        """Every form in which files of a format are read."""
        written = (self.forms[kind],) if kind in self.forms else ()
        return (*written, *self.also_read.get(kind, ()))

    @property
    def formats_read(self) -> tuple[str, ...]:
        """Formats that are read, those that are written too first."""
        return tuple(dict.fromkeys(k for k in (*self.forms, *self.also_read) if k != BY_NAME))

    def holds(self, preset: str) -> bool:
        """Whether the library has this preset; a network that is none is called "custom"."""
        return self.any_network or preset in self.presets

    def runs(self, preset: str, dialect: Dialect) -> bool:
        """Whether the library computes this preset in this dialect."""
        if self.any_network:
            return True
        numbers = (dialect.padding, dialect.epsilon)
        return any((d.padding, d.epsilon) == numbers for d in self.dialects.get(preset, ()))


def same_for(presets: tuple[str, ...], *dialects: Dialect) -> dict[str, tuple[Dialect, ...]]:
    """One answer for every preset."""
    return dict.fromkeys(presets, dialects)
