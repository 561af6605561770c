"""Which file a folder, or a file that speaks of others, means: what libraries leave behind.

Nothing is followed out of the folder, and only regular files are opened.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..._util.files import content, is_file, is_folder
from ...errors import FileError
from .detect import CHECKPOINT, SAVED_MODEL, SUFFIXES, detect, index_of

SHARDED = "sharded"  # an index in JSON, and the files that it names
DISTRIBUTED = "distributed"  # a folder of PyTorch's distributed checkpoints
DISTRIBUTED_INDEX = ".metadata"
INDEX_SUFFIX = ".index.json"
STATE_FILE = "checkpoint"  # of TensorFlow: it names the newest checkpoint of a folder
# What is taken of a folder that has several, in this order: transformers', accelerate's, timm's.
USUAL = (
    "model.safetensors",
    f"model.safetensors{INDEX_SUFFIX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX_SUFFIX}",
)
OF_RUN = ("run.json", "best.safetensors")  # of a training with this program
# Files of a training beside its weights, and second models, which make a folder ambiguous.
NO_WEIGHTS = re.compile(
    r"^(optimizer|scheduler|scaler|sampler|random_states|rng_state|training_args|state|meta|"
    r"custom_checkpoint)\b.*|^(optimizer|rng_state|random_states|dl_state_dict)_.*"
)
SECOND = re.compile(r"^(model|pytorch_model)_\d+\.(safetensors|bin)$")
PARTS = re.compile(r"-\d{5}-of-\d{5}\.|\.data-\d{5}-of-\d{5}$")
LISTED = 8  # names in a message
JSON_LIMIT = 2**26  # bytes
STATE_LIMIT = 2**16


def resolved(path: Path) -> tuple[str, Path]:
    """The format of what is behind a path, and the file or folder to read in it.

    Raises:
        FileError: there is nothing, or several files of weights.
    """
    prefix = _prefix(path)
    if prefix is not None:
        return CHECKPOINT, prefix
    if path.name == DISTRIBUTED_INDEX or path.suffix == ".distcp":
        path = path.parent
    if is_folder(path):
        return _in_folder(path)
    if path.name.endswith(INDEX_SUFFIX):
        return SHARDED, path
    return detect(path), path


def _prefix(path: Path) -> Path | None:
    """The prefix of a TensorFlow checkpoint that is named by it, or by one of its files."""
    if is_file(index_of(path)):
        return path
    candidates = []
    if path.suffix == ".index":
        candidates.append(path.with_suffix(""))
    if parts := re.fullmatch(r"(.+)\.data-\d{5}-of-\d{5}", path.name):
        candidates.append(path.with_name(parts[1]))
    for candidate in candidates:
        if is_file(index_of(candidate)):
            return candidate
    if path.name == STATE_FILE and is_file(path):
        return _newest(path)
    return None


def _newest(state: Path) -> Path | None:
    """What TensorFlow's own file says is the newest checkpoint beside it; None where it is none."""
    if state.is_symlink():
        return None
    try:
        text = content(state, STATE_LIMIT).decode(errors="replace")
    except FileError:
        return None
    found = re.search(r'^model_checkpoint_path:\s*"([^"\n]+)"', text, re.MULTILINE)
    if found is None:
        return None
    # A path of another machine, where the folder was; the files are beside this one.
    prefix = state.with_name(re.split(r"[/\\]", found[1])[-1] or "?")
    return prefix if is_file(index_of(prefix)) else None


