"""Models in a framework, and their ONNX files.  The answers of `rosetta.build` and `.export`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._util.atomic import replacing
from .._util.result import Result
from ..architectures import changed, resolve, scaled
from ..backends.protocol import OPSET, Exporter, FeatureBuilder, loaded, require
from ..backends.registry import default_backend, get_backend
from ..errors import UsageError
from ..network import Network
from ..weights.calibration import calibrated
from ..weights.canonical import Weights
from .load import LoadedHead, LoadedWeights, load, refuse_other, weights_for

DTYPES = ("float32", "float64")


def build(
    network: Network | str = "b0",
    backend: str | None = None,
    *,
    weights: LoadedWeights | Weights | str | Path | None = None,
    features_only: bool = False,
    dtype: str = "float32",
    dialect: str | None = None,
    **arguments: Any,
) -> Any:
    """A model of a preset, or of a network that was resolved, in a framework.

    `weights` are a checkpoint of any layout, what `load` returned, or canonical arrays; without
    them the model has the official initialisation.  They decide the dialect, and the number of
    classes unless `num_classes` is given.  `arguments` are those of `resolve`.

    `backend` is "torch", for a `torch.nn.Module` that takes images (N, C, H, W), or "keras", for a
    `keras.Model` that takes images (N, H, W, C); without it, the one that is installed is used.
    With `features_only` the model's outputs are the last map of each resolution, the largest
    first, in the framework's order of axes.

    Raises:
        UsageError: an unknown preset, backend or argument.
        FileError: the file cannot be read, or holds another preset.
        MissingDependencyError: the framework is not installed.
    """
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}")
    framework_name = backend or default_backend()
    framework = get_backend(framework_name)
    found = _prepared(network, weights, dialect, arguments)
    if features_only:
        builder = require(framework, FeatureBuilder, framework_name)
        return builder.build_features(found.network, found.weights or None, dtype)
    model = framework.build(found.network, dtype)
    if found.weights:
        framework.load_weights(model, found.weights)
    return model


def _prepared(
    network: Network | str,
    weights: LoadedWeights | Weights | str | Path | None,
    dialect: str | None,
    arguments: dict[str, Any],
) -> LoadedHead:
    """The network that was asked for, with weights if any were given."""
    if isinstance(weights, str | Path):
        weights = load(weights, dialect=dialect)
    if isinstance(network, str):
        if isinstance(weights, LoadedWeights):
            arguments = {"num_classes": weights.network.num_classes, **arguments}
            arguments = {"in_channels": weights.network.in_channels, **arguments}
        elif dialect is not None:
            arguments = {**arguments, "dialect": dialect}
        network = resolve(network, **arguments)
    elif arguments:
        network = changed(network, **arguments)
    if weights is None:
        return LoadedHead(network, {})
    return weights_for(network, weights)


@dataclass(frozen=True)
class Exported(Result):
    """An ONNX file that was written; `outputs` are the names of its outputs, in forward order."""

    path: Path
    network: Network
    backend: str
    opset: int
    outputs: tuple[str, ...]


def export(
    preset: str | None,
    output: str | Path,
    backend: str | None = None,
    *,
    weights: str | Path | None = None,
    endpoints: bool = False,
    opset: int = OPSET,
    width: float | None = None,
    depth: float | None = None,
    middle_blocks: int | None = None,
    dialect: str | None = None,
    resolution: int | None = None,
) -> Exported:
    """Write a network to ONNX, with a dynamic batch and its description in the metadata.

    `weights` are a checkpoint of any layout; without them the network has calibrated random
    weights.  `preset` may be None where weights are given; it is "custom", or has its `width`,
    `depth` or `middle_blocks` given, where they are of another scaling than any preset.  With
    `endpoints`, the value of every section is an output of the file.  `resolution` is a side in
    pixels; by default the preset's.

    Raises:
        UsageError: an unknown preset or backend, or neither preset nor weights.
        FileError: a file cannot be read or written, or holds another preset.
        MissingDependencyError: the framework, or onnx, is not installed.
    """
    name = backend or default_backend()
    framework = require(get_backend(name), Exporter, name)
    # Opened before the work: what cannot be written is reported at once.
    with replacing(output) as temporary:
        scaling = {"width": width, "depth": depth, "middle_blocks": middle_blocks}
        found = _exported_network(preset, weights, scaling, dialect, resolution)
        model = loaded(framework, found.network, found.weights)
        exported = framework.export_onnx(model, found.network, endpoints, opset)
        temporary.write_bytes(exported.SerializeToString())
    outputs = tuple(value.name for value in exported.graph.output)
    return Exported(Path(output), found.network, name, opset, outputs)


def _exported_network(
    preset: str | None,
    weights: str | Path | None,
    scaling: Mapping[str, Any],
    dialect: str | None,
    resolution: int | None,
) -> LoadedHead:
    if weights is None:
        if preset is None:
            raise UsageError("there is nothing to export; name a preset, or weights")
        said = {} if dialect is None else {"dialect": dialect}
        network = scaled(preset, **{**scaling, **said}, resolution=resolution)
        return LoadedHead(network, calibrated(network))
    loaded = load(weights, dialect=dialect, resolution=resolution)
    refuse_other(loaded, preset, **scaling)
    return LoadedHead(loaded.network, loaded.weights)
