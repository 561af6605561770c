"""Finding networks among the keys of a file: below which prefix, in which form, of which size.

What is found here is a network without its classifier.  What stands beside it is judged
afterwards, by `heads.py`, and which of several networks is meant, by `choosing.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from ..architectures import resolve
from ..network import IMAGENET_CLASSES, Network
from .formats.checkpoint import Checkpoint
from .formats.detect import KERAS_ARCHIVE, PYTORCH_FILE
from .formats.lazy import LazyTensor
from .layouts import LAYOUTS
from .layouts.canonical import CANONICAL
from .layouts.schema import BY_NAME, PYTORCH_ORDER, Form, Key, Layout

Tensors = Mapping[str, LazyTensor]
SEPARATORS = "./"
AFTER_ALL = "\U0010ffff"  # sorts behind whatever follows a prefix


@dataclass(frozen=True)
class Reading:
    """A network below a prefix of the keys, read in one form of a layout.

    `network` has no classifier.  `ends_early` says that its head convolution is not in the file.
    """

    layout: Layout
    form: Form
    network: Network
    prefix: str
    stored: Mapping[str, str]  # keys of the file, by canonical name
    tensors: Tensors  # of the whole file
    names: Mapping[str, str]  # of the keys below the prefix: what the form calls them
    ends_early: bool = False

    @cached_property
    def weights(self) -> dict[str, LazyTensor]:
        """The tensors of the network by canonical name, in canonical orientation."""
        keys = self.form.keys(self.network)
        return {
            name: _oriented(self.tensors[key], keys[name].axes, self.network.tensors[name])
            for name, key in self.stored.items()
        }

    @cached_property
    def others(self) -> dict[str, str]:
        """The keys of the file that are not of the network, and what the form calls them."""
        used = set(self.stored.values())
        return {key: self.names.get(key, key) for key in self.tensors if key not in used}

    @property
    def place(self) -> str:
        """The key by which two readings are of the same network."""
        return next(iter(self.stored.values()))

    @property
    def own_prefix(self) -> str:
        """The part of the prefix that the library itself puts there, beside a classifier."""
        whole = self.form.stem(network_of(self.network.name, headless=False))
        own = whole.removesuffix(self.form.stem(network_of(self.network.name, headless=True)))
        return own if own and self.prefix.endswith(own) else ""

    @property
    def features(self) -> int:
        """How many features a classifier is given."""
        classifier = network_of(self.network.name, headless=False).classifier
        if classifier is None:
            raise TypeError(f"{self.network.name} has no features")
        return classifier.in_channels

    @cached_property
    def unexplained(self) -> int:
        """How many keys beside the network, below the prefix, the form has no word for."""
        return sum(
            key.startswith(self.prefix)
            and self.tensors[key].is_float
            and not self.form.is_ignored(name)
            for key, name in self.others.items()
        )


def views(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensors]]:
    """The tensors under the names by which a layout may know them, the surest names first."""
    renamed = {
        _with_layer_name(key, checkpoint.layer_names): stored
        for key, stored in checkpoint.tensors.items()
    }
    if checkpoint.layer_names and len(renamed) == len(checkpoint.tensors):
        yield BY_NAME, renamed
    kind = "weights.h5" if checkpoint.format == KERAS_ARCHIVE else checkpoint.format
    yield kind, checkpoint.tensors
    if kind == "npz":  # a state dict that was kept by NumPy
        yield PYTORCH_FILE, checkpoint.tensors


def _with_layer_name(key: str, layer_names: Mapping[str, str]) -> str:
    """`layers/conv2d_17/vars/0` -> `layers/block1a_se_reduce/vars/0`."""
    group, _, variable = key.rpartition("/")
    above, _, _ = group.removesuffix("/vars").rpartition("/")
    if not above or group not in layer_names:  # above the layers is the optimizer, named too
        return key
    return f"{above}/{layer_names[group]}/vars/{variable}"


def forms(kind: str) -> Iterator[tuple[Layout, Form]]:
    """The forms that files without our metadata are tried against."""
    for layout in LAYOUTS:
        for form in layout.forms_of(kind) if layout is not CANONICAL else ():
            yield layout, form


@cache
def network_of(name: str, headless: bool) -> Network:
    """The network of a preset, without a classifier or with the usual one."""
    return resolve(name, num_classes=None if headless else IMAGENET_CLASSES)


def networks(layout: Layout) -> Iterator[Network]:
    """The networks of a layout, without classifier."""
    for preset in layout.presets:
        yield network_of(preset, headless=True)


class Index:
    """The keys of a file, sorted, so that those below a prefix are found without looking at all."""

    def __init__(self, tensors: Tensors):
        self.tensors = tensors
        self.keys = sorted(tensors)
        # Keys by what they end in, for stems are looked for by their last component first.
        self.by_end: dict[str, list[str]] = {}
        for key in self.keys:
            self.by_end.setdefault(_end(key), []).append(key)

    def below(self, prefix: str) -> list[str]:
        """The keys that begin with a prefix."""
        first = bisect_left(self.keys, prefix)
        return self.keys[first : bisect_left(self.keys, prefix + AFTER_ALL, first)]

    def count(self, prefix: str) -> int:
        """How many keys begin with a prefix."""
        first = bisect_left(self.keys, prefix)
        return bisect_left(self.keys, prefix + AFTER_ALL, first) - first

    def named(self, form: Form, prefix: str) -> dict[str, str]:
        """The keys below a prefix, and what a form calls them."""
        shapes = {key.removeprefix(prefix): self.tensors[key].shape for key in self.below(prefix)}
        # Layers of the same class may stand beside the network, and have numbers of their own.
        return {prefix + path: name for path, name in form.renumbered(shapes).items()}

    def prefixes(self, form: Form, network: Network) -> list[str]:
        """What stands before the key of the stem's kernel, wherever there is one."""
        stem, pattern = form.stem(network), form.stem_pattern(network)
        if pattern is not None:
            found = [key[: m.start()] for key in self.keys if (m := pattern.search(key))]
        else:
            ending = self.by_end.get(_end(stem), ())
            found = [key.removesuffix(stem) for key in ending if key.endswith(stem)]
        return list(
            dict.fromkeys(prefix for prefix in found if not prefix or prefix[-1] in SEPARATORS)
        )


