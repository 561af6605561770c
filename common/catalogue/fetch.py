"""A published file brought here: into the cache of the library that fetches it, and checked.

Nothing is fetched but what a command, or a call, names.  `HF_HUB_OFFLINE` keeps everything off the
network, and a folder of files that were fetched elsewhere takes its place.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from .addresses import cache, fetch_address
from .archives import checkpoint_in, is_archive, unpacked_before
from .asked import Asked, alone
from .hub import fetch_from_hub
from .kaggle import fetch_from_kaggle
from .location import Address, HubFile, Location
from .offered import offered
from .progress import Progress
from .transfer import no_room

FOLDER = "ROSETTA_WEIGHTS_DIR"  # of the environment: a folder of files that were fetched elsewhere


def fetch(
    location: Location,
    *,
    name: str | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """The file of a location, which is fetched if it is not in the cache, and checked in any case.

    `name` is what it is called in messages, by default its address.  `folder` has files that were
    fetched elsewhere, by default $ROSETTA_WEIGHTS_DIR; with one, the network is not asked.
    `progress` is told how many bytes are there, and how many there will be; by default a bar on
    stderr is, where that is a terminal.  Of an archive it is the prefix of the checkpoint in it.

    Raises:
        FetchError: there is no such file, no network or no room; or the file is not the one whose
            hash its library states.
        MissingDependencyError: what fetches it is not installed.
    """
    asked = Asked(name or described(location), location.digest, progress)
    given = folder or os.environ.get(FOLDER)
    path = offered(Path(given), location, asked) if given else _fetched(location, asked)
    if not is_archive(path):
        return path
    # Beside what we keep ourselves, and not in a folder, or a cache, of somebody else's.
    stem = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]
    ours = isinstance(location.place, Address) and not given
    place = path.with_name(f"{path.name}.unpacked") if ours else cache() / "unpacked" / stem
    if found := unpacked_before(path, place, asked.name):
        return found
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise no_room(asked.name, place, error) from error
    with alone(place, asked.name):
        return checkpoint_in(path, place, asked.name)


def _fetched(location: Location, asked: Asked) -> Path:
    place = location.place
    if isinstance(place, HubFile):
        return fetch_from_hub(place, asked)
    if isinstance(place, Address):
        return fetch_address(place, asked)
    return fetch_from_kaggle(place, asked)


def described(location: Location) -> str:
    """A location as it is called in messages, and as it may be written in a command."""
    place = location.place
    if isinstance(place, Address):
        return re.sub(r"//[^/@]*@", "//", place.url)  # a password is not for messages
    file = f"/{place.filename}" if place.filename else ""
    if isinstance(place, HubFile):
        revision = f"@{place.revision}" if place.revision else ""
        return f"hf-hub:{place.repository}{revision}{file}"
    return f"kaggle:{place.handle}{file}"
