"""Canonical weights: one name, one shape and one orientation for every tensor of a network.

Names are those of `Network.tensors`.  Kernels are (out, in, height, width), depthwise kernels
(channels, 1, height, width), the classifier (classes, features); a batch norm is `scale`,
`bias`, `mean` and `variance`.  Files are safetensors with the network in the metadata.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common import __version__
from common.architectures import ARCHITECTURES, resolve
from common.errors import RosettaError
from common.files import replacing
from common.spec import EFFICIENTNET, Dialect, Layer, Network, conv_std, dense_bound

Weights = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]

FORMAT = "efficientnet-rosetta"
LISTED = 5  # names shown of each kind of mismatch


class WeightsError(RosettaError):
    """Weights and network do not fit; the message lists the tensors."""


def check(expected: Shapes, weights: Mapping[str, np.ndarray]) -> None:
    """Compare names and shapes both ways, before anything is copied.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not of floats.
    """
    check_shapes(expected, {name: tuple(array.shape) for name, array in weights.items()})
    integers = [name for name, array in weights.items() if array.dtype.kind != "f"]
    if integers:
        raise WeightsError(f"{len(integers)} tensors are not floating point: {_listed(integers)}")


def check_shapes(expected: Shapes, found: Shapes) -> None:
    """Compare names and shapes both ways.

    Raises:
        WeightsError: a tensor is missing, unexpected or of another shape.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    misshapen = [
        f"{name} {found[name]} for {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(problems.values()):
        text = "; ".join(
            f"{len(names)} {kind}: {_listed(names)}" for kind, names in problems.items() if names
        )
        raise WeightsError(f"the weights do not fit the network: {text}")


def fingerprint(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of canonical names, shapes and values: the same in every layout and format.

    Values are hashed as float32, the type that every layout can hold.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name], np.float32)
        digest.update(f"{name} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one tensor: a function of the seed and its name, not of any order."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def initial(network: Network, seed: int = 0) -> Weights:
    """The official initialisation (conv_kernel_initializer, dense_kernel_initializer), float32.

    Convolutions N(0, 2 / fan-out), depthwise ones with a fan-out of kernel squared, the
    classifier U(+-1 / sqrt(classes)), biases 0, batch norms the identity.  Its logits are
    nearly constant in the input: compare implementations on `calibration.calibrated` instead.
    """
    return {
        name: array
        for layer in network.layers
        for name, array in _initial_layer(layer, seed).items()
    }


def _initial_layer(layer: Layer, seed: int) -> Weights:
    constants = {"scale": 1, "bias": 0, "mean": 0, "variance": 1}
    arrays: Weights = {}
    for name, shape in layer.tensors.items():
        last = name.rpartition(".")[2]
        random = generator(seed, name)
        if last in constants:
            arrays[name] = np.full(shape, constants[last], np.float32)
        elif layer.kind == "dense":
            bound = dense_bound(layer.out_channels)
            arrays[name] = random.uniform(-bound, bound, shape).astype(np.float32)
        else:
            filters = 1 if layer.kind == "depthwise_conv" else layer.out_channels
            std = np.float32(conv_std(layer.kernel, filters))
            arrays[name] = random.standard_normal(shape, np.float32) * std
    return arrays


def save(
    path: str | Path, network: Network, weights: Weights, further: Mapping[str, str] | None = None
) -> None:
    """Write canonical weights, with what it takes to rebuild their network in the metadata.

    `further` goes into the metadata too.

    Raises:
        WeightsError: the weights are not this network's.
        RosettaError: the file cannot be written.
    """
    check(network.tensors, weights)
    # safetensors writes the buffer as it lies in memory, whatever the strides say.
    tensors = {name: np.ascontiguousarray(weights[name]) for name in network.tensors}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={**metadata(network), **(further or {})})


def metadata(network: Network) -> dict[str, str]:
    """What a file says about the network in it; `network` alone rebuilds it."""
    return {
        "format": FORMAT,
        "architecture": network.architecture,
        "preset": network.name,
        "dialect": network.dialect.name,
        "classes": str(network.num_classes or "none"),
        "network": json.dumps(_arguments(network)),
    }


def _arguments(network: Network) -> dict:
    """What `resolve` needs to make this network again, the preset's name apart."""
    return {**network.arguments, "dialect": dataclasses.asdict(network.dialect)}


def changed(network: Network, **arguments) -> Network:
    """The same network with other arguments of `resolve`; a dialect is given as a dictionary.

    Raises:
        RosettaError: a value is outside its range.
    """
    try:
        return _rebuilt(network.architecture, network.name, {**_arguments(network), **arguments})
    except ValueError as error:
        raise RosettaError(str(error)) from None


def _rebuilt(architecture: str, name: str, arguments: dict) -> Network:
    presets = ARCHITECTURES[architecture].presets
    dialect = Dialect(**arguments["dialect"])
    preset = presets[0] if name == "custom" else name
    if preset not in presets:
        raise ValueError(f"{architecture} has no preset {preset!r}")
    return resolve(preset, **{**arguments, "dialect": dialect})


def description(network: Network, layout: str, framework: str) -> dict[str, str]:
    """The metadata of an exported graph: that of the weights, and how the graph came to be."""
    producer = f"{FORMAT} {__version__} ({framework})"
    return {**metadata(network), "layout": layout, "producer": producer}


def network_from(path: str | Path, found: Mapping[str, str] | None) -> Network:
    """Rebuild the network that `metadata` described in the file `path`.

    Raises:
        RosettaError: the metadata is absent or damaged.
    """
    if not found or found.get("format") != FORMAT:
        raise RosettaError(
            f"{path}: has no {FORMAT} metadata; write canonical weights with common.weights.save"
        )
    try:
        # Files from before there was a second architecture do not name theirs.
        architecture = found.get("architecture", EFFICIENTNET.name)
        return _rebuilt(architecture, found["preset"], json.loads(found["network"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise RosettaError(f"{path}: its {FORMAT} metadata is damaged ({error})") from None


def load(path: str | Path) -> tuple[Network, Weights]:
    """Read canonical weights and the network they belong to.

    Raises:
        RosettaError: no such file, not a safetensors file, or not one written by `save`.
        WeightsError: the tensors are not those of the network in the metadata.
    """
    if not Path(path).is_file():
        raise RosettaError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            network = network_from(path, file.metadata())
            weights = _read(file, network.tensors)
    except (SafetensorError, OSError) as error:
        raise RosettaError(f"{path}: is not a safetensors file ({error})") from None
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return network, weights


def _read(file: safe_open, names: Iterable[str]) -> Weights:
    found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    check(dict(names), found)
    return {name: found[name] for name in names}