def _in_folder(folder: Path) -> tuple[str, Path]:
    if is_file(index_of(folder / "variables" / "variables")):
        return SAVED_MODEL, folder
    if is_file(folder / DISTRIBUTED_INDEX):
        return DISTRIBUTED, folder
    names = _names(folder)
    if all(name in names for name in OF_RUN):
        return _one(folder, OF_RUN[1])
    if not any(SECOND.match(name) for name in names):
        for name in USUAL:
            if name in names:
                return _one(folder, name)
    if STATE_FILE in names and (prefix := _newest(folder / STATE_FILE)):
        return CHECKPOINT, prefix
    candidates = list(_candidates(folder, names))
    if len(candidates) == 1:
        return _one(folder, candidates[0])
    if candidates:
        raise FileError(folder, f"is a folder with {_listed(candidates)}; name one of them")
    inside = [name for name in names if _is_source(folder / name)]
    if len(inside) == 1:
        return _in_folder(folder / inside[0])
    if inside:
        raise FileError(folder, f"is a folder with {_listed(inside)}; name one of them")
    what = f"with {_listed(names)}" if names else "with nothing in it"
    raise FileError(folder, f"is a folder {what}, but without weights; name a file of weights")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise FileError(folder, f"cannot be read ({error.strerror})") from error


def _candidates(folder: Path, names: list[str]) -> Iterator[str]:
    """The names of what may be weights; of a TensorFlow checkpoint, its prefix."""
    suffixes = tuple(suffix for suffix in SUFFIXES if suffix != ".npz")
    for name in names:
        if NO_WEIGHTS.match(name) or PARTS.search(name):
            continue
        lower = name.lower()
        if name.endswith(".index") and is_file(index_of(folder / name.removesuffix(".index"))):
            yield name.removesuffix(".index")
        elif lower.endswith((*suffixes, ".npz", ".onnx", ".pkl", INDEX_SUFFIX)):
            yield name


def _is_source(folder: Path) -> bool:
    """Whether a folder inside another is one of weights, by its name and what it has."""
    if folder.is_symlink() or not is_folder(folder):
        return False
    if is_file(folder / DISTRIBUTED_INDEX) or any(is_file(folder / name) for name in USUAL):
        return True
    return is_file(index_of(folder / "variables" / "variables"))


def _one(folder: Path, name: str) -> tuple[str, Path]:
    path = folder / name
    if is_file(index_of(path)):
        return CHECKPOINT, path
    if is_folder(path) and not path.is_symlink():
        return _in_folder(path)
    member(folder, name, folder)
    return (SHARDED, path) if name.endswith(INDEX_SUFFIX) else (detect(path), path)


def _listed(names: list[str]) -> str:
    shown = [name if name.isprintable() else ascii(name) for name in names[:LISTED]]
    return ", ".join(shown) + (", ..." if len(names) > LISTED else "")


# ------------------------------------------------------------------ files that an index names


def member(folder: Path, name: str, path: Path) -> Path:
    """A file of a folder that `path`, an index in it, names.

    Raises:
        FileError: the name leads out of the folder, or to no regular file.
    """
    shown = name if name.isprintable() else ascii(name)
    if not name or name in (".", "..") or re.search(r"[/\\\0]", name):
        raise FileError(path, f"names {shown}, which is not beside it; it is not followed")
    found = folder / name
    try:
        kind = found.stat().st_mode
        target = found.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise FileError(path, f"names {shown}, which is missing") from error
    if not stat.S_ISREG(kind):
        raise FileError(path, f"names {shown}, which is no regular file")
    if target.parent not in _homes(folder):
        raise FileError(path, f"names {shown}, a link out of the folder, which is not followed")
    return found


def _homes(folder: Path) -> list[Path]:
    """Where the files of a folder may be: there, or where Hugging Face's cache keeps them."""
    here = folder.resolve()
    cache = here.parent.parent / "blobs" if here.parent.name == "snapshots" else here
    return [here, cache]


def shards(path: Path) -> dict[Path, list[str]]:
    """The files that an index in JSON names, and the keys in each.

    Raises:
        FileError: it is no such index, or names a file that is not beside it.
    """
    if not is_file(path):
        raise FileError(path, "no such file")
    text = content(path, JSON_LIMIT)
    try:
        index = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(path, "is no index of shards; it is not JSON") from error
    named = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(named, Mapping) or not all(isinstance(v, str) for v in named.values()):
        raise FileError(path, "is no index of shards; it has no weight_map")
    keys: dict[str, list[str]] = {}
    for key, name in named.items():
        keys.setdefault(name, []).append(key)
    return {member(path.parent, name, path): found for name, found in keys.items()}
