"""Reading the weights of any layout as canonical arrays.  The answer of `rosetta.load`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .._util.result import ARRAYS, Result
from ..architectures import changed, scaled
from ..catalogue.records import Record
from ..errors import FileError, UsageError, WeightsError
from ..images.families import FAMILIES, family_of
from ..images.family import Family
from ..images.normalization import Normalization
from ..network import Network
from ..weights.canonical import Weights, check
from ..weights.initial import initial
from .identify import match, match_with, undecided
from .published import sourced


@dataclass(frozen=True)
class LoadedWeights(Result):
    """The weights of a file, in canonical names and orientation, and the network they are of.

    `network` states the dialect that the weights need.  `layouts` are those that explain the file,
    `family` the preprocessing that a file of ours names, and `normalization` and `activation` what
    the file itself says of its images and of what its classifier's outputs go through, where it
    does; `metadata` is all that it says of itself.  `record` is what the catalogue says of a
    published file that was asked for by name.
    """

    path: Path
    network: Network
    weights: Weights = field(repr=False, metadata=ARRAYS)
    layouts: tuple[str, ...]
    family: str | None
    normalization: Normalization | None
    activation: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False, metadata=ARRAYS)
    record: Record | None = field(default=None, repr=False, metadata=ARRAYS)

    @property
    def preprocessing(self) -> Family:
        """How the weights expect images to be prepared.

        Raises:
            RosettaError: nothing is known of the layout's images.
        """
        said = FAMILIES.get(self.family or "")
        if said is None:
            network = self.network
            return family_of(self.layouts, self.normalization, network.architecture, network.name)
        if self.normalization is None:
            return said
        return replace(said, normalization=self.normalization)


def load(
    path: str | Path,
    *,
    dialect: str | None = None,
    raw: bool = False,
    network: str | None = None,
    drop_head: bool = False,
    resolution: int | None = None,
    dtype: str = "float32",
) -> LoadedWeights:
    """Read a checkpoint of any layout and format, from a file or by the name of a published one.

    A name is "library:name", as the catalogue has it, "hf-hub:owner/name", or an address; its file
    is fetched, and its record decides dialect, preprocessing and the size of the images.

    `dialect` is for a file that leaves its dialect open; `raw` prefers the raw weights to their
    moving average; `network` is the prefix of the one that is meant where the file holds several;
    `drop_head` leaves out the classifier, or what else is in its place; `resolution` is the side
    in pixels that the network is to have, where it is not the record's or the preset's.  Arrays are
    of `dtype`.

    Raises:
        FileError: the file cannot be read, no layout explains it, or what is beside its network is
            more than a classifier.
        DialectUndecidedError: the file leaves its dialect open, and none was given.
        UsageError: the file states another dialect than the one that was given.
        FetchError: a published file cannot be fetched.
        OtherContentError: it is not what its record says.
    """
    source = sourced(path)
    found = match(source, dialect, raw, network) if raw else match_with(source, dialect, network)
    if not drop_head:
        found.refuse_head()
    found.refuse_ending("there is nothing to run")
    if found.dialect is None:
        raise undecided(found)
    if dialect not in (None, found.dialect.name):
        raise UsageError(
            f"{path}: its weights are of the {found.dialect.name} dialect; give no other",
            argument="dialect",
        )
    loaded = changed(found.network, dialect=asdict(found.dialect))
    if drop_head:
        loaded = changed(loaded, num_classes=None)
    size = resolution
    if size is None and found.record is not None:
        size = found.record.size
    if size is not None:
        loaded = changed(loaded, resolution=size)
    return LoadedWeights(
        path=source.path,
        network=loaded,
        weights={name: found.weights[name].astype(dtype).read() for name in loaded.tensors},
        layouts=tuple(layout.name for layout in found.layouts),
        family=found.family,
        normalization=found.normalization,
        activation=found.activation,
        metadata=found.checkpoint.metadata,
        record=found.record,
    )


def refuse_other(
    found: LoadedWeights,
    preset: str | None,
    width: float | None = None,
    depth: float | None = None,
    middle_blocks: int | None = None,
) -> None:
    """Refuse weights of another network than the one that is named, as far as one is.

    Weights of no preset go by "custom", and by any preset of their architecture with their scaling.

    Raises:
        UsageError: there is no such preset.
        FileError: the weights are of another one, or of another scaling.
    """
    network = found.network
    scaling = {"width": width, "depth": depth, "middle_blocks": middle_blocks}
    given: dict[str, Any] = {name: value for name, value in scaling.items() if value is not None}
    name = None if preset is None else preset.lower()
    if name in (None, network.name):
        wanted = {**network.scaling, **given}
        same = wanted == network.scaling
    else:
        asked = scaled(name or "", **given)
        same = (asked.architecture, asked.scaling) == (network.architecture, network.scaling)
    if not same:
        options = (f"--{other.replace('_', '-')} {value:g}" for other, value in given.items())
        asked_for = " ".join(filter(None, (name, *options)))
        raise FileError(found.path, f"holds {in_words(network)}, not {asked_for}")


def in_words(network: Network) -> str:
    """A preset's name, or how else it is scaled: `custom (width 0.5, depth 0.3)`."""
    if network.name != "custom":
        return network.name
    scaling = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in network.scaling.items()
    )
    return f"{network.name} ({scaling})"


def with_classes(network: Network, weights: Weights, classes: int, seed: int = 0) -> LoadedHead:
    """The same network with a new classifier of so many classes, by the official initialisation."""
    network = changed(network, num_classes=classes)
    fresh = initial(network, seed)
    kept = {
        name: fresh[name] if name.startswith("classifier.") else weights[name]
        for name in network.tensors
    }
    return LoadedHead(network, kept)


@dataclass(frozen=True)
class LoadedHead:
    """A network and its weights, after the classifier was exchanged."""

    network: Network
    weights: Weights = field(repr=False)


def weights_for(
    network: Network, weights: LoadedWeights | Weights | str | Path, dialect: str | None = None
) -> LoadedHead:
    """Weights that were given in any way, for a network that was asked for.

    The dialect is that of the weights, where they state one.  A classifier of another number of
    classes is replaced by a new one, or left out where the network has none.

    Raises:
        FileError: the file cannot be read, or holds another preset.
        WeightsError: the arrays are not those of the network.
    """
    if isinstance(weights, str | Path):
        weights = load(weights, dialect=dialect)
    if not isinstance(weights, LoadedWeights):
        check(network.tensors, weights)
        return LoadedHead(network, weights)
    found = weights.network
    if (found.architecture, found.scaling) != (network.architecture, network.scaling):
        raise FileError(weights.path, f"holds {found.title}, not {network.title}")
    if found.in_channels != network.in_channels:
        raise WeightsError(
            f"{weights.path}: takes {found.in_channels} channels, not {network.in_channels}"
        )
    network = changed(network, dialect=asdict(found.dialect))
    if network.num_classes is None:
        return LoadedHead(network, {name: weights.weights[name] for name in network.tensors})
    if network.num_classes != found.num_classes:
        return with_classes(network, weights.weights, network.num_classes)
    return LoadedHead(network, weights.weights)
