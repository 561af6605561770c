"""What a layout is: data that says under which key, and in which orientation, a tensor is kept.

What it calls the layers is in `names.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from ...images.normalization import Normalization
from ...network import Dialect, Layer, Network
from .names import LayerNames, Ordered, StagedNames, counted

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

    @property
    def pointwise_conv(self) -> Axes:
        """A convolution like any other."""
        return self.conv


# (out, in, height, width), (channels, 1, height, width), (out, in): canonical is PyTorch's own.
PYTORCH_ORDER = Orientation((0, 1, 2, 3), (0, 1, 2, 3), (0, 1))
# (height, width, in, out), (height, width, channels, 1), (in, out)
TENSORFLOW_ORDER = Orientation((2, 3, 1, 0), (2, 3, 0, 1), (1, 0))


@dataclass(frozen=True)
class Tensors:
    """What a file calls the tensors of a layer."""

    weight: str
    depthwise_weight: str
    pointwise_weight: str  # of a separable convolution, whose two kernels may be of one layer
    bias: str
    scale: str
    shift: str  # the bias of a batch norm
    mean: str
    variance: str

    def name(self, layer: Layer, tensor: str) -> str:
        """The file's name of a canonical tensor name's last part."""
        if layer.kind == "batch_norm" and tensor == "bias":
            return self.shift
        if layer.kind in ("depthwise_conv", "pointwise_conv") and tensor == "weight":
            tensor = layer.kind.replace("conv", "weight")
        names: Mapping[str, str] = vars(self)
        return names[tensor]


PYTORCH_TENSORS = Tensors(
    *("weight", "weight", "weight", "bias"), *("weight", "bias", "running_mean", "running_var")
)
TENSORFLOW_TENSORS = Tensors(
    *("kernel", "depthwise_kernel", "pointwise_kernel", "bias"),
    *("gamma", "beta", "moving_mean", "moving_variance"),
)


@dataclass(frozen=True)
class Key:
    """Where a tensor is in a file, and the axes that turn the canonical array into it."""

    path: str
    axes: Axes


@dataclass(frozen=True, eq=False)
class Form:
    """A layout in one file format, of which there is one each: what it names is remembered."""

    names: LayerNames
    path: str  # of a tensor: a template of {layer} and {tensor}, or of {number}
    tensors: Tensors
    orientation: Orientation
    ignored: str | None = None  # a pattern of keys that hold no weights
    ignored_why: str = ""
    # What is written beside the weights, by key, for loaders that miss it.
    extra: Extra | None = None
    extra_layers: Mapping[str, str] = field(default_factory=dict)  # groups of it, and their layers
    marker: str | None = None  # a pattern that one of the ignored keys always matches
    # A pattern of keys beside which these are of a network that computes something else, and why.
    another: tuple[str, str] | None = None
    first: int = 0  # {number} of the first tensor
    layer_names: LayerNames | None = None  # what each group of variables is said to belong to
    # Layers that Keras numbers through a session, by the first of their names: a file has those
    # of one folder from any number on, and this form from zero.
    numbered: tuple[str, ...] = ()
    # A template of {number} that all keys begin with, where what is before the network takes
    # numbers too: a file has the first kernel at any of them.
    shifted: str | None = None
    may_end_early: bool = False  # its library keeps networks without their head convolution too
    written_only: bool = False  # its keys are other libraries' too, as which they are read

    def keys(self, network: Network) -> Mapping[str, Key]:
        """Where each canonical tensor of a network is, by its name."""
        return _keys(self, network)

    def stem(self, network: Network) -> str:
        """The key of the first kernel, by which a network inside another model is found."""
        return _stem(self, network)

    def stem_pattern(self, network: Network) -> re.Pattern[str] | None:
        """What the key of the first kernel ends in, where it is not the same in every file."""
        stem = self.stem(network)
        if self.is_fixed(stem):
            return None
        head, tail = self._split(stem)
        for name in self.numbered:
            tail = re.sub(rf"(?<![^/]){name}(?:_\d+)?(?=/)", rf"{name}(?:_\\d+)?", tail)
        return re.compile(head + tail + "$")

    def _split(self, path: str) -> tuple[str, str]:
        """A pattern of the part of a path that has a number, and of the rest of it."""
        shifted = re.escape(self.shifted or "").replace(re.escape("{number}"), r"(\d+)")
        found = re.match(shifted, path)
        return shifted, re.escape(path[found.end() if found else 0 :])

    def is_fixed(self, path: str) -> bool:
        """Whether a key is the same in every file: no number in it depends on other layers."""
        layers = re.split(r"[/]", path)
        return self.shifted is None and not any(
            re.fullmatch(rf"{name}(_\d+)?", layer) for name in self.numbered for layer in layers
        )

    def renumbered(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """All keys below a prefix, and what they are with the numbers of this form."""
        names = {path: path for path in shapes}
        for name in self.numbered:
            pattern = re.compile(rf"(?<![^/]){name}(?:_(\d+))?(?=/)")
            places = {path: m for path in names if (m := pattern.search(path))}
            beside: dict[str, set[int]] = {}  # numbers by the folder that they are in
            for path, place in places.items():
                beside.setdefault(path[: place.start()], set()).add(int(place[1] or 0))
            ranks = {folder: sorted(numbers) for folder, numbers in beside.items()}
            for path, place in places.items():
                rank = ranks[path[: place.start()]].index(int(place[1] or 0))
                names[path] = pattern.sub(counted(name, rank), path)
        return names if self.shifted is None else self._unshifted(self.shifted, shapes)

    def _unshifted(self, shifted: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """The first kernel, which is the first array of four axes, gets this form's number."""
        pattern = re.compile(self._split("")[0])
        numbers = {path: int(m[1]) for path in shapes if (m := pattern.match(path))}
        kernels = [number for path, number in numbers.items() if len(shapes[path]) == 4]
        if not kernels:
            return {path: path for path in shapes}
        first = self.names.first if isinstance(self.names, Ordered) else self.first
        shift = first - min(kernels)
        names = {}
        for path in shapes:
            number = numbers.get(path)
            if number is None:
                names[path] = path
            elif number + shift < 0:
                names[path] = f"before/{path}"
            else:
                names[path] = pattern.sub(shifted.format(number=number + shift), path, count=1)
        return names

    def owns(self, path: str) -> bool:
        """Whether only a layer in one of the network's blocks can have this name."""
        territory = self.names.territory
        before = re.escape(self.path.partition("{")[0])
        return bool(territory and re.match(before + territory, path))

    def is_beside_another(self, paths: Collection[str]) -> bool:
        """Whether a file of these keys, as far as it has them, is of another network."""
        return self.another is not None and any(re.search(self.another[0], path) for path in paths)

    def is_ignored(self, path: str) -> bool:
        """Whether a key holds no weights of the network."""
        return bool(self.ignored and re.search(self.ignored, path))


