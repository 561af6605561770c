"""The weights of a network out of a graph, and what the graph says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...architectures import PRESETS, changed, resolve
from ...errors import FileError, UnknownLayoutError, UsageError, reading
from ...images.normalization import Normalization
from ...network import DIALECTS, Dialect, Network
from ..formats.lazy import LazyTensor
from ..formats.protobuf_wire import shown
from ..layouts import LAYOUTS
from . import folding, onnx_graph, padding, refusals, tflite_graph
from .graph import Graph, GraphError
from .matching import Matched, MismatchError, Strided, match
from .operations import walked
from .padding import Paddings
from .values import UNRESOLVED, Value, before
from .walk import Walk

FOLDED_MARK = "batch norms are folded; right for inference, not for training on"
OUTPUTS_LIMIT = 256  # that a network is looked for in; L2 with all its blocks has some 120
# What follows the logits, by the kinds of values.
ENDINGS = {"softmax": "softmax", "log_softmax": "softmax", "sigmoid": "sigmoid"}
OF_ONE = 0.05  # factors of an image below it are of values from 0 to 255, and not from 0 to 1


@dataclass(frozen=True)
class Recovered:
    """A network that was found in a graph.

    `dialects` are those that compute as the graph does; `dialect` is None where the graph was made
    for a size at which they pad alike.  `normalization` is what the graph does to an image itself.
    """

    exporter: str
    network: Network
    dialects: tuple[Dialect, ...]
    dialect: Dialect | None
    normalization: Normalization | None
    weights: Mapping[str, LazyTensor]
    left: tuple[str, ...]  # constants that are no weights
    folded: bool
    steps: Steps


@dataclass(frozen=True)
class Steps:
    """How a graph takes images and gives logits: what it takes to run it beside a network.

    An image is turned by `turn`, from (N, C, H, W), and what the network is given is `factor`
    times the graph's own image plus `shift`, channel by channel.
    """

    image: str
    output: str
    turn: tuple[int, ...]
    factor: tuple[float, ...]
    shift: tuple[float, ...]
    size: tuple[int, int] | None  # None where it takes images of any size
    batch: int | None
    ending: str | None  # "softmax" or "sigmoid", where the logits are not the output
    logarithm: bool  # which the output is of what the ending gives
    unused: Mapping[str, tuple[int | None, ...]]  # inputs that nothing is computed from
    types: Mapping[str, np.dtype[Any]]  # of all inputs that are of numbers

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the image."""
        return self.types.get(self.image, np.dtype(np.float32))


GRAPHS: Mapping[str, Callable[[Path], Graph]] = {
    "onnx": onnx_graph.read,
    "tflite": tflite_graph.read,
}


def recover(
    path: Path, format: str, told: str | None = None, stated: Network | None = None
) -> Recovered:
    """Find a network in the graph of a file, and its weights.

    `told` is a dialect that was given, and `stated` the network that the file says it has; without
    it all presets are tried.

    Raises:
        RosettaError: the graph cannot be read, or is none of a network of ours.
    """
    graph = GRAPHS[format](path)
    # Whatever a file can hold in its constants is met here for the first time.
    with reading(path, "a graph"):
        try:
            refusals.check(graph)
            walk = walked(graph)
            matched, output, ending = _matched(path, walk, stated)
            return _recovered(path, walk, matched, told, stated, output, ending)
        except (GraphError, MismatchError) as error:
            raise FileError(path, str(error)) from error


# ------------------------------------------------------------------ the network


def _candidates(value: Value, channels: set[int], stated: Network | None) -> Iterator[Network]:
    """Networks of the classes and channels of a graph, whose output is a value."""
    if stated is not None:
        yield stated
    elif len(channels) == 1:
        classes = value.channels if value.kind == "linear" else None
        for preset in PRESETS:
            try:
                yield resolve(preset, num_classes=classes, in_channels=min(channels))
            except UsageError as error:
                raise GraphError(f"is of no network that is known here: {error}") from error


