"""Where the file of a published checkpoint is, as its library states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Digest:
    """A hash that a library states of a file; some state its first digits only."""

    algorithm: Literal["sha256", "md5"]
    value: str  # hexadecimal digits in lower case
    is_prefix: bool = False


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the Hugging Face hub; None takes the one file of weights in it."""

    repository: str  # "owner/name"
    filename: str | None = None
    revision: str | None = None  # a commit, branch or tag; None is the newest


@dataclass(frozen=True)
class Address:
    """A file behind an http(s) address, perhaps an archive (.tar.gz, .tgz) of a checkpoint."""

    url: str
    filename: str  # what it is called in the cache


@dataclass(frozen=True)
class KaggleFile:
    """A file of a model on Kaggle: "owner/model/framework/variation/version"."""

    handle: str
    filename: str | None = None


@dataclass(frozen=True)
class Location:
    """One file, and what it must be."""

    place: HubFile | Address | KaggleFile
    digest: Digest | None = None
