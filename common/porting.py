"""Carrying weights from any layout to any other: inspect, port, verify.

Nothing here builds a model: porting renames and transposes arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.counting import count
from common.errors import RosettaError
from common.formats import CHECKPOINT, Checkpoint, format_of, index_of, read, write
from common.formats.wrappers import without_prefix
from common.layouts import LAYOUTS, Form, Layout
from common.layouts.schema import Counters
from common.preprocess import IMAGENET_MEAN, IMAGENET_STD
from common.spec import DIALECTS, IMAGENET_CLASSES, Dialect, Network, resolve
from common.weights import Weights, WeightsError, check, metadata, network_from

LISTED = 4  # keys shown of each kind of mismatch
NARROW = ("float16", "bfloat16")
DTYPES = ("float32", "float16")  # that every format can hold
UNFAITHFUL = "unfaithful"  # key of the metadata


@dataclass(frozen=True)
class Match:
    """A file explained: its layout, its network and its weights."""

    checkpoint: Checkpoint
    layouts: tuple[Layout, ...]  # more than one where the file does not tell them apart
    form: Form
    network: Network
    dialect: Dialect | None  # None where the file leaves it open
    weights: Weights
    dropped: dict[str, str]  # keys that hold no weights, and why
    wrappers: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """What `inspect` says of a file."""

    path: Path
    format: str
    layouts: tuple[str, ...]
    preset: str
    num_classes: int | None
    in_channels: int
    dtypes: tuple[str, ...]
    wrappers: tuple[str, ...]
    dialect: str | None
    possible_dialects: tuple[str, ...]
    expects: tuple[str, ...]
    parameters: int
    fingerprint: str
    keys: dict[str, str]  # the canonical name of every key, or why it holds no weights
    mark: str | None  # of a file that --force wrote for a library that runs another dialect


@dataclass(frozen=True)
class Ported:
    """What `port` did."""

    source: Inspection
    destination: Path
    layout: str
    format: str
    dialect: str
    mapped: int
    dropped: dict[str, str]
    written: tuple[str, ...]  # keys that are not weights of the network
    verified: bool
    faithful: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A tensor that two files do not share."""

    name: str
    largest: float  # absolute; infinite where one file lacks it or has another shape


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


# ------------------------------------------------------------------ what is this file?


def match(path: str | Path, dialect: str | None = None, raw: bool = False) -> Match:
    """Read a file and find the layout and the network that explain every key in it.

    A file that leaves its dialect open, or whose weights were not made for its library, takes the
    one in `dialect`.

    Raises:
        RosettaError: the file cannot be read, or no layout explains it whole.
    """
    checkpoint = read(path, raw)
    candidates = [(checkpoint.arrays, checkpoint.wrappers)]
    while stripped := without_prefix(candidates[-1][0]):
        arrays, prefix = stripped
        candidates.append((arrays, (*candidates[-1][1], prefix)))
    for arrays, wrappers in candidates:
        found = [
            (layout, form, network)
            for layout, form in _forms(checkpoint.format)
            for network in _networks(layout, form, arrays)
        ]
        if found:
            return _explained(checkpoint, arrays, wrappers, found, dialect)
    raise RosettaError(f"{path}: {_closest(checkpoint)}")


def _forms(kind: str) -> Iterator[tuple[Layout, Form]]:
    for layout in LAYOUTS.values():
        if kind in layout.forms:
            yield layout, layout.forms[kind]
        for form in layout.also_read.get(kind, ()):
            yield layout, form


def _networks(layout: Layout, form: Form, arrays: Mapping[str, np.ndarray]) -> Iterator[Network]:
    """The networks whose keys and shapes are exactly those of the file."""
    kept = {key for key in arrays if not form.is_ignored(key)}
    if form.marker and len(kept) == len(arrays):
        return
    for preset in layout.presets:
        for classes in (IMAGENET_CLASSES, None):
            network = resolve(preset, num_classes=classes)
            keys = form.keys(network)
            if len(keys) != len(kept) or {key.path for key in keys.values()} != kept:
                continue
            fitted = _fitted(network, {n: arrays[key.path] for n, key in keys.items()}, form)
            if fitted is not None:
                yield fitted


