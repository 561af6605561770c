"""Carrying weights from any layout to any other: inspect, port, verify.

Nothing here builds a model: porting renames and transposes arrays, one at a time.  What runs the
source and the result is `common.outputs`, in a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from common.counting import count
from common.errors import RosettaError
from common.formats import CHECKPOINT, Stored, format_of, index_of, write
from common.formats.files import Content
from common.layouts import LAYOUT_NAMES, LAYOUTS, Form, Layout, layout_of
from common.layouts.keras_graph import config
from common.layouts.schema import Counters
from common.outputs import NotRun, Outputs, Run, compare_runs
from common.preprocess import IMAGENET_MEAN, IMAGENET_STD, Normalization
from common.recognition import NORMALIZATION, Match, match
from common.spec import Dialect, Network
from common.weights import changed, fingerprint, initial, metadata

NARROW = ("float16", "bfloat16")
DTYPES = ("float32", "float16")  # that every format can hold
UNFAITHFUL = "unfaithful"  # key of the metadata
CLASSIFIER = ("classifier.weight", "classifier.bias")


@dataclass(frozen=True)
class Inspection:
    """What `inspect` says of a file."""

    path: Path
    format: str
    layouts: tuple[str, ...]
    preset: str
    scaling: dict[str, float]
    num_classes: int | None
    in_channels: int
    dtypes: tuple[str, ...]
    wrappers: tuple[str, ...]
    dialect: str | None
    dialect_from: str | None  # what says so
    possible_dialects: tuple[str, ...]
    expects: tuple[str, ...]  # of an image
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
    fingerprint: str
    verified: bool  # read back, with the same fingerprint
    outputs: Outputs | NotRun | None  # of source and result; None where they were not to be run
    faithful: bool
    expects: str  # what to give the result
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A tensor that two files do not share."""

    name: str
    largest: float  # absolute; infinite where one file lacks it or has another shape


@dataclass(frozen=True)
class Verification:
    """What two files have in common."""

    fingerprints: tuple[str, str]
    dialects: tuple[tuple[str, ...], tuple[str, ...]]  # that each may be run in
    differences: tuple[Difference, ...]  # the largest first
    outputs: Outputs | NotRun | None  # None where they are the same, or cannot be compared

    @property
    def same_weights(self) -> bool:
        """Every tensor is in both, with the same values."""
        return self.fingerprints[0] == self.fingerprints[1] and not self.differences

    @property
    def same_dialect(self) -> bool:
        """There is a dialect that both can be run in."""
        return bool(set(self.dialects[0]) & set(self.dialects[1]))

    @property
    def same(self) -> bool:
        """The two files hold the same network."""
        return self.same_weights and self.same_dialect


# ------------------------------------------------------------------ inspect


def inspect(path: str | Path, dialect: str | None = None, raw: bool = False) -> Inspection:
    """Say what a checkpoint file is.

    Raises:
        RosettaError: the file cannot be read, or no layout explains it whole.
    """
    return _inspection(match(path, dialect, raw))


def _inspection(found: Match) -> Inspection:
    network = found.network
    roles = {stored.key: name for name, stored in found.weights.items()}
    return Inspection(
        path=found.checkpoint.path,
        format=found.checkpoint.format,
        layouts=tuple(layout.name for layout in found.layouts),
        preset=network.name,
        scaling=network.scaling,
        num_classes=network.num_classes,
        in_channels=network.in_channels,
        dtypes=tuple(sorted({stored.dtype.name for stored in found.weights.values()})),
        wrappers=found.wrappers,
        dialect=None if found.dialect is None else found.dialect.name,
        dialect_from=found.dialect_from,
        possible_dialects=tuple(dialect.name for dialect in found.possible),
        expects=_expects(found),
        parameters=count(network).trainable,
        fingerprint=fingerprint(found.weights),
        keys={**roles, **found.dropped},
        mark=found.checkpoint.metadata.get(UNFAITHFUL),
    )


def _expects(found: Match) -> tuple[str, ...]:
    """What the weights were trained on, outside a graph that normalises by itself."""
    if found.normalization is not None:
        return (str(found.normalization),)
    return tuple(dict.fromkeys(layout.expects for layout in found.layouts))


# ------------------------------------------------------------------ port


