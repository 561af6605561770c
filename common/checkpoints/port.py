"""Carrying weights from any layout to any other.

Nothing here builds a model: porting renames and transposes arrays, one at a time.  What runs the
source and the result is `run_files.py`, in a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from .._util.files import is_there
from .._util.result import Result
from ..architectures import changed
from ..backends.judgement import DIFFERS, Verdict
from ..catalogue.reference import parsed
from ..errors import ExistsError, FileError, UnfaithfulError, UsageError
from ..network import Dialect, Network
from ..weights.canonical import fingerprint, unusable
from ..weights.initial import initial
from ..weights.metadata import ACTIVATION, FAMILY, FOLDED, NORMALIZATION, UNFAITHFUL, metadata
from .formats import CHECKPOINT, LazyTensor, format_of, index_of, write
from .formats.checkpoint import Content
from .formats.detect import KERAS_ARCHIVE
from .graphs.recover import GRAPHS
from .identify import Match, match, undecided
from .inspect import Inspection, expectations, inspection
from .layouts import LAYOUT_NAMES, LAYOUTS, Form, Layout, layout_of
from .layouts.keras_graph import model_of
from .load import in_words
from .marks import CLASSIFIER
from .named import carried_names
from .published import sourced
from .run_files import NOT_ASKED, FileRun, NotRun, Outputs, compare_runs, verdict_on

NARROW = ("float16", "bfloat16")
DTYPES = ("float32", "float16")  # that every format can hold


@dataclass(frozen=True)
class Ported(Result):
    """What `port` did."""

    source: Inspection
    destination: Path
    layout: str
    format: str
    dialect: str
    mapped: int
    dropped: dict[str, str] = field(repr=False)
    written: tuple[str, ...] = field(repr=False)  # keys that are not weights of the network
    fingerprint: str
    verified: bool  # read back, with the same fingerprint
    outputs: Outputs | NotRun  # of source and result
    verdict: Verdict
    faithful: bool
    expects: str  # what to give the result
    notes: tuple[str, ...]


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
    network: str | None = None,
    force: bool = False,
    verify: bool = True,
    run: bool = True,
    progress: Callable[[str], None] = lambda step: None,
) -> Ported:
    """Write the weights of a file in another layout, in the format of the destination's suffix.

    `source` may be the name of a published file, as `load` takes it.

    `drop_head` leaves out the classifier, or whatever else follows the network in its place.
    `classes` replaces it by a new classifier of so many classes, with the official initialisation.
    Of several networks in a file, `network` is the prefix of the one that is meant, and `raw`
    prefers the raw weights to their moving average.

    The result is always read back.  With `verify` and `run` both files are also run on the same
    images, where a framework is installed, and judged by what rounding explains.  `progress` is
    told what is done next.

    Raises:
        RosettaError: either file, the layout or the combination is not possible; nothing was
            written.
    """
    destination = Path(destination)
    if dtype not in (None, *DTYPES):
        raise UsageError(f"unknown dtype {dtype!r}; choose from {', '.join(DTYPES)}")
    if drop_head and classes is not None:
        raise UsageError(
            "the classifier cannot be dropped and replaced at once; leave out drop_head or classes"
        )
    known = None if parsed(source) else sourced(source)  # nothing is fetched for a bad target
    _check_target(None if known is None else known.path, destination, to, force)
    found = match(known or sourced(source), dialect, raw, network)
    for file in (found.checkpoint.path, *found.checkpoint.parts):  # of a folder, what is meant
        _refuse_source(file, destination)
    if not drop_head and classes is None:
        found.refuse_head("drop_head")
    if found.dialect is None:
        raise undecided(found)
    layout, format = _target(destination, to, found)
    if dialect is None:
        found = _suited(found, layout, raw)
    target = _target_network(found, layout, drop_head, classes)
    assert found.dialect is not None
    faithful = layout.runs(target.name, found.dialect)
    original = FileRun(found.checkpoint.path, layout.framework, target.dialect, raw, found.prefix)
    if not faithful and not force:
        raise _unfaithful(found, layout, target, original if run else None)
    weights = _target_weights(found, target, classes, dtype)
    if not force:
        _check_values(found.checkpoint.path, weights)
    named = carried_names(found, target, new_head=classes is not None)
    content, extra = _arranged(layout, format, target, weights, found, named)
    mark = fingerprint(weights)
    progress(f"writing {destination}")
    # Read back while it is still aside: what does not read back takes no file's place.
    check = partial(
        _check_read_back, dialect=found.dialect, weights=weights, mark=mark, layout=layout
    )
    lost = ""
    try:
        write(destination, format, content, check)
    except _LostError as error:
        lost = f"{error}; {destination} was not written"
    outputs: Outputs | NotRun = NOT_ASKED
    if run and verify and not lost:
        progress("comparing the outputs of both files")
        outputs = _run_both(found, destination, layout, original, dtype)
    return Ported(
        source=inspection(found),
        destination=destination,
        layout=layout.name,
        format=format,
        dialect=found.dialect.name,
        mapped=sum(name in found.weights and name not in _new(classes) for name in weights),
        dropped={**found.dropped, **_left_behind(found, weights, classes)},
        written=tuple(extra),
        fingerprint=mark,
        verified=not lost,
        outputs=outputs,
        verdict=_verdict(outputs, mark, lost, None if faithful else layout),
        faithful=faithful,
        expects=_fed_with(layout, found),
        notes=(
            *layout.notes,
            *found.head.notes,
            *_activation_note(layout, target, found),
            *_folded(found).values(),
            *found.findings,
        ),
    )


def _check_target(source: Path | None, destination: Path, to: str, force: bool) -> None:
    """Report what cannot be written before anything is read."""
    if to not in LAYOUT_NAMES:
        raise UsageError(f"unknown layout {to!r}; choose from {', '.join(LAYOUT_NAMES)}")
    kinds = list(dict.fromkeys(k for layout in LAYOUTS if layout.name == to for k in layout.forms))
    if not kinds:
        raise FileError(destination, f"{to} is read only; choose another layout")
    _format(destination, to, kinds)
    if source is not None:
        _refuse_source(source, destination)
    if not force and any(map(is_there, _files(destination))):
        raise ExistsError(
            destination, "exists; choose another name, or overwrite it", argument="force"
        )


def _refuse_source(source: Path, destination: Path) -> None:
    if any(_same_file(one, other) for one in _files(destination) for other in _files(source)):
        raise FileError(destination, "is the source itself; name another file")


def _files(path: Path) -> tuple[Path, Path]:
    """What a path may mean: a file, or the prefix of a checkpoint's files, of which this is one."""
    return path, index_of(path)


