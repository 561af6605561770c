"""What may stand where a file of weights may stand, and is none: the name of a published one.

    library:name                         a record of the catalogue: timm:xception71.tf_in1k
    hf-hub:owner/name[@revision][/file]  a repository on the Hugging Face hub, or a file in it
    https://...                          an address

A path that exists is always a path, whatever it looks like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .._util.files import is_there
from ..errors import UsageError
from .location import Address, HubFile, Location

HUB = "hf-hub:"
# A `Path` of an address has lost one of its two slashes.
ADDRESS = re.compile(r"(https?):/{1,2}(?=[^/])", re.IGNORECASE)
PART = r"[A-Za-z0-9][\w.-]*"
# Pull requests are the only revisions of the hub that have slashes in their names.
ON_HUB = re.compile(rf"({PART}/{PART})(?:@(refs/(?:pr|convert)/\w+|[\w.+-]+))?(?:/(.+))?")
# One letter is a drive of Windows, and two colons, or a slash behind one, are of other things.
NAMED = re.compile(r"([A-Za-z][\w.+/-]+):(?![:/\\])(.+)", re.DOTALL)
CHECKPOINT_SUFFIX = ".index"  # of the file beside the prefix that names a TensorFlow checkpoint
NAME_LIMIT = 120  # characters of a file's name in the cache


@dataclass(frozen=True)
class Name:
    """`library:name`, which the catalogue may know."""

    library: str
    name: str

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"


def parsed(what: str | Path) -> Name | Location | None:
    """What a reference says; None for the path of a file, be it there or not.

    Raises:
        UsageError: it begins as a reference to the hub, or as an address, and is none.
    """
    text = str(what)
    if is_there(text) or is_there(text + CHECKPOINT_SUFFIX):
        return None
    if ADDRESS.match(text):
        return Location(address(text))
    if text.startswith(HUB):
        return Location(on_hub(text))
    found = NAMED.fullmatch(text)
    return None if found is None else Name(found[1], found[2])


def on_hub(text: str) -> HubFile:
    """`hf-hub:owner/name[@revision][/file]`

    Raises:
        UsageError: it is not of this form.
    """
    found = ON_HUB.fullmatch(text.removeprefix(HUB))
    file = found[3] if found else None
    leads_out = file is not None and not {"", ".", ".."}.isdisjoint(file.split("/"))
    if found is None or leads_out or "\\" in text:
        raise UsageError(f"{text}: is not {HUB}owner/name, with @revision and /file if need be")
    return HubFile(found[1], filename=file, revision=found[2])


def address(text: str) -> Address:
    """An address, and the name that its file gets in the cache.

    Raises:
        UsageError: it has no host.
    """
    url = ADDRESS.sub(lambda found: f"{found[1].lower()}://", text, count=1)
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host:
        raise UsageError(f"{text}: is no address; write https://host/path/to/file")
    return Address(url, file_name(unquote(parts.path)))


def file_name(path: str) -> str:
    """The last part of an address's path as the name of a file, which it may not be."""
    last = re.split(r"[/\\]", path)[-1]
    kept = re.sub(r"[^\w.+@=-]", "_", last, flags=re.ASCII).lstrip(".")
    return kept[-NAME_LIMIT:] or "file"


def label(what: str | Path) -> str:
    """A reference, or a path, as a name for a folder."""
    found = parsed(what)
    if found is None:
        return Path(what).stem
    if isinstance(found, Name):
        return file_name(found.name.replace("/", "-").replace(":", "-"))
    if isinstance(found.place, HubFile):
        return found.place.repository.replace("/", "-")
    return Path(file_name(str(what))).stem
