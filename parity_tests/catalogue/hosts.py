"""One file on each kind of host that a checkpoint may be on, and what its cache looks like."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from efficientnet_rosetta.common.catalogue.fetch import fetch
from efficientnet_rosetta.common.catalogue.location import Address, Digest, HubFile, Location

from .server import COMMIT, Served, Server

CONTENT = np.random.default_rng(0).bytes(60_000)
NAME = "weights.safetensors"
REPOSITORY = "timm/some_b0"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Host:
    """A server with one file, and where it is; `tag` is what the server says of its version."""

    server: Server
    content: bytes = CONTENT
    path: str = ""  # on the server
    place: object = None

    def __post_init__(self):
        self.set_up()

    def fetch(self, digest: Digest | None = None, **options) -> Path:
        return fetch(Location(self.place, digest), **options)

    def first(self, *answers: Served, method: str = "GET") -> None:
        """What the server says before it behaves."""
        self.server.first[method, self.path].extend(answers)

    @property
    def ranges(self) -> list[str | None]:
        """Of every GET of the file."""
        return self.server.gets(self.path)


class AddressHost(Host):
    """A release, or a bucket."""

    part = f".{NAME}.part"

    def set_up(self) -> None:
        self.path = f"/releases/{NAME}"
        self.place = Address(self.server.url + self.path, NAME)
        self.serve(self.content)

    def serve(self, content: bytes) -> None:
        self.content = content
        self.server.files[self.path] = Served(content, headers=self.tag(content))

    def tag(self, content: bytes) -> dict[str, str]:
        return {"ETag": f'"{sha256(content)[:8]}"'}

    @property
    def cached(self) -> Path:
        place = sha256(self.place.url.encode())[:16]
        return Path(os.environ["ROSETTA_CACHE"], place, NAME)

    @property
    def partial(self) -> Path:
        return self.cached.with_name(self.part)


class HubHost(Host):
    """A repository of the hub."""

    def set_up(self) -> None:
        self.path = f"/{REPOSITORY}/resolve/main/{NAME}"
        self.place = HubFile(REPOSITORY, NAME)
        self.serve(self.content)

    def serve(self, content: bytes) -> None:
        self.content = content
        self.server.on_hub[REPOSITORY] = {NAME: content}

    def tag(self, content: bytes) -> dict[str, str]:
        return {}

    @property
    def folder(self) -> Path:
        return Path(os.environ["HF_HUB_CACHE"], "models--timm--some_b0")

    @property
    def cached(self) -> Path:
        return self.folder / "snapshots" / COMMIT / NAME

    @property
    def partial(self) -> Path:
        return self.folder / "blobs" / f"{sha256(self.content)}.incomplete"


HOSTS = {"address": AddressHost, "hub": HubHost}
