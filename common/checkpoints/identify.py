"""Finding the layout and the network that explain every tensor of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..architectures import changed
from ..catalogue.records import Record
from ..errors import DialectUndecidedError, FileError, WeightsError
from ..images.normalization import Normalization
from ..network import Dialect, Network
from ..weights.canonical import check
from ..weights.metadata import ACTIVATION, FAMILY, FOLDED, FORMAT, network_from
from .choosing import Choice, choose
from .evidence import TOLD, constants, dialect_of, possible_dialects
from .formats import read
from .formats.checkpoint import Checkpoint
from .formats.lazy import LazyTensor
from .formats.wrappers import AVERAGED_MODEL_COUNTER, around
from .graphs.layout import layout_of_graph
from .graphs.recover import FOLDED_MARK, GRAPHS, recover
from .heads import REST, Head, judge, refused
from .layouts.canonical import CANONICAL
from .layouts.schema import Form, Layout
from .marks import remember
from .published import RECORD_SAYS, Source, sourced
from .recognition import Reading, readings, views
from .stated import stated_normalization
from .unexplained import unexplained

__all__ = ["Match", "match", "match_with", "undecided"]

GRAPH_SAYS = "what the graph computes"


@dataclass(frozen=True)
class Match:
    """A file explained: its layout, its network and its weights."""

    checkpoint: Checkpoint
    layouts: tuple[Layout, ...]  # more than one where the file does not tell them apart
    form: Form
    network: Network
    possible: tuple[Dialect, ...]  # what the layouts' libraries run
    dialect: Dialect | None  # None where the file leaves it open
    dialect_from: str | None
    normalization: Normalization | None  # None where nothing but the layout speaks of it
    weights: Mapping[str, LazyTensor]  # by canonical name
    stored: Mapping[str, str]  # keys of the file, by canonical name
    dropped: Mapping[str, str]  # keys that hold no weights, and why
    wrappers: tuple[str, ...]
    head: Head = field(default_factory=Head)
    averaged: bool | None = None  # None where the file says nothing of a moving average
    ends_early: bool = False  # the head convolution is not in the file
    prefix: str | None = None  # of its keys, where the file holds several networks
    record: Record | None = None  # of a published file that was asked for by name

    @property
    def activation(self) -> str | None:
        """What the classifier's outputs go through, where the file says so."""
        return self.head.activation

    @property
    def family(self) -> str | None:
        """The preprocessing that its record, or the file itself, names."""
        said = None if self.record is None else self.record.family
        return said or self.checkpoint.metadata.get(FAMILY)

    @property
    def findings(self) -> tuple[str, ...]:
        """What is known to be wrong with a published file, or with what is said of it."""
        return () if self.record is None else self.record.findings

    @property
    def ending(self) -> str | None:
        """Where the network ends, if that is not behind its head convolution."""
        if not self.ends_early:
            return None
        stages = len({block.stage for block in self.network.blocks})
        return f"ends after stage {stages}, without head convolution and classifier"

    def refuse_head(self, argument: str | None = None) -> None:
        """Refuse a file whose outputs are not those of the network that was found.

        Raises:
            FileError: beside the network are layers with weights that are not its classifier.
        """
        if self.head.rest:
            raise refused(self.checkpoint, self.head, argument)

    def refuse_ending(self, what: str) -> None:
        """Refuse a network that cannot be run, as its last layers are missing.

        Raises:
            FileError: the network ends before its head convolution.
        """
        if self.ending:
            raise FileError(
                self.checkpoint.path, f"holds {self.network.name}, which {self.ending}; {what}"
            )


