"""What stands beside a network in a file: its classifier, nothing of weight, or another head.

One rule serves every layout.  Where exactly one dense layer is beside the network, with as many
inputs as the network has features, and nothing else that has weights, it is the classifier,
whatever it is called.  Anything else is kept apart, and named to whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..errors import FileError
from .formats.checkpoint import Checkpoint
from .formats.detect import PYTORCH_FILE
from .formats.lazy import LazyTensor
from .keras_model import classifier_of
from .layouts.schema import PYTORCH_ORDER
from .recognition import Reading

WEIGHT, BIAS = "classifier.weight", "classifier.bias"
LISTED = 4  # layers named in a message
# Entries of a training script's dictionary, and variables of Keras, that go on with the training.
TRAINING = re.compile(
    r"^(optim\w*|opt|\w*scheduler\w*|\w*scaler\w*|amp|rng\w*|\w*rng_states?|loops|callbacks"
    r"|hyper_parameters|averaging_state|train_state|trainer\w*)[./_]"
    r"|^(save_counter|optimizer|keras_api|_optimizer\w*)/|/\.OPTIMIZER_SLOT/|^optimizer_weights/"
)
LOSS = re.compile(r"(^|[./_])(criterion|criteria|loss|loss_?fn|metrics?)[._/]|_(loss|metrics?)[./]")
CONSTANT = re.compile(
    r"(^|[._/])(pixel_|image_|img_|input_|norm_|imagenet_)?(mean|std|variance|var)(:0)?$"
    r"|(^|/)normalization(_\d+)?/"
)
COUNTED = "counters and seeds"
TRAINED = "state of the training"
LOST = "state of a loss or a metric"
NORMALIZED = "constants of a normalization"
REST = "not of the network"
VARIABLES = "variables/"  # of a SavedModel that lists them without names


@dataclass(frozen=True)
class Head:
    """What was found beside a network.

    `stored` are the keys of the classifier's tensors by canonical name, `weights` the tensors;
    both are empty where there is no classifier.  `rest` are the keys of everything else with
    weights, and their shapes; `aside` those without, and why they hold none.  `activation` is what
    the classifier's outputs go through, where the file says so.
    """

    stored: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, LazyTensor] = field(default_factory=dict)
    rest: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    aside: Mapping[str, str] = field(default_factory=dict)
    activation: str | None = None
    problem: str | None = None  # what is between the network and its only dense layer
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int | None:
        """How many classes the classifier tells apart."""
        return self.weights[WEIGHT].shape[0] if self.weights else None


def judge(checkpoint: Checkpoint, reading: Reading, elsewhere: Mapping[str, str]) -> Head:
    """What is beside a network, but for the keys that are of another one."""
    aside: dict[str, str] = {}
    rest: dict[str, str] = {}
    for key, name in reading.others.items():
        if key in elsewhere:
            continue
        reason = _without_weights(checkpoint, reading, key, name)
        if reason is None:
            rest[key] = name
        else:
            aside[key] = reason
    dense = _dense(reading, rest)
    shapes = {key: reading.tensors[key].shape for key in rest}
    if not dense:
        return Head(rest=shapes, aside=aside)
    weights = _classifier(reading, dense)
    said = classifier_of(checkpoint, dense[WEIGHT], weights[WEIGHT].shape[0])
    if said.problem:
        return Head(rest=shapes, aside=aside, problem=said.problem)
    notes = () if BIAS in dense else ("the classifier has no bias, so that zeros are put there",)
    return Head(dense, weights, {}, aside, said.activation, notes=notes)


def _without_weights(checkpoint: Checkpoint, reading: Reading, key: str, name: str) -> str | None:
    """Why a key holds no weights; None where it does."""
    stored, form = reading.tensors[key], reading.form
    if form.is_ignored(name) or form.is_ignored(key):
        return form.ignored_why
    if not stored.is_float:
        return COUNTED
    if TRAINING.search(key) and _is_entry(checkpoint, reading, key):
        return TRAINED
    small = len(stored.shape) < 2
    if small and LOSS.search(key):
        return LOST
    size = int(np.prod(stored.shape, dtype=float))
    if CONSTANT.search(_layer_and_tensor(reading, key)[2]) and size in (
        1,
        reading.network.in_channels,
    ):
        return NORMALIZED
    return None


def _is_entry(checkpoint: Checkpoint, reading: Reading, key: str) -> bool:
    """Whether a key is of a dictionary around the network's, and no attribute of its module."""
    if checkpoint.format != PYTORCH_FILE:  # where nothing tells the two apart
        return True
    return any(name.partition(".")[0] in checkpoint.tables for name in (key, reading.prefix))