def _same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, be it through a link."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _format(destination: Path, to: str, kinds: Collection[str]) -> str:
    """The format of a destination, if it is one of those that a layout is written in."""
    kind = CHECKPOINT if CHECKPOINT in kinds else format_of(destination)
    if kind not in kinds:
        raise FileError(
            destination, f"{to} is not written as {kind}; choose from {', '.join(kinds)}"
        )
    return kind


def _target(destination: Path, to: str, found: Match) -> tuple[Layout, str]:
    """The layout of a name that has the network, and the format of the destination in it."""
    preset = found.network.name
    layout = layout_of(to, preset, found.dialect)
    if layout is None:
        raise FileError(found.checkpoint.path, _lacking(to, found.network))
    kind = _format(destination, to, layout.forms)
    if not layout.forms[kind].may_end_early:
        known = (other for other in LAYOUTS for form in other.forms.values() if form.may_end_early)
        names = ", ".join(dict.fromkeys(other.name for other in known if other.holds(preset)))
        found.refuse_ending(f"{to} has whole networks only; choose from {names}")
    return layout, kind


def _lacking(to: str, network: Network) -> str:
    """Why a layout does not hold a network: its library has not that preset, or presets only."""
    if network.name != "custom":
        return f"{to} has no {network.name}; choose a layout that does"
    names = ", ".join(dict.fromkeys(layout.name for layout in LAYOUTS if layout.holds("custom")))
    return f"{to} has presets only, and this is {in_words(network)}; choose from {names}"


def _suited(found: Match, layout: Layout, raw: bool) -> Match:
    """Weights without an epsilon of their own, as folded ones are, in the target's dialect.

    They are the same function in each of the dialects that a graph can have.
    """
    fitting = [d.name for d in found.possible if layout.runs(found.network.name, d)]
    if found.dialect is None or found.dialect.name in fitting or not fitting:
        return found
    if not _folded(found):
        return found
    return replace(match(found.checkpoint.path, fitting[0], raw), record=found.record)