def _fitted(network: Network, found: Mapping[str, np.ndarray], form: Form) -> Network | None:
    """The network with the file's classes and input channels, if all other shapes agree."""
    keys = form.keys(network)
    shapes = {
        name: tuple(np.array(array.shape)[np.argsort(keys[name].axes)])
        for name, array in found.items()
        if array.ndim == len(keys[name].axes)
    }
    if len(shapes) != len(keys):
        return None
    classes = None if network.classifier is None else int(shapes["classifier.weight"][0])
    channels = int(shapes["stem.conv.weight"][1])
    if 0 in (classes, channels):
        return None
    fitted = resolve(network.name, num_classes=classes, in_channels=channels)
    return fitted if shapes == fitted.tensors else None


def _explained(
    checkpoint: Checkpoint,
    arrays: Mapping[str, np.ndarray],
    wrappers: tuple[str, ...],
    found: list[tuple[Layout, Form, Network]],
    told: str | None,
) -> Match:
    _, form, network = found[0]
    layouts = tuple(layout for layout, _, _ in found)
    weights = {
        name: arrays[key.path].transpose(np.argsort(key.axes))
        for name, key in form.keys(network).items()
    }
    used = {key.path for key in form.keys(network).values()}
    dropped = {key: form.ignored_why for key in arrays if key not in used}
    if layouts[0].name == "canonical":
        network = network_from(checkpoint.path, checkpoint.metadata)
        try:
            check(network.tensors, weights)
        except WeightsError as error:
            raise RosettaError(f"{checkpoint.path}: {error}") from None
        dialect = network.dialect
    else:
        dialect = _dialect(layouts, network.name, told)
    return Match(checkpoint, layouts, form, network, dialect, weights, dropped, wrappers)


def _dialect(layouts: tuple[Layout, ...], preset: str, told: str | None) -> Dialect | None:
    possible = _possible(layouts, preset)
    if told is None:
        return possible[0] if len(possible) == 1 else None
    if told not in DIALECTS:
        raise RosettaError(f"unknown dialect {told!r}; choose from {', '.join(DIALECTS)}")
    return DIALECTS[told]


def _possible(layouts: tuple[Layout, ...], preset: str) -> list[Dialect]:
    return list(dict.fromkeys(d for layout in layouts for d in layout.dialects.get(preset, ())))


def _closest(checkpoint: Checkpoint) -> str:
    """Why no layout explains a file: the one that comes closest, and what is amiss."""
    best: tuple[int, str] | None = None
    for layout, form in _forms(checkpoint.format):
        kept = {key for key in checkpoint.arrays if not form.is_ignored(key)}
        for preset in layout.presets:
            keys = {key.path for key in form.keys(resolve(preset)).values()}
            missing, left = sorted(keys - kept), sorted(kept - keys)
            if keys & kept and (best is None or len(missing) + len(left) < best[0]):
                parts = [
                    f"{len(names)} keys {kind}: {_listed(names)}"
                    for kind, names in (("missing", missing), ("left over", left))
                    if names
                ]
                reason = "; ".join(parts) or "the shapes are of another network"
                best = (len(missing) + len(left), f"closest is {layout.name} {preset}: {reason}")
    if best is None:
        return f"no layout has keys like {_listed(sorted(checkpoint.arrays))}"
    return f"no layout explains every key; {best[1]}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")


def inspect(path: str | Path, dialect: str | None = None, raw: bool = False) -> Inspection:
    """Say what a checkpoint file is.

    Raises:
        RosettaError: the file cannot be read, or no layout explains it whole.
    """
    return _inspection(match(path, dialect, raw))