def port(
    source: str | Path,
    destination: str | Path,
    to: str,
    *,
    dialect: str | None = None,
    dtype: str | None = None,
    drop_head: bool = False,
    classes: int | None = None,
    raw: bool = False,
    force: bool = False,
    verify: bool = True,
    run: bool = True,
) -> Ported:
    """Write the weights of a file in another layout, in the format of the destination's suffix.

    `classes` replaces the classifier by a new one of so many classes, with the official
    initialisation.  `verify` reads the result back; `run`, with it, also runs both files on a
    photograph where a framework is installed.

    Raises:
        RosettaError: either file, the layout or the combination is not possible; nothing was
            written.
    """
    destination = Path(destination)
    if dtype not in (None, *DTYPES):
        raise RosettaError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}")
    if drop_head and classes is not None:
        raise RosettaError("--drop-head and --classes exclude each other; leave one out")
    _check_target(destination, to, force)
    found = match(source, dialect, raw)
    if found.dialect is None:
        raise RosettaError(undecided(found))
    layout, kind = _target(destination, to, found)
    network = _target_network(found, drop_head, classes)
    faithful = layout.runs(network.name, found.dialect)
    if not faithful and not force:
        raise RosettaError(_unfaithful(found, layout, network, raw, run))
    weights = _target_weights(found, network, classes, dtype)
    content, extra = _arranged(layout, layout.forms[kind], network, weights, found)
    write(destination, kind, content)
    mark = fingerprint(weights)
    outputs = None
    if verify:
        _read_back(destination, found.dialect, mark, layout)
        outputs = _run_both(found, destination, layout, network, raw) if run else None
    return Ported(
        source=_inspection(found),
        destination=destination,
        layout=layout.name,
        format=kind,
        dialect=found.dialect.name,
        mapped=sum(name in found.weights and name not in _new(classes) for name in weights),
        dropped={**found.dropped, **_left_behind(found, weights, classes)},
        written=tuple(extra),
        fingerprint=mark,
        verified=verify,
        outputs=outputs,
        faithful=faithful,
        expects=_fed_with(layout, found),
        notes=layout.notes,
    )


def _check_target(destination: Path, to: str, force: bool) -> None:
    """Report what cannot be written before anything is read."""
    if to not in LAYOUT_NAMES:
        raise RosettaError(f"unknown layout {to!r}; choose from {', '.join(LAYOUT_NAMES)}")
    kinds = list(dict.fromkeys(k for layout in LAYOUTS if layout.name == to for k in layout.forms))
    if not kinds:
        raise RosettaError(f"{destination}: {to} is read only; choose another layout")
    _format(destination, to, kinds)
    exists = destination.exists() or index_of(destination).exists()
    if exists and not force:
        raise RosettaError(f"{destination}: exists; choose another name or say --force")


def _format(destination: Path, to: str, kinds: Collection[str]) -> str:
    """The format of a destination, if it is one of those that a layout is written in."""
    kind = CHECKPOINT if CHECKPOINT in kinds else format_of(destination)
    if kind not in kinds:
        raise RosettaError(
            f"{destination}: {to} is not written as {kind}; choose from {', '.join(kinds)}"
        )
    return kind


def _target(destination: Path, to: str, found: Match) -> tuple[Layout, str]:
    """The layout of a name that has the network, and the format of the destination in it."""
    preset = found.network.name
    layout = layout_of(to, preset)
    if layout is None:
        raise RosettaError(
            f"{found.checkpoint.path}: {to} has no {preset}; choose a layout that does"
        )
    return layout, _format(destination, to, layout.forms)


def undecided(found: Match) -> str:
    """What to say of a file that leaves its dialect open."""
    names = " or ".join(dialect.name for dialect in found.possible)
    layouts = " and ".join(layout.name for layout in found.layouts)
    what = "have the same keys" if len(found.layouts) > 1 else "runs several dialects"
    return (
        f"{found.checkpoint.path}: {layouts} {what}, so the file does not say its dialect; "
        f"add --dialect {names} (models whose names begin with tf_, and all that come from "
        "TensorFlow, are tensorflow)"
    )


def _target_network(found: Match, drop_head: bool, classes: int | None) -> Network:
    network = found.network
    if found.dialect != network.dialect:
        network = changed(network, dialect=asdict(found.dialect))
    if drop_head:
        return changed(network, num_classes=None)
    return network if classes is None else changed(network, num_classes=classes)


