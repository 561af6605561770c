"""Published checkpoints by name, where a file may stand: found, fetched, and held to their records.

This is the one place where a name becomes a file.  A record of the catalogue then decides what a
file by itself may leave open, and a file that is not what its record says is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from ..catalogue.fetch import described, fetch
from ..catalogue.location import Address, HubFile, KaggleFile, Location
from ..catalogue.preparation import preparation
from ..catalogue.records import Record, libraries, records
from ..catalogue.reference import Name, parsed
from ..catalogue.search import library_called, record
from ..errors import FetchError, FileError, OtherContentError, UsageError
from ..images.normalization import Normalization

RECORD_SAYS = "its record in the catalogue"


@dataclass(frozen=True)
class Source:
    """A file of weights, what it was called, and its record where it is a published one."""

    path: Path
    given: str
    record: Record | None = None

    @property
    def dialect(self) -> str | None:
        """What its record says of the dialect, if anything does."""
        return None if self.record is None else self.record.dialect

    @property
    def normalization(self) -> Normalization | None:
        """What its record says of its images, where the file itself says nothing."""
        family = None if self.record is None else preparation(self.record)
        return None if family is None else family.normalization

    def told(self, dialect: str | None) -> str | None:
        """The dialect to explain the file by, which its record decides.

        Raises:
            UsageError: another one was asked for.
        """
        if self.dialect is None or dialect in (None, self.dialect):
            return dialect or self.dialect
        raise UsageError(
            f"{self.given}: {RECORD_SAYS} says that its dialect is {self.dialect}; give no other",
            argument="dialect",
        )

    def hold(
        self,
        preset: str,
        classes: int | None,
        layouts: Collection[str],
        dialects: Collection[str],
    ) -> None:
        """Hold what was found in the file against its record.

        Raises:
            OtherContentError: it is another network, in another layout, or of another dialect.
        """
        if self.record is None:
            return
        said, found = self.record, []
        if said.preset not in (None, preset):
            found.append(f"{preset}, and not {said.preset}")
        elif said.preset is not None and said.classes != (classes or 0):
            found.append(f"{_counted(classes or 0)}, and not {_counted(said.classes)}")
        if said.layout is not None and said.layout not in layouts:
            found.append(f"the layout {' or '.join(layouts)}, and not {said.layout}")
        elif said.dialect is not None and said.dialect not in dialects:
            found.append(f"weights of the {' or '.join(dialects)} dialect, and not {said.dialect}")
        if found:
            raise OtherContentError(
                self.given,
                f"its file holds {'; '.join(found)} as {RECORD_SAYS} says; to use it as it is, "
                f"name the file: {self.path}",
            )


def _counted(classes: int) -> str:
    return f"{classes:,} classes" if classes else "no classifier"


def sourced(what: str | Path | Source) -> Source:
    """The file that stands behind a path or a reference, which is fetched if it must be.

    Raises:
        UsageError: the catalogue has no such name.
        FetchError: the file cannot be fetched.
        MissingDependencyError: what fetches it is not installed.
    """
    if isinstance(what, Source):
        return what
    given, found = str(what), parsed(what)
    if found is None:
        return Source(Path(what), given)
    if isinstance(found, Name):
        known = _record(found)
        return Source(_fetched(known), given, known)
    known_as = _recorded(found)
    if known_as is None:
        return Source(fetch(found, name=described(found)), given)
    of_record = next(one for one in known_as.locations if _is_same(one, found))
    place = found.place
    if isinstance(place, HubFile) and isinstance(of_record.place, HubFile):
        place = replace(place, filename=of_record.place.filename)
    location = Location(place, of_record.digest)
    return Source(fetch(location, name=described(found)), given, known_as)


def is_published(what: str | Path) -> bool:
    """Whether a text names a published file, and not a `module:function` that looks alike."""
    found = parsed(what)
    if not isinstance(found, Name):
        return found is not None
    try:
        record(str(found))
    except UsageError:
        return is_library(found.library) and not found.name.isidentifier()
    return True


def is_library(name: str) -> bool:
    """Whether the catalogue has a library of this name."""
    try:
        library_called(name)
    except UsageError:
        return False
    return True


def _record(name: Name) -> Record:
    if is_library(name.library):
        return record(str(name))
    known = ", ".join(libraries())
    raise FileError(
        str(name), f"no such file, nor a library {name.library}; the catalogue has {known}"
    )


def _fetched(known: Record) -> Path:
    """The file of a record, or of the first mirror that has it where its own place has not.

    Raises:
        FileError: this project can do nothing with it, so that it is not fetched.
        FetchError: it cannot be fetched.
    """
    if known.unported is not None:
        raise FileError(known.reference, f"cannot be used: {known.unported}")
    missing: FetchError | None = None
    for location in known.locations:
        try:
            return fetch(location, name=known.reference)
        except FetchError as error:
            missing = missing or error
            if not error.gone:
                break
    assert missing is not None
    raise missing


def _recorded(asked: Location) -> Record | None:
    """The record of a file that was named by its place, if all that have the place agree on it."""
    found = [known for known in records() if any(_is_same(one, asked) for one in known.locations)]
    said = {(known.preset, known.layout, known.dialect, known.classes) for known in found}
    families = {known.family for known in found}
    return found[0] if len(said) == 1 and len(families) == 1 else None


def _is_same(one: Location, asked: Location) -> bool:
    """Whether a location is the one that was asked for, which may leave out file and revision."""
    here, there = one.place, asked.place
    if isinstance(here, HubFile) and isinstance(there, HubFile):
        return (
            here.repository == there.repository
            and there.filename in (None, here.filename)
            and there.revision in (None, here.revision)
        )
    if isinstance(here, Address) and isinstance(there, Address):
        return here.url == there.url
    return isinstance(here, KaggleFile) and here == there
