"""Files of the Hugging Face hub: huggingface_hub says what and where they are, and keeps them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ..errors import FetchError, reason
from .asked import Asked, alone, log, needs_extra, not_here, offline
from .digests import differs, digest_of
from .location import Digest, HubFile
from .progress import progress_of
from .transfer import PASSING, PassingError, Tries, download, no_network, no_room, retry_after

MAIN = "main"
CONFIG = "config.json"  # says which dialect and images a file is for, and what its classes are
# What is taken of a repository that has several, in this order: transformers' and timm's names,
# and Keras's, which has the backbone alone in a file of its own.
USUAL = ("model.safetensors", "pytorch_model.bin", "task.weights.h5", "model.weights.h5")
OF_PYTORCH = (".safetensors", ".bin", ".pth", ".pt", ".ckpt")
OF_OTHERS = (".h5", ".hdf5", ".keras", ".npz", ".onnx", ".tflite")
BESIDE = re.compile(
    r"(optimizer|scheduler|scaler|rng_state|random_states|training_args|tf_model)\b"
)
LISTED = 8  # names in a message
SHA256 = re.compile("[0-9a-f]{64}")  # the tag of a large file is its hash
TAG = re.compile("[0-9A-Za-z_-]+")

Answer = TypeVar("Answer")


def fetch_from_hub(place: HubFile, asked: Asked) -> Path:
    """A file of the hub, in huggingface_hub's own cache, with the configuration beside it.

    Raises:
        FetchError: the hub does not give it, or it is not what its hash says.
        MissingDependencyError: huggingface_hub is not installed.
    """
    with needs_extra():
        import huggingface_hub  # noqa: F401 - or nothing below can be
    name = place.filename or chosen(_files(place, asked), asked.name)
    path = _file(place, name, asked)
    if asked.is_damaged(path) or _is_damaged(path):
        path = _again(place, name, path, asked)
    config = PurePosixPath(name).with_name(CONFIG)
    if config.name != PurePosixPath(name).name:
        _beside(place, str(config), asked)
    return path


def _beside(place: HubFile, name: str, asked: Asked) -> None:
    """Fetch what may be beside a file of weights, and need not."""
    try:
        _file(place, name, Asked(f"{asked.name} ({name})", progress=lambda done, total: None))
    except FetchError as error:
        if not error.gone and not offline():
            log.warning("%s", error)


# ------------------------------------------------------------------ one file


def _file(place: HubFile, name: str, asked: Asked) -> Path:
    """A file in the cache, which is fetched if it, or its newest version, is not there."""
    kept = _cached(place, name)
    if offline():
        if kept is None:
            raise not_here(asked.name)
        return kept
    if kept is not None and re.fullmatch("[0-9a-f]{40}", place.revision or ""):
        return kept  # of a commit there is one version
    try:
        _bring(place, name, asked)
        return _hub(lambda: _in_cache(place, name, network=True), asked)
    except FetchError as error:
        if kept is None or error.gone:
            raise
        log.warning("%s: the hub does not answer; using what is in the cache", asked.name)
        return kept


def _cached(place: HubFile, name: str) -> Path | None:
    """A file that is in the cache already."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return _in_cache(place, name, network=False)
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None


def _in_cache(place: HubFile, name: str, network: bool) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(
        hf_hub_download(
            place.repository,
            name,
            revision=place.revision,
            endpoint=_endpoint(),
            cache_dir=_cache(),
            local_files_only=not network,
        )
    )