def _unfaithful(found: Match, layout: Layout, network: Network, raw: bool, run: bool) -> str:
    """Why a port is refused, and what it would cost on a photograph."""
    ours, theirs = network.dialect, layout.dialects[network.name]
    runs = " or ".join(f"{d.padding} padding and epsilon {d.epsilon:g}" for d in theirs)
    cost = "would compute something else"
    if run:
        mine = Run(found.checkpoint.path, layout.framework, ours, raw=raw)
        outputs = compare_runs(mine, replace(mine, dialect=theirs[0]))
        if isinstance(outputs, Outputs):
            cost = (
                f"its {outputs.endpoint} on a photograph are off by {outputs.error:.2g} times "
                "their spread"
            )
    return (
        f"{found.checkpoint.path}: these weights need {ours.padding} padding and epsilon "
        f"{ours.epsilon:g}, but {layout.library} runs {network.name} with {runs}: {cost}; "
        "say --force to write them all the same"
    )


def _new(classes: int | None) -> tuple[str, ...]:
    """The tensors that the source does not give, when a new classifier is asked for."""
    return () if classes is None else CLASSIFIER


def _left_behind(
    found: Match, weights: Mapping[str, Stored], classes: int | None
) -> dict[str, str]:
    return {
        stored.key: "the classifier"
        for name, stored in found.weights.items()
        if name not in weights or name in _new(classes)
    }


def _target_weights(
    found: Match, network: Network, classes: int | None, dtype: str | None
) -> dict[str, Stored]:
    path, given = found.checkpoint.path, dict(found.weights)
    narrow = [stored.dtype.name for stored in given.values() if stored.dtype.name in NARROW]
    if narrow and dtype is None:
        raise RosettaError(f"{path}: is in {narrow[0]}; say --dtype float32 to widen it")
    if classes is not None:
        fresh = initial(network)
        given |= {name: Stored.of(name, fresh[name]) for name in CLASSIFIER}
    weights = {name: given[name] for name in network.tensors}
    if dtype is not None:
        weights = {name: stored.astype(dtype) for name, stored in weights.items()}
    if dtype == "float16":
        _check_range(path, weights)
    return weights


def _check_range(path: Path, weights: Mapping[str, Stored]) -> None:
    """float16 ends at 65,504, which a running variance may pass."""
    for name, stored in weights.items():
        with np.errstate(over="ignore"):
            if not np.isfinite(stored.read()).all():
                raise RosettaError(f"{path}: {name} does not fit into float16; use float32")


def _arranged(
    layout: Layout, form: Form, network: Network, weights: Mapping[str, Stored], found: Match
) -> tuple[Content, list[str]]:
    """What to write, in the layout's names and orientation, and which of it is not weights."""
    extra: dict[str, np.ndarray] = {}
    if form.added == "batch counters":
        extra = _batch_counters(form, network)
    elif form.added == "input normalization":
        extra = _constants(form, network, found.normalization)
    keys = form.keys(network)
    tensors = {
        **{key: Stored.of(key, array) for key, array in extra.items()},
        **{key.path: weights[name].transposed(key.axes) for name, key in keys.items()},
    }
    faithful = layout.runs(network.name, network.dialect)
    graph = None
    if "keras" in layout.forms:  # its library's graph, whatever the weights were trained in
        graph = config(changed(network, dialect=asdict(layout.dialects[network.name][0])))
    content = Content(
        tensors=tensors,
        metadata=_file_metadata(layout, network, faithful, found.normalization),
        layer_names=_layer_names(form, network),
        config=graph,
    )
    return content, list(extra)


def _batch_counters(form: Form, network: Network) -> dict[str, np.ndarray]:
    """What nn.BatchNorm2d counts; nothing computes with it, but a strict loader misses it."""
    names = form.names.layers(network)
    norms = [layer.role for layer in network.layers if layer.kind == "batch_norm"]
    return {f"{names[role]}.num_batches_tracked": np.array(0, np.int64) for role in norms}