def _inspection(found: Match) -> Inspection:
    network = found.network
    names = {key.path: name for name, key in found.form.keys(network).items()}
    return Inspection(
        path=found.checkpoint.path,
        format=found.checkpoint.format,
        layouts=tuple(layout.name for layout in found.layouts),
        preset=network.name,
        num_classes=network.num_classes,
        in_channels=network.in_channels,
        dtypes=tuple(sorted(found.checkpoint.dtypes)),
        wrappers=found.wrappers,
        dialect=None if found.dialect is None else found.dialect.name,
        possible_dialects=tuple(d.name for d in _possible(found.layouts, network.name)),
        expects=tuple(dict.fromkeys(layout.expects for layout in found.layouts)),
        parameters=count(network).trainable,
        fingerprint=fingerprint(found.weights),
        keys={**names, **found.dropped},
        mark=found.checkpoint.metadata.get(UNFAITHFUL),
    )


# ------------------------------------------------------------------ port


def port(
    source: str | Path,
    destination: str | Path,
    to: str,
    *,
    dialect: str | None = None,
    dtype: str | None = None,
    drop_head: bool = False,
    raw: bool = False,
    force: bool = False,
    verify: bool = True,
) -> Ported:
    """Write the weights of a file in another layout, in the format of the destination's suffix.

    Raises:
        RosettaError: either file, the layout or the combination is not possible; nothing was
            written.
    """
    destination = Path(destination)
    if dtype not in (None, *DTYPES):
        raise RosettaError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}")
    layout, kind = _target(destination, to, force)
    found = match(source, dialect, raw)
    if found.dialect is None:
        raise RosettaError(_undecided(found))
    network = resolve(
        found.network.name,
        num_classes=None if drop_head else found.network.num_classes,
        in_channels=found.network.in_channels,
        dialect=found.dialect,
    )
    faithful = layout.runs(network.name, found.dialect)
    _check_target(found, layout, network, faithful, force)
    weights = _as_dtype({name: found.weights[name] for name in network.tensors}, found, dtype)
    arrays, extra = _arranged(layout.forms[kind], network, weights)
    write(destination, kind, arrays, _file_metadata(layout, network, faithful))
    if verify:
        _verify_written(destination, network, weights, layout)
    return Ported(
        source=_inspection(found),
        destination=destination,
        layout=layout.name,
        format=kind,
        dialect=found.dialect.name,
        mapped=len(weights),
        dropped={
            **found.dropped,
            **{name: "the classifier" for name in found.weights if name not in weights},
        },
        written=tuple(extra),
        verified=verify,
        faithful=faithful,
        notes=layout.notes,
    )


def _target(destination: Path, to: str, force: bool) -> tuple[Layout, str]:
    if to not in LAYOUTS:
        raise RosettaError(f"unknown layout {to!r}; choose from {', '.join(LAYOUTS)}")
    layout = LAYOUTS[to]
    kind = CHECKPOINT if CHECKPOINT in layout.forms else format_of(destination)
    if not layout.writable:
        raise RosettaError(f"{destination}: {to} is read only; choose another layout")
    if kind not in layout.forms:
        raise RosettaError(
            f"{destination}: {to} is not written as {kind}; choose from {', '.join(layout.forms)}"
        )
    exists = destination.exists() or index_of(destination).exists()
    if exists and not force:
        raise RosettaError(f"{destination}: exists; choose another name or say --force")
    return layout, kind


def _undecided(found: Match) -> str:
    names = " or ".join(d.name for d in _possible(found.layouts, found.network.name))
    layouts = " and ".join(layout.name for layout in found.layouts)
    return (
        f"{found.checkpoint.path}: {layouts} have the same keys, so the file does not say its "
        f"dialect; add --dialect {names} (timm's tf_ models and all TensorFlow ones are "
        "tensorflow)"
    )