def _target_network(found: Match, layout: Layout, drop_head: bool, classes: int | None) -> Network:
    network = found.network
    if found.dialect is not None and found.dialect != network.dialect:
        network = changed(network, dialect=asdict(found.dialect))
    if drop_head:
        return changed(network, num_classes=None)
    if layout.headless and (classes is not None or network.num_classes is not None):
        raise FileError(
            found.checkpoint.path,
            f"{layout.name} keeps networks without a classifier; leave the classifier out",
            argument="drop_head",
        )
    if classes is not None:
        found.refuse_ending("a classifier has nothing to stand on there; leave out classes")
    return network if classes is None else changed(network, num_classes=classes)


def _unfaithful(
    found: Match, layout: Layout, network: Network, mine: FileRun | None
) -> UnfaithfulError:
    """Why a port is refused, and what it would cost on test images, if it is to be run there."""
    ours, theirs = network.dialect, layout.dialects[network.name]
    runs = " or ".join(f"{d.padding} padding and epsilon {d.epsilon:g}" for d in theirs)
    cost, said = None, "the outputs would be others"
    if mine is not None and not found.ends_early:
        outputs = compare_runs(mine, replace(mine, dialect=theirs[0]))
        if isinstance(outputs, Outputs):
            cost = outputs.error
            said = (
                f"on test images its {outputs.endpoint} would change by up to {cost:.2g} times "
                "their size"
            )
    return UnfaithfulError(
        found.checkpoint.path,
        f"these weights need {ours.padding} padding and epsilon {ours.epsilon:g}, but "
        f"{layout.library} runs {network.name} with {runs}: {said}; force it to write them anyway",
        cost=cost,
    )


def _new(classes: int | None) -> tuple[str, ...]:
    """The tensors that the source does not give, when a new classifier is asked for."""
    return () if classes is None else CLASSIFIER


def _left_behind(
    found: Match, weights: Mapping[str, LazyTensor], classes: int | None
) -> dict[str, str]:
    return {
        key: "the classifier"
        for name, key in found.stored.items()
        if name not in weights or name in _new(classes)
    }


def _activation_note(layout: Layout, network: Network, found: Match) -> tuple[str, ...]:
    """What to do about a classifier whose outputs are not what the library makes of them."""
    activation = found.activation
    if network.num_classes is None or activation is None:
        return ()
    if not layout.has_graph:
        sigmoid = activation == "sigmoid"
        return ("the outputs of the source go through a sigmoid",) if sigmoid else ()
    if activation == "softmax":
        return ()
    argument = None if activation == "linear" else activation
    return (f"build the model with classifier_activation={argument!r}, as the source has it",)


def _target_weights(
    found: Match, network: Network, classes: int | None, dtype: str | None
) -> dict[str, LazyTensor]:
    path, given = found.checkpoint.path, dict(found.weights)
    narrow = [stored.dtype.name for stored in given.values() if stored.dtype.name in NARROW]
    if narrow and dtype is None:
        raise FileError(
            path, f"is in {narrow[0]}; choose dtype float32 to widen it", argument="dtype"
        )
    if classes is not None:
        fresh = initial(network)
        given |= {name: LazyTensor.of(name, fresh[name]) for name in CLASSIFIER}
    weights = {name: given[name] for name in network.tensors if name in given}
    if dtype is not None:
        weights = {name: stored.astype(dtype) for name, stored in weights.items()}
    if dtype == "float16":
        _check_range(path, weights)
    return weights


def _check_values(path: Path, weights: Mapping[str, LazyTensor]) -> None:
    """NaN and infinity are no weights, and what holds them is damaged or did not converge."""
    found = unusable(weights)
    if found:
        name, why = next(iter(found.items()))
        more = f", and {len(found) - 1} other tensors are no better" if len(found) > 1 else ""
        raise FileError(
            path, f"{name} {why}{more}; force it to write them as they are", argument="force"
        )


def _check_range(path: Path, weights: Mapping[str, LazyTensor]) -> None:
    """float16 ends at 65,504, which a running variance may pass."""
    for name, stored in weights.items():
        with np.errstate(over="ignore"):
            if not np.isfinite(stored.read()).all():
                raise FileError(path, f"{name} does not fit into float16; use float32")


