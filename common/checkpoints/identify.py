"""Finding the layout and the network that explain every tensor of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from ..architectures import PRESETS, resolve
from ..errors import (
    DialectUndecidedError,
    FileError,
    UnknownLayoutError,
    UsageError,
    WeightsError,
)
from ..images.normalization import IMAGENET_MEAN, IMAGENET_STD, Normalization
from ..network import DIALECTS, IMAGENET_CLASSES, Dialect, Network
from ..weights.canonical import check, fingerprint
from ..weights.metadata import FOLDED, FORMAT, network_from
from .formats import Checkpoint, LazyTensor, read
from .formats.detect import KERAS_ARCHIVE
from .formats.wrappers import AVERAGED_PREFIX
from .graphs.layout import layout_of_graph
from .graphs.recover import FOLDED_MARK, GRAPHS, recover
from .layouts import LAYOUTS, Form, Layout
from .layouts.canonical import CANONICAL
from .layouts.schema import BY_NAME
from .stated import CONFIG_FILE, neighbour, stated_normalization

TOLD = "the dialect that was given"
GRAPH_SAYS = "what the graph computes"
LISTED = 4  # keys shown of each kind of mismatch
# timm's and efficientnet-jax's own names say the dialect; `efficientnet_b0` alone could be
# anybody's, so it takes one of timm's training tags as well.
FILE_NAMES = {
    r"(^|[^a-z])tf_efficientnet_(b\d|l2)": "tensorflow",
    r"(^|[^a-z])pt_efficientnet_(b\d|l2)": "pytorch",
    r"^efficientnet_b\d[._](ra\d?|ft|sw)([._-]|$)": "pytorch",
}


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
    dropped: Mapping[str, str]  # keys that hold no weights, and why
    wrappers: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """A network below a prefix of the keys, in one form."""

    layout: Layout
    form: Form
    network: Network
    tensors: Mapping[str, LazyTensor]  # below the prefix, which their names lack
    prefix: str

    @property
    def weights(self) -> dict[str, LazyTensor]:
        return {
            name: self.tensors[key.path].transposed(np.argsort(key.axes).tolist())
            for name, key in self.form.keys(self.network).items()
        }


def match(path: str | Path, dialect: str | None = None, raw: bool = False) -> Match:
    """Read a file and find the layout and the network that explain every key in it.

    A network may be inside another model; what is around it is dropped.  `dialect` is for a file
    that leaves its dialect open, or whose weights were not made for its library.

    Raises:
        RosettaError: the file cannot be read, or no layout explains it whole.
    """
    checkpoint = read(path, raw)
    if checkpoint.format in GRAPHS:
        return _of_graph(checkpoint, dialect)
    if checkpoint.metadata.get("format") == FORMAT:
        return _canonical(checkpoint, dialect)
    for kind, tensors in _views(checkpoint):
        if found := _find(kind, tensors):
            return _explained(checkpoint, tensors, _one(path, found, raw), dialect)
    raise _unexplained(checkpoint)


def match_with(path: str | Path, dialect: str | None) -> Match:
    """The file explained; the dialect is for a file only that leaves it open."""
    found = match(path)
    return match(path, dialect) if dialect and found.dialect is None else found


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
    return DialectUndecidedError(
        found.checkpoint.path,
        f"{layouts} {what}, so the file does not say which dialect its weights need; choose "
        f"{' or '.join(possible)} (models whose names begin with tf_, and all that come from "
        "TensorFlow, are tensorflow)",
        possible=possible,
    )


def _views(checkpoint: Checkpoint) -> Iterator[tuple[str, Mapping[str, LazyTensor]]]:
    """The tensors under the names by which a layout may know them, the surest names first."""
    renamed = {
        _with_layer_name(key, checkpoint.layer_names): stored
        for key, stored in checkpoint.tensors.items()
    }
    if checkpoint.layer_names and len(renamed) == len(checkpoint.tensors):
        yield BY_NAME, renamed
    kind = "weights.h5" if checkpoint.format == KERAS_ARCHIVE else checkpoint.format
    yield kind, checkpoint.tensors


def _with_layer_name(key: str, layer_names: Mapping[str, str]) -> str:
    """`layers/conv2d_17/vars/0` -> `layers/block1a_se_reduce/vars/0`."""
    group, _, variable = key.rpartition("/")
    above, _, _ = group.removesuffix("/vars").rpartition("/")
    return f"{above}/{layer_names[group]}/vars/{variable}" if group in layer_names else key


# ------------------------------------------------------------------ layout and network


def _forms(kind: str) -> Iterator[tuple[Layout, Form]]:
    """The forms that files without our metadata are tried against."""
    for layout in LAYOUTS:
        for form in layout.forms_of(kind) if layout is not CANONICAL else ():
            yield layout, form


@cache
def _preset(name: str, headless: bool) -> Network:
    return resolve(name, num_classes=None if headless else IMAGENET_CLASSES)


def _networks(layout: Layout) -> Iterator[Network]:
    for preset in layout.presets:
        for headless in (False, True):
            yield _preset(preset, headless)


def _find(kind: str, tensors: Mapping[str, LazyTensor]) -> list[_Found]:
    """Every form that explains all keys, or failing that, all keys below some prefix."""
    found = [
        fitting
        for layout, form in _forms(kind)
        for network in _networks(layout)
        for prefix in _prefixes(form, network, tensors)
        if (fitting := _fits(layout, form, network, tensors, prefix))
    ]
    return [fitting for fitting in found if not fitting.prefix] or found


def _prefixes(form: Form, network: Network, tensors: Mapping[str, LazyTensor]) -> list[str]:
    """What stands before the key of the stem's kernel, wherever there is one."""
    stem = form.stem(network)
    prefixes = [key.removesuffix(stem) for key in tensors if key.endswith(stem)]
    return [prefix for prefix in prefixes if not prefix or prefix[-1] in "./"]


