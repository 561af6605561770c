"""The published checkpoints: what their libraries say of each, and where they say it.

The data are one file of JSON a library below `records/`, with a record in every line.  A library
states the source of its fields once, and a record those that have another.  Nothing here is
checked when it is read: the tests hold every record against the networks, layouts and families of
this project, and against the tables of the libraries that are installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from importlib.resources import files
from typing import Any

from .location import Address, Digest, HubFile, KaggleFile, Location

EVERY_FIELD = "*"  # in a table of sources: those that are not listed
# Fields that say what a record is, and not what its library says of it.
OWN = ("library", "name", "aliases", "unported", "findings", "sources")


@dataclass(frozen=True)
class Record:
    """One published checkpoint.  What is None, or empty, its library does not say.

    `preset`, `layout`, `dialect` and `family` are this project's names for the network, for how
    the file keeps the weights, for the rules that its library computes by, and for how images are
    prepared for these weights.  Where the first three are not all known, `unported` says why.
    """

    library: str
    name: str
    network: str  # as the library calls it
    preset: str | None = None
    layout: str | None = None
    dialect: str | None = None
    family: str | None = None
    unported: str | None = None
    classes: int = 1000  # outputs of the classifier; 0 of a file without one
    size: int | None = None  # pixels, of an image to evaluate
    training_size: int | None = None  # pixels, where the library states another
    crop: float | None = None  # share of the resized image that is kept
    squash: bool = False  # the whole image is resized to the square, or to what is cut from it
    interpolation: str | None = None
    mean: tuple[float, ...] | None = None  # of red, green and blue from 0 to 1
    std: tuple[float, ...] | None = None
    top1: float | None = None  # percent of ImageNet's validation images
    licence: str | None = None
    parameters: int | None = None  # trainable
    training: str | None = None  # in the words of the field
    findings: tuple[str, ...] = ()  # where the library, or its file, is not what it says
    aliases: tuple[str, ...] = ()  # other names that the library has for it
    locations: tuple[Location, ...] = ()  # the first is where the library looks first
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def reference(self) -> str:
        """`timm:tf_efficientnet_b4.ns_jft_in1k`, which stands for its file in every command."""
        return f"{self.library}:{self.name}"

    @property
    def location(self) -> Location:
        """Where the library itself looks for the file."""
        return self.locations[0]

    @property
    def mirrors(self) -> tuple[Location, ...]:
        """Other files of the same weights, perhaps in another format."""
        return self.locations[1:]

    @property
    def stated(self) -> tuple[str, ...]:
        """The fields that have a value, those apart that only say which record this is."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in OWN}
        return tuple(
            name
            for name, value in values.items()
            if not (value is None or value is False or value == ())
        )

    def source(self, stated: str) -> str | None:
        """Where a field's value is from; None where nobody said."""
        return self.sources.get(stated, self.sources.get(EVERY_FIELD))

    def to_json(self) -> dict[str, Any]:
        """All that is known, for programs: fields without a value are left out."""
        known = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        known["locations"] = [_location_to_json(location) for location in self.locations]
        known["sources"] = {name: self.source(name) for name in self.stated}
        return {"reference": self.reference, **known}


@dataclass(frozen=True)
class Library:
    """Who published: its own name, other names for it, the version read, and its records."""

    name: str
    title: str
    version: str
    aliases: tuple[str, ...]
    about: str
    records: tuple[Record, ...]


@lru_cache(maxsize=1)
def libraries() -> Mapping[str, Library]:
    """The libraries by name, read once."""
    folder = files(__package__).joinpath("records")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    found = (_library(json.loads(folder.joinpath(name).read_text("utf-8"))) for name in names)
    return {library.name: library for library in sorted(found, key=lambda known: known.name)}


def records() -> Iterator[Record]:
    """Every published checkpoint, library by library."""
    for library in libraries().values():
        yield from library.records


def _library(data: Mapping[str, Any]) -> Library:
    name, sources = data["library"], data["sources"]
    return Library(
        name=name,
        title=data["title"],
        version=data["version"],
        aliases=tuple(data["aliases"]),
        about=data["about"],
        records=tuple(_record(name, line, sources) for line in data["records"]),
    )


def _record(library: str, line: Mapping[str, Any], sources: Mapping[str, str]) -> Record:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in line.items()
    }
    values["locations"] = tuple(map(_location, line["locations"]))
    values["sources"] = {**sources, **line.get("sources", {})}
    return Record(library=library, **values)


def _location(data: Mapping[str, str]) -> Location:
    """The place that a record's line names, with the hash that stands beside it."""
    place: HubFile | Address | KaggleFile
    if "hub" in data:
        place = HubFile(data["hub"], data.get("file"), data.get("revision"))
    elif "kaggle" in data:
        place = KaggleFile(data["kaggle"], data.get("file"))
    else:
        place = Address(data["url"], data.get("file") or data["url"].rpartition("/")[2])
    if "md5" in data:
        return Location(place, Digest("md5", data["md5"]))
    if "sha256" in data:
        return Location(place, Digest("sha256", data["sha256"]))
    if "sha256_prefix" in data:
        return Location(place, Digest("sha256", data["sha256_prefix"], is_prefix=True))
    return Location(place)


def _location_to_json(location: Location) -> dict[str, Any]:
    kind = {HubFile: "hub", Address: "url", KaggleFile: "kaggle"}[type(location.place)]
    place = {name: value for name, value in asdict(location.place).items() if value is not None}
    digest = {} if location.digest is None else {"digest": asdict(location.digest)}
    return {"kind": kind, **place, **digest}