def _arranged(
    layout: Layout,
    format: str,
    network: Network,
    weights: Mapping[str, LazyTensor],
    found: Match,
    named: Mapping[str, str],
) -> tuple[Content, list[str]]:
    """What to write, in the layout's names and orientation, and which of it is not weights."""
    form = layout.forms[format]
    keys = {name: key for name, key in form.keys(network).items() if name in weights}
    extra = form.extra(form, network, found.normalization) if form.extra else {}
    if found.ends_early:  # of the layers that are there
        layers = tuple(key.path.rpartition(".")[0] + "." for key in keys.values())
        extra = {key: array for key, array in extra.items() if key.startswith(layers)}
    tensors = {
        **{key: LazyTensor.of(key, array) for key, array in extra.items()},
        **{key.path: weights[name].transposed(key.axes) for name, key in keys.items()},
    }
    faithful = layout.runs(network.name, network.dialect)
    content = Content(
        tensors=tensors,
        metadata={**_file_metadata(layout, network, faithful, found), **_folded(found), **named},
        layer_names=_layer_names(form, network),
        config=model_of(layout, network, found.activation) if format == KERAS_ARCHIVE else None,
    )
    return content, list(extra)


def _layer_names(form: Form, network: Network) -> dict[str, str]:
    """What Keras 3 writes beside each group of variables: the layer's name."""
    if form.layer_names is None:
        return {}
    groups, names = form.names.layers(network), form.layer_names.layers(network)
    return {
        **{f"{groups[role]}/vars": names[role] for role in names},
        **form.extra_layers,
    }


def _file_metadata(
    layout: Layout, network: Network, faithful: bool, found: Match
) -> dict[str, str]:
    stated = {}
    if found.normalization is not None:
        stated[NORMALIZATION] = json.dumps(asdict(found.normalization))
    if network.num_classes is not None and found.activation is not None:
        stated[ACTIVATION] = found.activation
    if layout.name == "canonical":
        family = {} if found.family is None else {FAMILY: found.family}
        return {**metadata(network), **stated, **family}
    marks = {} if faithful else {UNFAITHFUL: f"weights of the {network.dialect.name} dialect"}
    return {"format": "pt", **marks, **stated}  # transformers asks safetensors for "pt"


def _folded(found: Match) -> dict[str, str]:
    """The mark of weights whose batch norms were folded, which goes with them into any file."""
    said = found.checkpoint.metadata.get(FOLDED)
    return {} if said is None else {FOLDED: said}


class _LostError(Exception):
    """What was written does not give back what it was given."""


def _check_read_back(
    path: Path, dialect: Dialect, weights: Mapping[str, LazyTensor], mark: str, layout: Layout
) -> None:
    try:
        again = match(path, None if layout.name == "canonical" else dialect.name)
    except FileError as error:
        raise _LostError(f"what was written cannot be read back: {error}") from error
    if fingerprint(again.weights) == mark:
        return
    for name, stored in weights.items():
        found = again.weights.get(name)
        if found is None or not np.array_equal(
            np.asarray(stored, np.float32), np.asarray(found, np.float32), equal_nan=True
        ):
            raise _LostError(f"{name} does not read back as it was written")
    raise _LostError("what was written reads back as another network")


def _run_both(
    found: Match, destination: Path, layout: Layout, original: FileRun, dtype: str | None
) -> Outputs | NotRun:
    """Source and result on the same images, each as its own library would compute it."""
    if found.ending:
        return NotRun(f"the network {found.ending}")
    # The result holds the weights of the source, which was seen when it was read back.
    ours, theirs = original.dialect, layout.dialects.get(found.network.name, ())
    runs_ours = layout.runs(found.network.name, ours)
    return compare_runs(
        FileRun(destination, found.layouts[0].framework, ours),
        FileRun(destination, layout.framework, ours if runs_ours else theirs[0]),
        None if dtype is None else original,
        graph=found.checkpoint.path if found.checkpoint.format in GRAPHS else None,
    )


def _verdict(outputs: Outputs | NotRun, mark: str, lost: str, unfaithful: Layout | None) -> Verdict:
    if lost:
        return Verdict(DIFFERS, lost)
    found = verdict_on(outputs, mark)
    if unfaithful is not None and found.ending != DIFFERS:
        # Also where nothing was run, or what was run does not show it.
        return Verdict(DIFFERS, f"{unfaithful.library} uses other rules than these weights need")
    return found


def _fed_with(layout: Layout, found: Match) -> str:
    """What to give the result: what the weights expect, or what its own graph turns into that."""
    if layout.has_graph:
        return layout.expects
    return " or ".join(expectations(found)) if found.normalization else layout.expects