def _fits(
    layout: Layout, form: Form, network: Network, tensors: Mapping[str, LazyTensor], prefix: str
) -> _Found | None:
    """The network with the file's classes and channels, if its keys and shapes are the file's."""
    if form.is_beside_another(tensors):
        return None
    below = _below(form, tensors, prefix)
    keys = form.keys(network)
    paths = {key.path for key in keys.values()}
    others = below.keys() - paths
    if paths - below.keys() or not all(form.is_ignored(key) for key in others):
        return None
    if form.marker and not any(re.search(form.marker, key) for key in others):
        return None
    fitted = _fitted(network, {name: below[key.path] for name, key in keys.items()}, form)
    return None if fitted is None else _Found(layout, form, fitted, below, prefix)


def _below(form: Form, tensors: Mapping[str, LazyTensor], prefix: str) -> dict[str, LazyTensor]:
    """What is below a prefix, under keys that lack it and are numbered as the form has them."""
    inside = [key for key in tensors if key.startswith(prefix)]
    # Layers of the same class may stand beside the network, and have numbers of their own.
    names = form.renumbered(key.removeprefix(prefix) for key in inside)
    return {names[key.removeprefix(prefix)]: tensors[key] for key in inside}


def _fitted(network: Network, found: Mapping[str, LazyTensor], form: Form) -> Network | None:
    """The network with the file's classes and input channels, if all other shapes agree."""
    keys = form.keys(network)
    shapes = {
        name: tuple(np.array(stored.shape)[np.argsort(keys[name].axes)])
        for name, stored in found.items()
        if len(stored.shape) == len(keys[name].axes) and stored.is_float
    }
    if len(shapes) != len(keys):
        return None
    classes = None if network.classifier is None else int(shapes["classifier.weight"][0])
    channels = int(shapes[next(iter(network.tensors))][1])
    if 0 in (classes, channels):
        return None
    fitted = resolve(network.name, num_classes=classes, in_channels=channels)
    return fitted if shapes == fitted.tensors else None


def _one(path: str | Path, found: list[_Found], raw: bool) -> list[_Found]:
    """All readings of one network; the moving average of several, where there is one."""
    prefixes = list(dict.fromkeys(f.prefix for f in found))
    averaged = [prefix for prefix in prefixes if re.search(AVERAGED_PREFIX, prefix)]
    preferred = [prefix for prefix in prefixes if (prefix in averaged) is not raw]
    if len(prefixes) > 1 and averaged and preferred:
        prefixes = preferred
    first, *others = ([f for f in found if f.prefix == prefix] for prefix in prefixes)
    if others:
        mark = fingerprint(first[0].weights)
        if any(fingerprint(other[0].weights) != mark for other in others):
            raise FileError(
                path,
                f"holds {len(prefixes)} networks, below {_listed(prefixes)}; "
                "save the one that is meant by itself",
            )
    return first


# ------------------------------------------------------------------ the explanation


def _explained(
    checkpoint: Checkpoint, tensors: Mapping[str, LazyTensor], found: list[_Found], told: str | None
) -> Match:
    first = found[0]
    form, network = first.form, first.network
    keys = {key.path for key in form.keys(network).values()}
    ignored = {key: stored for key, stored in first.tensors.items() if key not in keys}
    dropped = {stored.key: form.ignored_why for stored in ignored.values()}
    inside = first.prefix.rstrip("./")
    if inside:
        dropped |= {
            stored.key: f"outside {inside}: not part of the network"
            for key, stored in tensors.items()
            if not key.startswith(first.prefix)
        }
    possible = _possible(found)
    dialect, dialect_from = _dialect(checkpoint.path, possible, told)
    return Match(
        checkpoint=checkpoint,
        layouts=tuple({f.layout.name: f.layout for f in found}.values()),
        form=form,
        network=network,
        possible=possible,
        dialect=dialect,
        dialect_from=dialect_from,
        normalization=(
            _constants(form, network, ignored)
            or stated_normalization(checkpoint, network.in_channels)
            or first.layout.normalization
        ),
        weights=first.weights,
        dropped={**dropped, **checkpoint.beside},
        wrappers=(*checkpoint.wrappers, *([inside] if inside else [])),
    )


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
        dropped={**dropped, **checkpoint.beside},
        wrappers=checkpoint.wrappers,
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
        dropped=dict.fromkeys(found.left, "constants of the graph"),
        wrappers=checkpoint.wrappers,
    )