def _layer_and_tensor(reading: Reading, key: str) -> tuple[str, str, str]:
    """The layer of a key and the tensor of it that it is, and both without what follows."""
    _, _, end = reading.form.path.rpartition("{tensor}")
    path = key.removesuffix(end) if "{tensor}" in reading.form.path else key
    place = max(path.rfind("."), path.rfind("/"))
    return path[: max(place, 0)], path[place + 1 :], path


def _dense(reading: Reading, rest: Mapping[str, str]) -> dict[str, str]:
    """The keys of the only layer, by canonical name, if it is dense and has the right size."""
    if not rest or len(rest) > 2:
        return {}
    if "{tensor}" not in reading.form.path:  # a list of variables, or names of the object graph
        found = {WEIGHT if len(reading.tensors[key].shape) > 1 else BIAS: key for key in rest}
        if len(found) < len(rest):
            return {}
    else:
        parts = {key: _layer_and_tensor(reading, key) for key in rest}
        if len({layer for layer, _, _ in parts.values()}) > 1:
            return {}
        tensors = reading.form.tensors
        names = {tensors.weight: WEIGHT, tensors.bias: BIAS}
        found = {names.get(tensor, tensor): key for key, (_, tensor, _) in parts.items()}
    if found.keys() - {WEIGHT, BIAS} or WEIGHT not in found:
        return {}
    shape = _dense_shape(reading, found[WEIGHT])
    if shape is None or shape[1] != reading.features or shape[0] < 1:
        return {}
    if BIAS in found and reading.tensors[found[BIAS]].shape != shape[:1]:
        return {}
    return {name: found[name] for name in (WEIGHT, BIAS) if name in found}


def _dense_shape(reading: Reading, key: str) -> tuple[int, int] | None:
    """(classes, features) of a dense kernel, or of a convolution's of one pixel."""
    shape = reading.tensors[key].shape
    first = reading.form.orientation == PYTORCH_ORDER
    if len(shape) == 4:
        pixels, shape = (shape[2:], shape[:2]) if first else (shape[:2], shape[2:])
        if pixels != (1, 1):
            return None
    if len(shape) != 2:
        return None
    return (shape[0], shape[1]) if first else (shape[1], shape[0])


def _classifier(reading: Reading, dense: Mapping[str, str]) -> dict[str, LazyTensor]:
    """The classifier's tensors in canonical orientation; zeros for a bias that is not there."""
    kernel = reading.tensors[dense[WEIGHT]]
    if len(kernel.shape) == 4:
        first = reading.form.orientation == PYTORCH_ORDER
        kernel = kernel.reshaped(kernel.shape[:2] if first else kernel.shape[2:])
    kernel = kernel.transposed(np.argsort(reading.form.orientation.dense).tolist())
    if BIAS in dense:
        return {WEIGHT: kernel, BIAS: reading.tensors[dense[BIAS]]}
    return {WEIGHT: kernel, BIAS: LazyTensor.of("", np.zeros(kernel.shape[0], kernel.dtype))}


# ------------------------------------------------------------------ what is said of it


def listed(rest: Mapping[str, tuple[int, ...]], limit: int | None = None) -> list[str]:
    """The layers of a head, each with the shapes of its tensors: `fc (5, 1280) (5)`."""
    layers: dict[str, list[str]] = {}
    for key, shape in rest.items():
        path = key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
        place = max(path.rfind("."), path.rfind("/"))
        listing = path.startswith(VARIABLES)  # which does not say what belongs to what
        layer = path[:place] if place > 0 and not listing else path
        layers.setdefault(layer.removesuffix("/vars"), []).append(f"({', '.join(map(str, shape))})")
    lines = [f"{layer} {' '.join(shapes)}" for layer, shapes in layers.items()]
    if limit is not None and len(lines) > limit:
        return [*lines[:limit], f"and {len(lines) - limit} more"]
    return lines


def counted(rest: Mapping[str, tuple[int, ...]]) -> str:
    """`3 layers that are not of the network`"""
    number = len(listed(rest))
    noun = "array" if any(key.startswith(VARIABLES) for key in rest) else "layer"
    return f"{number} {noun}{'s' if number > 1 else ''} that {'are' if number > 1 else 'is'} {REST}"


def refused(checkpoint: Checkpoint, head: Head, argument: str | None = None) -> FileError:
    """What to say of a file whose outputs are not the network's."""
    what = f"beside the network has {counted(head.rest)}: {'; '.join(listed(head.rest, LISTED))}"
    why = f" ({head.problem})" if head.problem else ""
    if argument:
        advice = "leave all that out to keep the network and its features"
    else:
        advice = "port it without all that to keep the network and its features (drop_head)"
    return FileError(checkpoint.path, f"{what}{why}; {advice}", argument=argument)