def match(
    path: str | Path | Source,
    dialect: str | None = None,
    raw: bool = False,
    network: str | None = None,
) -> Match:
    """Read a file and find the layout and the network that explain every key in it.

    `path` may be the name of a published file, whose record then decides its dialect and images.
    A network may be inside another model, and beside others; `network` is then the prefix of the
    one that is meant.  What is around it is judged: it is the classifier, it has no weights, or it
    is kept as the match's `head`.  `dialect` is for a file that leaves its dialect open, or whose
    weights were not made for its library.

    Raises:
        RosettaError: the file cannot be fetched or read, no layout explains its network, it is not
            what its record says, or it holds several networks and does not say which is meant.
    """
    source = sourced(path)
    told = source.told(dialect)
    found = _matched(source, told, raw, network)
    source.hold(
        found.network.name,
        found.network.num_classes,
        [layout.name for layout in found.layouts],
        [one.name for one in found.possible],
    )
    if source.record is None:
        return found
    if not raw:
        remember(source.record.reference, found.weights)
    by_record = source.dialect is not None and found.dialect_from == TOLD
    named = tuple(layout for layout in found.layouts if layout.name == source.record.layout)
    return replace(
        found,
        record=source.record,
        layouts=named or found.layouts,
        dialect_from=RECORD_SAYS if by_record else found.dialect_from,
    )


def _matched(source: Source, dialect: str | None, raw: bool, network: str | None) -> Match:
    checkpoint = read(source.path, raw)
    if checkpoint.format in GRAPHS:
        return _of_graph(checkpoint, dialect)
    if checkpoint.metadata.get("format") == FORMAT:
        return _canonical(checkpoint, dialect)
    for kind, tensors in views(checkpoint):
        if found := readings(kind, tensors):
            choice = choose(checkpoint, found, raw, network)
            return _explained(checkpoint, choice, dialect, source.normalization)
    raise unexplained(checkpoint)


def match_with(path: str | Path | Source, dialect: str | None, network: str | None = None) -> Match:
    """The file explained; the dialect is for a file only that leaves it open."""
    source = sourced(path)
    found = match(source, network=network)
    if dialect and found.dialect is None:
        return match(source, dialect, network=network)
    return found


def undecided(found: Match) -> DialectUndecidedError:
    """What to say of a file that leaves its dialect open."""
    possible = [dialect.name for dialect in found.possible]
    if found.checkpoint.format in GRAPHS:
        return DialectUndecidedError(
            found.checkpoint.path,
            "was exported for a size at which all dialects pad alike, so the graph does not say "
            f"which one its weights need; choose {' or '.join(possible)}",
            possible=possible,
        )
    layouts = " and ".join(layout.name for layout in found.layouts)
    what = "have the same keys" if len(found.layouts) > 1 else "runs several dialects"
    of_tensorflow = " or ".join(d.name for d in found.possible if d.padding == "same")
    return DialectUndecidedError(
        found.checkpoint.path,
        f"{layouts} {what}, so the file does not say which dialect its weights need; choose "
        f"{' or '.join(possible)} (models whose names begin with tf_, and all that come from "
        f"TensorFlow, are {of_tensorflow})",
        possible=possible,
    )


# ------------------------------------------------------------------ the explanation


def _explained(
    checkpoint: Checkpoint, choice: Choice, told: str | None, recorded: Normalization | None
) -> Match:
    first = choice.readings[0]
    head = judge(checkpoint, first, choice.elsewhere)
    network = first.network
    if head.weights:
        network = changed(network, num_classes=head.classes)
    possible = possible_dialects(choice.readings)
    dialect, dialect_from = dialect_of(checkpoint.path, possible, told)
    origin = {key: stored.key for key, stored in first.tensors.items()}
    dropped = {**head.aside, **dict.fromkeys(head.rest, REST), **choice.elsewhere}
    layouts = tuple({f.layout.name: f.layout for f in choice.readings}.values())
    return Match(
        checkpoint=checkpoint,
        layouts=layouts,
        form=first.form,
        network=network,
        possible=possible,
        dialect=dialect,
        dialect_from=dialect_from,
        normalization=(
            constants(checkpoint.path, first)
            or stated_normalization(checkpoint, network.in_channels)
            or recorded
            or _normalization_of(layouts, network, dialect)
        ),
        weights={**first.weights, **head.weights},
        stored={name: origin[key] for name, key in {**first.stored, **head.stored}.items()},
        dropped={**{origin[key]: why for key, why in dropped.items()}, **checkpoint.beside},
        wrappers=(*checkpoint.wrappers, *_around(checkpoint, first)),
        head=head,
        averaged=choice.averaged,
        ends_early=first.ends_early,
        prefix=first.prefix if choice.elsewhere else None,
    )