def _check_target(
    found: Match, layout: Layout, network: Network, faithful: bool, force: bool
) -> None:
    if network.name not in layout.presets:
        raise RosettaError(
            f"{found.checkpoint.path}: {layout.name} has no {network.name}; "
            f"choose a layout that does"
        )
    if not faithful and not force:
        runs = " or ".join(
            f"{d.padding} padding and epsilon {d.epsilon:g}" for d in layout.dialects[network.name]
        )
        ours = network.dialect
        raise RosettaError(
            f"{found.checkpoint.path}: these weights need {ours.padding} padding and epsilon "
            f"{ours.epsilon:g}, but {layout.library} runs {network.name} with {runs}, and would "
            "compute something else; say --force to write them all the same"
        )


def _as_dtype(weights: Weights, found: Match, dtype: str | None) -> Weights:
    narrow = [name for name in found.checkpoint.dtypes if name in NARROW]
    if narrow and dtype is None:
        raise RosettaError(
            f"{found.checkpoint.path}: is in {narrow[0]}; say --dtype float32 to widen it"
        )
    return {name: array.astype(dtype or array.dtype) for name, array in weights.items()}


def _arranged(
    form: Form, network: Network, weights: Weights
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a file in its own names and orientation, and which are not weights."""
    extra: dict[str, np.ndarray] = {}
    if form.added == "batch counters":
        extra = _batch_counters(form, network)
    elif form.added == "input normalization":
        extra = _normalization(form, network)
    arrays = {
        key.path: weights[name].transpose(key.axes) for name, key in form.keys(network).items()
    }
    return {**extra, **arrays}, list(extra)


def _batch_counters(form: Form, network: Network) -> dict[str, np.ndarray]:
    """What nn.BatchNorm2d counts; nothing computes with it, but a strict loader misses it."""
    names = form.names.layers(network)
    norms = [layer.role for layer in network.layers if layer.kind == "batch_norm"]
    return {f"{names[role]}.num_batches_tracked": np.array(0, np.int64) for role in norms}


def _normalization(form: Form, network: Network) -> dict[str, np.ndarray]:
    """The constants with which keras.applications, given 0 to 255, feeds these weights right.

    Its graph divides by 255 and then normalises; with weights loaded by path it does no more.
    """
    mean, variance = IMAGENET_MEAN, np.square(IMAGENET_STD)
    if network.in_channels != len(mean):  # of other channels nothing is known
        mean, variance = np.zeros(network.in_channels), np.ones(network.in_channels)
    values = {
        "mean": mean.astype(np.float32),
        "variance": variance.astype(np.float32),
        "count": np.array(0, np.int32),
    }
    if isinstance(form.names, Counters):
        return {
            form.path.format(layer="layers/normalization", tensor=number): value
            for number, value in enumerate(values.values())
        }
    return {
        form.path.format(layer="normalization", tensor=f"{name}:0"): value
        for name, value in values.items()
    }


def _file_metadata(layout: Layout, network: Network, faithful: bool) -> dict[str, str]:
    if layout.name == "canonical":
        return metadata(network)
    marks = {} if faithful else {UNFAITHFUL: f"weights of the {network.dialect.name} dialect"}
    return {"format": "pt", **marks}


def _verify_written(path: Path, network: Network, weights: Weights, layout: Layout) -> None:
    again = match(path, network.dialect.name)
    if fingerprint(again.weights) != fingerprint(weights):
        raise RosettaError(f"{path}: does not read back as {layout.name} with the same weights")


# ------------------------------------------------------------------ verify


def verify(first: str | Path, second: str | Path) -> tuple[Difference, ...]:
    """The tensors in which two files differ, the largest difference first; none if they agree.

    Raises:
        RosettaError: a file cannot be read or explained.
    """
    a, b = (match(path).weights for path in (first, second))
    differences = []
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b or a[name].shape != b[name].shape:
            differences.append(Difference(name, float("inf")))
        elif not np.array_equal(a[name], b[name]):
            gap = np.abs(a[name].astype(np.float64) - b[name]).max()
            differences.append(Difference(name, float(gap)))
    return tuple(sorted(differences, key=lambda difference: -difference.largest))