def _matched(path: Path, walk: Walk, stated: Network | None) -> tuple[Matched, str, str | None]:
    """The network in a graph, its output, and what it ends in.

    Raises:
        UnknownLayoutError: there is none.
        GraphError: the graph computes more than one network.
    """
    best: tuple[int, str, str] = (-1, "", "")
    channels = {
        value.linear.weight.shape[1]
        for value in before(walk.values.values())
        if value.linear is not None and value.of[0].kind == "input"
    }
    beside: GraphError | None = None
    for name in walk.graph.outputs[::-1][:OUTPUTS_LIMIT]:
        value, ending = _logits(walk.values.get(name))
        if value is None:
            continue
        for network in _candidates(value, channels, stated):
            progress: list[int] = []
            try:
                matched = match(network, value, progress)
            except MismatchError as mismatch:
                best = max(best, (progress[0], network.name, str(mismatch)))
                continue
            try:
                _check_rest(walk, matched)
            except GraphError as error:  # of features, whose classifier leads to another output
                beside = beside or error
                continue
            return matched, name, ending
    if beside is not None:
        raise beside
    raise UnknownLayoutError(path, _none(walk, best), closest=best[1] or None)


def _logits(value: Value | None) -> tuple[Value | None, str | None]:
    """The value that a graph ends in, without a softmax or a sigmoid after it, and that."""
    if value is not None and value.kind in ENDINGS and not value.steps:
        return value.of[0], ENDINGS[value.kind]
    return value, None


def _check_rest(walk: Walk, matched: Matched) -> None:
    """Refuse layers beside those of a network, which would be left behind.

    Raises:
        GraphError: there are some.
    """
    taken = {id(found.linear) for found in matched.layers}
    outputs = [walk.values[name] for name in walk.graph.outputs if name in walk.values]
    others = {
        str(value): None
        for value in before(outputs)
        if value.linear is not None and id(value.linear) not in taken
    }
    if others:
        raise GraphError(
            f"holds {matched.network.name} and layers beside it, such as {next(iter(others))}; "
            "export the network by itself"
        )


def _none(walk: Walk, best: tuple[int, str, str]) -> str:
    """Why a graph is of no network of ours."""
    looks = refusals.looks_like(walk.graph)
    like = f", and looks like {looks}" if looks else ""
    layers, preset, reason = best
    if layers < 1:
        ends = [walk.values[name] for name in walk.graph.outputs if name in walk.values]
        what = f"it ends in {ends[-1]}" if ends else "nothing in it depends on an image"
        return f"is a graph of no network that is known here{like}: {what}"
    return (
        f"is a graph of no network that is known here{like}; closest is {preset}, of which "
        f"{layers} layers fit from the end: {reason}"
    )


# ------------------------------------------------------------------ its weights


def _recovered(
    path: Path,
    walk: Walk,
    matched: Matched,
    told: str | None,
    stated: Network | None,
    output: str,
    ending: str | None,
) -> Recovered:
    graph, image = walk.graph, matched.image
    assert image is not None
    order = _order(graph, matched.layers[0].linear.image_axes)
    shape = graph.inputs[image.name]
    size = padding.size_of(shape, order)
    kept = [folding.is_kept(found) for found in matched.layers if found.norm is not None]
    mixed = _is_run_mixed(matched.network if stated is None else stated)
    paddings = padding.paddings(*_windows(matched, size), mixed)
    possible = _dialects(_epsilon(matched), paddings, stated)
    possible = _apart(possible, matched.network.dialect, told)
    dialect = _dialect(path, possible, paddings, told)
    epsilon = (dialect or possible[0]).epsilon
    weights: dict[str, LazyTensor] = {}
    for found in matched.layers:
        weights |= folding.tensors(found, epsilon)
    network = matched.network
    factor, shift = folding.image_arithmetic(image.steps, network.in_channels)
    used = {stored.key for stored in weights.values()} | {
        tensor.key for found in matched.layers for step in found.steps for tensor in step.tensors
    }
    return Recovered(
        exporter=graph.producer,
        network=network,
        dialects=possible,
        dialect=dialect,
        normalization=_normalization(factor, shift) if image.steps else None,
        weights={name: weights[name] for name in network.tensors},
        left=tuple(c.key for c in graph.constants.values() if c.key not in used),
        folded=not all(kept),
        steps=Steps(
            image=image.name,
            output=output,
            turn=tuple(order.index(axis) for axis in range(len(order))),
            factor=tuple(factor.tolist()),
            shift=tuple(shift.tolist()),
            size=size,
            batch=shape[order[0]],
            ending=ending,
            logarithm=walk.values[output].kind == "log_softmax",
            unused={name: s for name, s in graph.inputs.items() if name != image.name},
            types=graph.types,
        ),
    )


def _order(graph: Graph, axes: str) -> list[int]:
    """The places of the axes N, C, H, W in the image that a graph is given."""
    if sorted(axes) != list(UNRESOLVED):
        raise MismatchError("takes an image of other axes than those of a batch of maps")
    order = [UNRESOLVED.index(axis) for axis in axes]
    return [order[0], order[3], order[1], order[2]] if graph.channels_last else order