def _bring(place: HubFile, name: str, asked: Asked) -> None:
    """Read a file into the place where huggingface_hub looks for it before it fetches.

    Its cache keeps what a file holds under the tag of the file, below `blobs`.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    url = hf_hub_url(place.repository, name, revision=place.revision, endpoint=_endpoint())
    about = _hub(lambda: get_hf_file_metadata(url, endpoint=_endpoint()), asked)
    if not about.etag or not TAG.fullmatch(about.etag):
        return
    folder = repo_folder_name(repo_id=place.repository, repo_type="model")
    blob = _cache() / folder / "blobs" / about.etag
    snapshot = _cache() / folder / "snapshots" / (about.commit_hash or "-") / name
    if blob.exists() or snapshot.exists():
        return
    lock = _cache() / ".locks" / folder / about.etag  # where huggingface_hub has its own
    try:
        for made in (blob.parent, lock.parent):
            made.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise no_room(asked.name, blob, error) from error
    with alone(lock, asked.name):
        if blob.exists():
            return
        partial = blob.with_name(f"{blob.name}.incomplete")
        with progress_of(asked.name, asked.progress) as progress:
            headers = build_hf_headers()
            download(url, partial, asked.name, progress, headers, about.size)
        _keep(partial, blob, asked)


def _keep(partial: Path, blob: Path, asked: Asked) -> None:
    """Give what has arrived its name, if it is what the hub, and its library, say."""
    try:
        asked.check(partial)
        if SHA256.fullmatch(blob.name):
            Asked(asked.name, Digest("sha256", blob.name)).check(partial)
    except FetchError:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(blob)


def _is_damaged(path: Path) -> bool:
    """Whether a file of the cache no longer has the hash that is its name there."""
    name = path.resolve().name
    return bool(SHA256.fullmatch(name)) and digest_of(path) != name


def _again(place: HubFile, name: str, path: Path, asked: Asked) -> Path:
    """Fetch a file once more that is not what it should be."""
    what = f"{path} is damaged, or another file than its library states"
    if offline():
        raise FetchError(asked.name, f"{what}, and cannot be fetched again offline; remove it")
    log.warning("%s; fetching it again", what)
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    path = _file(place, name, asked)
    problem = None if asked.digest is None else differs(path, asked.digest)
    if problem is not None or _is_damaged(path):
        raise FetchError(asked.name, f"what the hub gave {problem or 'is damaged'}")
    return path


# ------------------------------------------------------------------ which file


def _files(place: HubFile, asked: Asked) -> list[str]:
    """The names of the files of a repository; offline, of those that are in the cache."""
    from huggingface_hub import HfApi

    if offline():
        return _cached_files(place)
    api = HfApi(endpoint=_endpoint())
    try:
        found = _hub(lambda: api.model_info(place.repository, revision=place.revision), asked)
        return [file.rfilename for file in found.siblings or ()]
    except FetchError as error:
        kept = [] if error.gone else _cached_files(place)
        if not kept:
            raise
        return kept


def _cached_files(place: HubFile) -> list[str]:
    from huggingface_hub.file_download import repo_folder_name

    folder = _cache() / repo_folder_name(repo_id=place.repository, repo_type="model")
    revision = place.revision or MAIN
    reference = folder / "refs" / revision
    try:
        commit = reference.read_text().strip() if reference.is_file() else revision
        snapshot = folder / "snapshots" / commit
        return [
            found.relative_to(snapshot).as_posix()
            for found in sorted(snapshot.rglob("*"))
            if found.is_file()
        ]
    except (OSError, ValueError):
        return []


def chosen(files: Sequence[str], name: str) -> str:
    """The file of weights in a repository.

    Raises:
        FetchError: there is none, or there are several.
    """
    if not files and offline():
        raise not_here(name)
    for usual in USUAL:
        if usual in files:
            return usual
    found = [file for file in files if _is_weights(PurePosixPath(file))]
    top = [file for file in found if "/" not in file]
    if len(top or found) == 1:
        return (top or found)[0]
    if not found:
        raise FetchError(name, "its repository has no file of weights", gone=True)
    shown = ", ".join(found[:LISTED]) + (", ..." if len(found) > LISTED else "")
    raise FetchError(name, f"its repository has {shown}; add the one that is meant, as {name}/FILE")


def _is_weights(file: PurePosixPath) -> bool:
    """Whether a file of a repository is one of weights; its name is the server's."""
    if file.is_absolute() or ".." in file.parts:
        return False
    return file.suffix.lower() in (*OF_PYTORCH, *OF_OTHERS) and not BESIDE.match(file.name)


# ------------------------------------------------------------------ what the hub says


def _endpoint() -> str | None:
    """The hub, or what plays it; the library itself looks when it is imported, and never again."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(os.environ.get("HF_HUB_CACHE") or constants.HF_HUB_CACHE)


def _hub(call: Callable[[], Answer], asked: Asked) -> Answer:
    """What a call of huggingface_hub returns, tried again while the hub is busy.

    Raises:
        FetchError: it says that it does not give the file, or it says nothing.
    """
    tries = Tries(asked.name)
    while True:
        try:
            return call()
        except Exception as error:
            problem = _problem(error, asked.name)
            if isinstance(problem, PassingError):
                tries.again(problem)
                continue
            if problem is None:
                raise
            raise problem from error


def _problem(error: Exception, name: str) -> FetchError | PassingError | None:
    """What is wrong, in our words; None where it is nothing that a hub or a network does."""
    from httpx2 import ConnectError, ConnectTimeout, HTTPError, ProxyError, TimeoutException
    from huggingface_hub import errors

    if isinstance(error, FetchError):
        return error
    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return not_here(name)
    if isinstance(error, errors.HFValidationError):
        return FetchError(name, f"is no name of a repository ({reason(error)})")
    if isinstance(error, errors.GatedRepoError):
        return FetchError(name, "is given only to those who asked for it on its page of the hub")
    if isinstance(error, errors.RevisionNotFoundError):
        return FetchError(name, "the hub has no such revision of it", gone=True)
    if isinstance(error, errors.RepositoryNotFoundError):
        return FetchError(name, "the hub has no such repository, or not for us", gone=True)
    if isinstance(error, errors.EntryNotFoundError):
        return FetchError(name, "its repository has no such file", gone=True)
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status not in PASSING:
            return FetchError(name, f"the hub answers {status} ({reason(error)})")
        after = retry_after(error.response.headers.get("Retry-After"))
        return PassingError(f"the hub answers {status}", after)
    if isinstance(error, ConnectError | ConnectTimeout | ProxyError):
        return no_network(name, "the hub", reason(error))
    if isinstance(error, TimeoutException):
        return PassingError("the hub did not answer in time")
    if isinstance(error, HTTPError):
        return PassingError(f"the hub broke off ({reason(error)})")
    if isinstance(error, errors.FileMetadataError):
        return FetchError(name, f"what answers is no hub ({reason(error)})")
    if isinstance(error, OSError) and error.errno is not None:
        return no_room(name, _cache() / "hub", error)
    return None