def _possible(found: list[_Found]) -> tuple[Dialect, ...]:
    dialects = [
        dialect
        for f in found
        for dialect in (f.form.dialects or f.layout.dialects.get(f.network.name, ()))
    ]
    return tuple(dict.fromkeys(dialects))


def _dialect(
    path: Path, possible: tuple[Dialect, ...], told: str | None
) -> tuple[Dialect | None, str | None]:
    """The dialect of the weights and how it is known: told, by the layout, or beside the file."""
    if told is not None and told not in DIALECTS:
        raise UsageError(f"unknown dialect {told!r}; choose from {', '.join(DIALECTS)}")
    if told is not None:
        return DIALECTS[told], TOLD
    if len(possible) == 1:
        return possible[0], "the layout"
    architecture = neighbour(path).get("architecture")
    for name, where in ((architecture, CONFIG_FILE), (path.name, "the file's name")):
        hint = _named(name) if isinstance(name, str) else None
        # The configuration is written by timm itself: `efficientnet_b0` is no coincidence there.
        if where == CONFIG_FILE and hint is None and str(name).startswith("efficientnet_"):
            hint = "pytorch"
        if hint and DIALECTS[hint] in possible:
            return DIALECTS[hint], where
    return None, None


def _named(name: str) -> str | None:
    hints = (hint for pattern, hint in FILE_NAMES.items() if re.search(pattern, name.lower()))
    return next(hints, None)


def _constants(
    form: Form, network: Network, ignored: Mapping[str, LazyTensor]
) -> Normalization | None:
    """What a Keras file says of the image, in the constants of its graph."""
    constants = [
        ignored[key]
        for key in sorted(ignored)  # the mean before the variance, in every form
        if form.marker and re.search(form.marker, key) and ignored[key].is_float
    ]
    if len(constants) == 2 and all(c.shape == (network.in_channels,) for c in constants):
        mean, variance = (constant.read() for constant in constants)
        return from_keras(mean, variance)
    return None


def from_keras(mean: np.ndarray, variance: np.ndarray) -> Normalization:
    """What the weights of a keras.applications file were trained on, by its two constants.

    The published files keep the standard deviation where the variance belongs, and
    keras.applications makes up for it if the weights are asked for as "imagenet".
    """
    published = np.allclose(variance, IMAGENET_STD) and np.allclose(mean, IMAGENET_MEAN)
    std = variance if published else np.sqrt(np.maximum(variance, 0))
    return Normalization(
        tuple(float(value) for value in mean), tuple(float(value) for value in std)
    )


# ------------------------------------------------------------------ what is amiss


def _unexplained(checkpoint: Checkpoint) -> FileError:
    """Why no layout explains a file: the one that comes closest, and what is amiss."""
    *_, (kind, tensors) = _views(checkpoint)
    path = checkpoint.path
    if any(_half_of(preset, tensors) for preset in PRESETS):
        return FileError(
            path, f"has the keys of canonical weights, but no {FORMAT} metadata; port the original"
        )
    best: tuple[int, str, str] | None = None
    for layout, form in _forms(kind):
        for network in _networks(layout):
            keys = {key.path for key in form.keys(network).values()}
            for prefix in _prefixes(form, network, tensors) or [""]:
                amiss, reason = _amiss(form, keys, tensors, prefix)
                if best is None or amiss < best[0]:
                    head = "" if network.num_classes else " without classifier"
                    below = f" below {prefix.rstrip('./')}" if prefix else ""
                    best = (amiss, f"{layout.name} {network.name}{head}{below}", reason)
    if best is None or best[0] >= len(tensors):
        return UnknownLayoutError(path, f"no layout has keys like {_listed(sorted(tensors))}")
    _, closest, reason = best
    return UnknownLayoutError(
        path, f"no layout explains every key; closest is {closest}: {reason}", closest=closest
    )


def _half_of(preset: str, tensors: Mapping[str, LazyTensor]) -> bool:
    """Whether a file has more than half of the canonical keys of a preset."""
    canonical = _preset(preset, headless=False).tensors
    return len(canonical.keys() & tensors.keys()) > len(canonical) / 2


def _amiss(
    form: Form, keys: set[str], tensors: Mapping[str, LazyTensor], prefix: str
) -> tuple[int, str]:
    """How many keys below a prefix do not fit, and which."""
    kept = {key for key in _below(form, tensors, prefix) if not form.is_ignored(key)}
    missing, left = sorted(keys - kept), sorted(kept - keys)
    parts = [
        f"{len(names)} keys {kind}: {_listed(names)}"
        for kind, names in (("missing", missing), ("left over", left))
        if names
    ]
    if not parts:
        other = form.another if form.is_beside_another(tensors) else None
        parts = [other[1] if other else "the shapes are of another network"]
    return len(missing) + len(left), "; ".join(parts)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