def _normalization_of(
    layouts: tuple[Layout, ...], network: Network, dialect: Dialect | None
) -> Normalization | None:
    """What all layouts that the weights are right in say of the image, if they say the same."""
    right = [one for one in layouts if dialect is None or one.runs(network.name, dialect)]
    said = {layout.normalization for layout in right or layouts}
    return said.pop() if len(said) == 1 else None


def _around(checkpoint: Checkpoint, reading: Reading) -> tuple[str, ...]:
    """What a network was wrapped in, from the outside to the inside."""
    found = around(reading.prefix, checkpoint.tables, reading.own_prefix)
    above = reading.prefix.rpartition("module.")[0]
    counted = f"{above}{AVERAGED_MODEL_COUNTER}" in checkpoint.tensors
    return ("AveragedModel", *found) if counted else found


def _canonical(checkpoint: Checkpoint, told: str | None) -> Match:
    """One of our own files: its metadata says what it must hold."""
    network = network_from(checkpoint.path, checkpoint.metadata)
    if told not in (None, network.dialect.name):
        raise FileError(
            checkpoint.path,
            f"says that its dialect is {network.dialect.name}; give no other",
            argument="dialect",
        )
    (form,) = CANONICAL.forms_of(checkpoint.format)
    dropped = {key: form.ignored_why for key in checkpoint.tensors if form.is_ignored(key)}
    weights = {key: s for key, s in checkpoint.tensors.items() if key not in dropped}
    try:
        check(network.tensors, weights)
    except WeightsError as error:
        raise FileError(checkpoint.path, f"{error}") from error
    return Match(
        checkpoint=checkpoint,
        layouts=(CANONICAL,),
        form=form,
        network=network,
        possible=(network.dialect,),
        dialect=network.dialect,
        dialect_from="the file",
        normalization=stated_normalization(checkpoint, network.in_channels),
        weights={name: weights[name] for name in network.tensors},
        stored={name: name for name in network.tensors},
        dropped={**dropped, **checkpoint.beside},
        wrappers=checkpoint.wrappers,
        head=Head(activation=checkpoint.metadata.get(ACTIVATION)),
    )


def _of_graph(checkpoint: Checkpoint, told: str | None) -> Match:
    """A network in a graph; one of ours is canonical, if it computes what its metadata says."""
    ours = checkpoint.metadata.get("format") == FORMAT
    stated = network_from(checkpoint.path, checkpoint.metadata) if ours else None
    found = recover(checkpoint.path, checkpoint.format, told, stated)
    if ours and all(stored.key == name for name, stored in found.weights.items()):
        return _canonical(checkpoint, told)
    layout = layout_of_graph(found)
    mark = {FOLDED: FOLDED_MARK} if found.folded else {}
    return Match(
        checkpoint=replace(checkpoint, metadata={**checkpoint.metadata, **mark}),
        layouts=(layout,),
        form=CANONICAL.forms_of("onnx")[0],
        network=found.network,
        possible=found.dialects,
        dialect=found.dialect,
        dialect_from=None if found.dialect is None else GRAPH_SAYS if told is None else TOLD,
        normalization=(
            found.normalization or stated_normalization(checkpoint, found.network.in_channels)
        ),
        weights=found.weights,
        stored={name: stored.key for name, stored in found.weights.items()},
        dropped=dict.fromkeys(found.left, "constants of the graph"),
        wrappers=checkpoint.wrappers,
        head=Head(activation=found.steps.ending),
    )