@lru_cache(maxsize=512)  # a file is tried against every preset in many forms
def _keys(form: Form, network: Network) -> Mapping[str, Key]:
    names = form.names.layers(network)
    keys: dict[str, Key] = {}
    for layer in network.layers:
        for canonical, shape in layer.tensors.items():
            tensor = form.tensors.name(layer, canonical.rpartition(".")[2])
            path = form.path.format(
                layer=names[layer.role], tensor=tensor, number=form.first + len(keys)
            )
            keys[canonical] = Key(path, form.orientation.axes(layer, shape))
    return MappingProxyType(keys)


@lru_cache(maxsize=256)
def _stem(form: Form, network: Network) -> str:
    return next(iter(form.keys(replace(network, blocks=())).values())).path


Extra = Callable[[Form, Network, "Normalization | None"], dict[str, np.ndarray]]


def batch_counters(
    form: Form, network: Network, normalization: Normalization | None
) -> dict[str, np.ndarray]:
    """What nn.BatchNorm2d counts; nothing computes with it, but a strict loader misses it."""
    names = form.names.layers(network)
    norms = [layer.role for layer in network.layers if layer.kind == "batch_norm"]
    return {f"{names[role]}.num_batches_tracked": np.array(0, np.int64) for role in norms}


def state_dict(names: LayerNames) -> Form:
    """The form of a PyTorch model's weights, whose names alone differ between libraries."""
    return Form(
        names=names,
        may_end_early=isinstance(names, StagedNames),
        path="{layer}.{tensor}",
        tensors=PYTORCH_TENSORS,
        orientation=PYTORCH_ORDER,
        ignored=r"(^|\.)num_batches_tracked$",
        ignored_why="batch counters, which inference does not use",
        extra=batch_counters,
    )


@dataclass(frozen=True)
class Layout:
    """One library's way of keeping the weights of an architecture."""

    name: str
    library: str
    presets: tuple[str, ...]
    dialects: Mapping[str, tuple[Dialect, ...]]  # by preset: what the library's own code runs
    forms: Mapping[str, Form]  # read and written, by format
    expects: str  # of an image
    framework: str  # the backend that its library runs on
    normalization: Normalization | None = None  # where it is that of all its weights
    notes: tuple[str, ...] = ()
    any_network: bool = False  # of any scaling, in any dialect
    headless: bool = False  # what is written has no classifier
    has_graph: bool = False  # the library's own graph can be written too, and is fed as `expects`
    # What a .keras file says of a model, given what its classes end in, where the library has a
    # class for it.
    model_config: Callable[[Network, str | None], dict[str, Any]] | None = None
    also_read: Mapping[str, tuple[Form, ...]] = field(default_factory=dict)  # by format

    def forms_of(self, kind: str) -> tuple[Form, ...]:
        """Every form in which files of a format are read."""
        written = self.forms.get(kind)
        first = () if written is None or written.written_only else (written,)
        return (*first, *self.also_read.get(kind, ()))

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