def _end(key: str) -> str:
    return re.split(r"[./]", key)[-1]


# ------------------------------------------------------------------ networks


def readings(kind: str, tensors: Tensors) -> list[Reading]:
    """Every network of a file, in every form that it can be read in; the best forms only."""
    index = Index(tensors)
    found = [
        reading
        for layout, form in forms(kind)
        if not form.is_beside_another(tensors)
        for reading in _of_form(layout, form, index)
    ]
    best: dict[str, list[Reading]] = {}
    for reading in found:
        best.setdefault(reading.place, []).append(reading)
    return [reading for group in best.values() for reading in _best(group)]


def _best(group: list[Reading]) -> list[Reading]:
    """Of the readings of one network, those that leave least of what is around it unexplained."""

    def rank(reading: Reading) -> tuple[bool, bool, int, int]:
        # A form that asks for more than the network's keys has found more.
        marked = reading.form.marker is not None
        return reading.ends_early, not marked, reading.unexplained, len(reading.prefix)

    least = min(map(rank, group))
    return [reading for reading in group if rank(reading) == least]


def _of_form(layout: Layout, form: Form, index: Index) -> Iterator[Reading]:
    for network in networks(layout):
        prefixes = index.prefixes(form, network)
        if not prefixes:
            continue
        keys = form.keys(network)
        trunk = {name: key for name, key in keys.items() if not name.startswith("head.")}
        for prefix in prefixes:
            reading = _fits(layout, form, network, index, prefix, keys)
            if reading is None and form.may_end_early:
                reading = _fits(layout, form, network, index, prefix, trunk)
            if reading is not None:
                yield reading


def _fits(
    layout: Layout,
    form: Form,
    network: Network,
    index: Index,
    prefix: str,
    keys: Mapping[str, Key],
) -> Reading | None:
    """The network with the file's channels, if its keys and shapes are the file's."""
    if index.count(prefix) < len(keys) or not _likely(form, keys, index.tensors, prefix):
        return None
    names = index.named(form, prefix)
    stored = {name: key for key, name in names.items()}
    if any(key.path not in stored for key in keys.values()):
        return None
    found = {name: stored[key.path] for name, key in keys.items()}
    fitted = _fitted(network, {n: index.tensors[key] for n, key in found.items()}, keys)
    if fitted is None:
        return None
    ends_early = len(keys) < len(network.tensors)
    reading = Reading(layout, form, fitted, prefix, found, index.tensors, names, ends_early)
    return reading if _is_alone(reading) else None


def _likely(form: Form, keys: Mapping[str, Key], tensors: Tensors, prefix: str) -> bool:
    """Whether the last keys are there: to look at all costs too much for every prefix."""
    last = [key.path for key in list(keys.values())[-8:] if form.is_fixed(key.path)]
    return all(prefix + path in tensors for path in last)


def _fitted(network: Network, found: Tensors, keys: Mapping[str, Key]) -> Network | None:
    """The network with the file's input channels, if all other shapes agree."""
    first = next(iter(keys))
    stem = found[first]
    if len(stem.shape) != len(keys[first].axes):
        return None
    channels = int(np.array(stem.shape)[np.argsort(keys[first].axes)][1])
    if channels < 1:
        return None
    fitted = resolve(network.name, num_classes=None, in_channels=channels)
    for name, stored in found.items():
        if not stored.is_float or not fits(stored.shape, keys[name].axes, fitted.tensors[name]):
            return None
    return fitted


def fits(shape: tuple[int, ...], axes: tuple[int, ...], canonical: tuple[int, ...]) -> bool:
    """Whether a shape is a canonical one with its axes in another order.

    A kernel of one pixel may lack the two axes of it, as in files from before PyTorch had them.
    """
    if len(shape) == len(axes):
        return shape == tuple(canonical[axis] for axis in axes)
    return axes == PYTORCH_ORDER.conv and canonical[2:] == (1, 1) and shape == canonical[:2]


def _oriented(stored: LazyTensor, axes: tuple[int, ...], canonical: tuple[int, ...]) -> LazyTensor:
    if len(stored.shape) != len(axes):
        return stored.reshaped(canonical)
    return stored.transposed(np.argsort(axes).tolist())


def _is_alone(reading: Reading) -> bool:
    """Whether nothing in the blocks of the network is left over: that would be another one."""
    form = reading.form
    inside = {key: name for key, name in reading.others.items() if key in reading.names}
    if form.marker and not any(re.search(form.marker, name) for name in inside.values()):
        return False
    layers = set()
    if "{layer}" in form.path:
        layers = {layer_of(key.path) for key in form.keys(reading.network).values()}
    return not any(
        form.owns(name) or layer_of(name) in layers
        for key, name in inside.items()
        if reading.tensors[key].is_float and not form.is_ignored(name)
    )


def layer_of(path: str) -> str:
    """The key without its last component, which names a tensor of a layer."""
    return path[: max(path.rfind(mark) for mark in SEPARATORS)] if re.search("[./]", path) else ""