def _windows(matched: Matched, size: tuple[int, int] | None) -> tuple[list[Strided], bool]:
    """The windows of a network, over the maps that it has at a size if that is known."""
    if size is None:
        return matched.windows, False
    try:
        network = changed(matched.network, resolution=size)
    except UsageError as error:
        height, width = size
        raise MismatchError(f"is made for images of {height} x {width} pixels: {error}") from error
    sizes = {section.role: section.input_size for section in network.maps}
    sizes |= {layer.role: s.input_size for s in network.maps for layer in s.layers}
    return [
        replace(window, size=sizes[window.role.removesuffix(" pooling")])
        for window in matched.windows
    ], True


def _is_run_mixed(network: Network) -> bool:
    """Whether it says so itself, or a library pads so; one that takes any network tells nothing."""
    return network.dialect.padding == "mixed" or any(
        dialect.padding == "mixed"
        for layout in LAYOUTS
        if not layout.any_network
        for dialect in layout.dialects.get(network.name, ())
    )


def _epsilon(matched: Matched) -> float | None:
    """That of the batch norms that were kept, as it was before it was rounded; None without any."""
    found = {
        float(str(np.float32(step.epsilon)))
        for layer in matched.layers
        if layer.norm is not None and folding.is_kept(layer)
        for step in layer.steps
        if step.kind == "norm"
    }
    if len(found) > 1:
        said = " and ".join(f"{epsilon:g}" for epsilon in sorted(found))
        raise MismatchError(f"has batch norms of different epsilons, {said}")
    return next(iter(found), None)


def _dialects(
    epsilon: float | None, paddings: tuple[Paddings, ...], stated: Network | None
) -> tuple[Dialect, ...]:
    """The dialects of paddings and an epsilon; any epsilon does where norms are folded.

    Raises:
        MismatchError: the one that a file says it has is none of them.
    """
    if stated is not None:
        said = stated.dialect
        if said.padding not in paddings or epsilon not in (None, said.epsilon):
            raise MismatchError(
                f"says that its dialect is {shown(said.name.encode())}, and computes by another"
            )
        return (said,)
    known = tuple(
        dialect
        for dialect in DIALECTS.values()
        if dialect.padding in paddings and epsilon in (None, dialect.epsilon)
    )
    if known or epsilon is None:
        return known
    return tuple(
        Dialect(f"{one} padding, epsilon {epsilon:g}", one, epsilon, 0.99) for one in paddings
    )


def _apart(possible: tuple[Dialect, ...], own: Dialect, told: str | None) -> tuple[Dialect, ...]:
    """Of dialects that differ in momentum alone, which no graph shows, the likeliest one.

    It has the momentum of the network's own code, whose dialect is the first of all.
    """
    chosen: dict[tuple[str, float], Dialect] = {}
    for dialect in sorted(
        possible, key=lambda one: (one.name != told, one.momentum != own.momentum)
    ):
        chosen.setdefault((dialect.padding, dialect.epsilon), dialect)
    kept = [dialect for dialect in possible if dialect in chosen.values()]
    return tuple(sorted(kept, key=lambda dialect: dialect != own))


def _dialect(
    path: Path, possible: tuple[Dialect, ...], paddings: tuple[Paddings, ...], told: str | None
) -> Dialect | None:
    """The dialect of a graph, which is that of its padding if it was not told."""
    if told is None:
        return possible[0] if len(paddings) == 1 or len(possible) == 1 else None
    if told not in DIALECTS:
        raise UsageError(f"unknown dialect {told!r}; choose from {', '.join(DIALECTS)}")
    if told not in {dialect.name for dialect in possible}:
        names = " or ".join(dialect.name for dialect in possible)
        raise FileError(path, f"computes in the {names} dialect; give no other", argument="dialect")
    return DIALECTS[told]


def _normalization(factor: folding.Vector, shift: folding.Vector) -> Normalization | None:
    """What an image is normalised by in a graph, on a scale of 0 to 1."""
    if not (np.isfinite(factor).all() and np.isfinite(shift).all() and (factor > 0).all()):
        return None
    scale = 255 if (factor < OF_ONE).all() else 1
    # Constants are float32: seven digits of them are what was written once.
    mean, std = -shift / factor / scale, 1 / (factor * scale)
    return Normalization(
        tuple(float(f"{value:.7g}") + 0.0 for value in mean),
        tuple(float(f"{value:.7g}") for value in std),
    )