def _constants(
    form: Form, network: Network, normalization: Normalization | None
) -> dict[str, np.ndarray]:
    """The constants with which keras.applications, given 0 to 255, feeds these weights right.

    Its graph divides by 255 and then normalises; with weights loaded by path it does no more.
    """
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if normalization is not None:
        mean, std = np.array(normalization.mean), np.array(normalization.std)
    if network.in_channels != len(mean):  # of other channels nothing is known
        mean, std = np.zeros(network.in_channels), np.ones(network.in_channels)
    values = {
        "mean": mean.astype(np.float32),
        "variance": np.square(std).astype(np.float32),
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


def _layer_names(form: Form, network: Network) -> dict[str, str]:
    """What Keras 3 writes beside each group of variables: the layer's name."""
    if form.layer_names is None:
        return {}
    groups, names = form.names.layers(network), form.layer_names.layers(network)
    return {
        **{f"{groups[role]}/vars": names[role] for role in names},
        **({"layers/normalization/vars": "normalization"} if form.added else {}),
    }


def _file_metadata(
    layout: Layout, network: Network, faithful: bool, normalization: Normalization | None
) -> dict[str, str]:
    stated = {} if normalization is None else {NORMALIZATION: json.dumps(asdict(normalization))}
    if layout.name == "canonical":
        return {**metadata(network), **stated}
    marks = {} if faithful else {UNFAITHFUL: f"weights of the {network.dialect.name} dialect"}
    return {"format": "pt", **marks, **stated}  # transformers asks safetensors for "pt"


def _read_back(path: Path, dialect: Dialect, mark: str, layout: Layout) -> None:
    again = match(path, None if layout.name == "canonical" else dialect.name)
    if fingerprint(again.weights) != mark:
        raise RosettaError(f"{path}: does not read back as {layout.name} with the same weights")


def _run_both(
    found: Match, destination: Path, layout: Layout, network: Network, raw: bool
) -> Outputs | NotRun:
    """Source and result on a photograph, each as its own library would compute it."""
    theirs = layout.dialects.get(network.name, ())
    runs_ours = layout.runs(network.name, found.dialect)
    return compare_runs(
        Run(found.checkpoint.path, found.layouts[0].framework, found.dialect, raw=raw),
        Run(destination, layout.framework, found.dialect if runs_ours else theirs[0]),
    )


def _fed_with(layout: Layout, found: Match) -> str:
    """What to give the result: what the weights expect, or what its own graph turns into that."""
    if "keras" in layout.forms:
        return layout.expects
    return " or ".join(_expects(found)) if found.normalization else layout.expects


# ------------------------------------------------------------------ verify


def verify(
    first: str | Path, second: str | Path, *, dialect: str | None = None, run: bool = True
) -> Verification:
    """Whether two files hold the same network, and if not, where they part.

    `run` compares their outputs on a photograph as well, where they are not the same and a
    framework is installed.

    Raises:
        RosettaError: a file cannot be read or explained.
    """
    a, b = (told(path, dialect) for path in (first, second))
    found = Verification(
        fingerprints=(fingerprint(a.weights), fingerprint(b.weights)),
        dialects=(_names(a), _names(b)),
        differences=_differences(a.weights, b.weights),
        outputs=None,
    )
    if found.same or not run or a.network.name != b.network.name:
        return found
    # Where one file leaves its dialect open, it is run in the other's.
    dialects = [
        mine.dialect or other.dialect or mine.possible[0] for mine, other in ((a, b), (b, a))
    ]
    runs = [
        Run(f.checkpoint.path, f.layouts[0].framework, dialect)
        for f, dialect in zip((a, b), dialects, strict=True)
    ]
    return replace(found, outputs=compare_runs(*runs))


def told(path: str | Path, dialect: str | None) -> Match:
    """The file explained; a dialect is told to those only that leave it open."""
    found = match(path)
    return match(path, dialect) if dialect and found.dialect is None else found


def _names(found: Match) -> tuple[str, ...]:
    possible = found.possible if found.dialect is None else (found.dialect,)
    # Momentum, the rest of a dialect, is of no consequence to what is computed.
    return tuple(f"{d.padding} padding, epsilon {d.epsilon:g}" for d in possible)


def _differences(a: Mapping[str, Stored], b: Mapping[str, Stored]) -> tuple[Difference, ...]:
    differences = []
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b or a[name].shape != b[name].shape:
            differences.append(Difference(name, float("inf")))
            continue
        x, y = (np.asarray(weights[name], np.float64) for weights in (a, b))
        if not np.array_equal(x, y, equal_nan=True):
            gap = np.abs(x - y)
            differences.append(Difference(name, float(np.where(np.isnan(gap), np.inf, gap).max())))
    return tuple(sorted(differences, key=lambda difference: -difference.largest))
