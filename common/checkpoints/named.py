"""What the classes of a file of weights are called: as it says itself, or something beside it does.

Where nothing does, the outputs may be as many as ImageNet has classes.  That the names are then
ImageNet's is an assumption, and is told as one.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .._util.files import content, is_file, is_folder, is_there, opened
from ..classes.forms import DESCRIPTIONS, LABELS, Label, in_words, labels, table
from ..classes.imagenet import published
from ..errors import DamagedFileError, FileError, RosettaError, UsageError, reason
from ..weights.metadata import CLASS_NAMES, FORMAT
from .formats.detect import TFLITE_SIGNATURE
from .published import RECORD_SAYS
from .stated import CONFIG_FILE, neighbour

if TYPE_CHECKING:
    from ..catalogue.records import Record
    from ..network import Network
    from .identify import Match
    from .load import LoadedWeights

CLASSES = "class_indices.json"  # which a training run, and many a library, keeps beside weights
KERAS_INDEX = "imagenet_class_index.json"  # which Keras keeps beside all of its weights
LIMIT = 2**24  # bytes of a table of classes
CARRIED = 2**15  # bytes of names in metadata: an attribute of HDF5 ends at twice as many
NUMBERS, IMAGENET = "numbers", "imagenet"  # what may be asked for in place of a file
THE_FILE = "the file of weights"
CONFIG_LABELS = ("id2label", "label_names", "labels")  # the last is what timm once called them
# What zipfile raises on a damaged member, or on one that is encrypted or of an unknown kind.
ZIP_TROUBLE = (zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError)
SYNSET_LINE = re.compile(r"(n\d{8})\s+(\S.*)")


@dataclass(frozen=True)
class ClassNames:
    """What the classes are called, in the order of the outputs, and who says so.

    `source` is a phrase, such as "class_indices.json" or "the file of weights"; None where the
    names are numbers because nobody says more.  `assumed` is set where nothing but the number of
    the classes speaks for the names.
    """

    labels: tuple[Label, ...]
    source: str | None
    assumed: bool = False


def class_names(found: LoadedWeights, classes: int, given: str | Path | None = None) -> ClassNames:
    """What the classes of weights are called, of which there are so many.

    `given` is a file of names, "imagenet" for those of its lists that has as many classes, or
    "numbers".  Without it, what the file says counts before what is beside it: class_indices.json,
    config.json, imagenet_class_index.json, in this order.

    Raises:
        FileError: a table of classes cannot be read, or is of other classes than the weights.
        UsageError: no list of ImageNet has so many classes.
    """
    if given == NUMBERS:
        return _numbers(classes)
    if given == IMAGENET:
        return _imagenet(classes, found.path)
    if given is not None:
        return _of_file(Path(given), classes, found.path)
    if said := _known_names(found.path, classes, found.metadata, found.record):
        return said
    # A training run of this project names its classes where they have names.
    ours = found.family is not None
    if ours or found.activation == "sigmoid" or published(classes) is None:
        return _numbers(classes)
    return _imagenet(classes, found.path, assumed=True)


def _known_names(
    path: Path, classes: int, metadata: Mapping[str, str], record: Record | None
) -> ClassNames | None:
    """What a file, or a file beside it, calls its classes, or else what its record trained it on.

    Raises:
        FileError: a table beside it cannot be read, or is of other classes.
    """
    said = stated_names(path, classes, metadata)
    if said is not None or record is None or published(classes) is None:
        return said
    return replace(_imagenet(classes, path), source=RECORD_SAYS)


def stated_names(path: Path, classes: int, metadata: Mapping[str, str]) -> ClassNames | None:
    """What a file of weights with such metadata, or a file beside it, calls its classes.

    Raises:
        FileError: a table beside it cannot be read, or is of other classes.
    """
    return (
        _in_metadata(metadata, classes)
        or _packed(path, classes)
        or _in_indices(path, classes)
        or _in_config(path, classes)
        or _in_keras_index(path, classes)
    )


def folder_names(path: str | Path, metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The folders that a training run had its classes in, in their order; None if nobody says so.

    Raises:
        FileError: what a file of ours, or `class_indices.json` beside the weights, says of them
            cannot be read.
    """
    if metadata.get("format") != FORMAT or CLASS_NAMES not in metadata:
        return indexed_names(path)  # anybody else's names need not be those of folders
    try:
        found = labels(json.loads(metadata[CLASS_NAMES]))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(
            path, f"the names of the classes in it are damaged ({reason(error)})"
        ) from error
    return tuple(found[number].name for number in sorted(found))


def indexed_names(path: str | Path) -> tuple[str, ...] | None:
    """The names of the classes, in order, from `class_indices.json` beside a file of weights.

    Raises:
        FileError: it is there but cannot be read.
    """
    index = _folder(Path(path)) / CLASSES
    if not is_there(index):
        return None
    found = _read(index)
    if sorted(found) != list(range(len(found))):
        raise DamagedFileError(index, "does not number its classes from 0 on")
    return tuple(found[number].name for number in range(len(found)))


def carried_names(found: Match, target: Network, *, new_head: bool) -> dict[str, str]:
    """The entry of a file's metadata that keeps the names of its classes, for what is made of it.

    None goes with a classifier that is new or left out.  Names that are too many for the metadata
    of every format stay behind, and so does what cannot be read beside the source: a file can be
    ported without its names.
    """
    classes = found.network.num_classes
    if new_head or classes is None or classes != target.num_classes:
        return {}
    try:
        checkpoint = found.checkpoint
        said = _known_names(checkpoint.path, classes, checkpoint.metadata, found.record)
    except RosettaError:
        return {}
    if said is None:
        return {}
    # Identifiers of WordNet say more than words: these follow from them.
    wnids = [label.wnid for label in said.labels]
    text = json.dumps([label.name for label in said.labels] if None in wnids else wnids)
    return {CLASS_NAMES: text} if len(text) <= CARRIED else {}


# ------------------------------------------------------------------ in the file


def _in_metadata(metadata: Mapping[str, str], classes: int) -> ClassNames | None:
    """What is under one of the usual keys, if it is names for as many classes.

    Anybody may have meant something else by such a key: what makes no sense is passed over.
    """
    config = {}
    for key in (*LABELS, DESCRIPTIONS):
        with suppress(ValueError, RecursionError):
            config[key] = json.loads(metadata.get(key, "null"))
    for key in LABELS:
        with suppress(ValueError):
            found = table(config, key)
            if _fits(found, classes):
                return _named(found, classes, THE_FILE)
    return None


def _packed(path: Path, classes: int) -> ClassNames | None:
    """What a list of labels says that was packed into a TensorFlow Lite file, as a zip archive."""
    if not is_file(path):
        return None
    with opened(path) as file:
        if file.read(8)[4:] != TFLITE_SIGNATURE:
            return None
        with suppress(zipfile.BadZipFile, *ZIP_TROUBLE), zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".txt") and info.file_size <= LIMIT:
                    found = _lines(archive.read(info))
                    if _fits(found, classes):
                        return _named(found, classes, f"{info.filename} in {THE_FILE}")
    return None


# ------------------------------------------------------------------ beside the file


def _in_indices(path: Path, classes: int) -> ClassNames | None:
    names = indexed_names(path)
    if names is None:
        return None
    if len(names) != classes:
        raise FileError(path, f"has {classes} classes, but {CLASSES} beside it {len(names)}")
    return _named(_read(_folder(path) / CLASSES), classes, CLASSES)


def _in_config(path: Path, classes: int) -> ClassNames | None:
    """transformers' `id2label`, or timm's `label_names`."""
    said = neighbour(path)
    inner = said.get("pretrained_cfg")
    for config in (said, inner if isinstance(inner, Mapping) else {}):
        for key in CONFIG_LABELS:
            where = _folder(path) / CONFIG_FILE
            try:
                found = table(config, key)
            except ValueError as error:
                raise DamagedFileError(
                    where, f"its {key} is no table of classes ({reason(error)})"
                ) from error
            # timm leaves out the numbers of classes that there are none of.
            if found and (max(found) >= classes or (key == "id2label" and len(found) < classes)):
                raise FileError(
                    path,
                    f"has {classes} classes, but {key} of {CONFIG_FILE} beside it {len(found)}",
                )
            if found:
                return _named(found, classes, f"{key} of {CONFIG_FILE}")
    return None


def _in_keras_index(path: Path, classes: int) -> ClassNames | None:
    """Keras keeps one table beside weights of any number of classes."""
    index = _folder(path) / KERAS_INDEX
    if not is_there(index):
        return None
    found = _read(index)
    return _named(found, classes, KERAS_INDEX) if _fits(found, classes) else None


def _of_file(path: Path, classes: int, weights: Path) -> ClassNames:
    """The names in a file that somebody gave: in any of the forms, or one in a line."""
    found = _read(path)
    if not _fits(found, classes):
        raise FileError(
            path, f"names {len(found)} classes, but {weights} has {classes}", argument="names"
        )
    return _named(found, classes, path.name)


# ------------------------------------------------------------------ parts of these


def _numbers(classes: int) -> ClassNames:
    return ClassNames(tuple(Label(str(number)) for number in range(classes)), None)


def _imagenet(classes: int, weights: Path, assumed: bool = False) -> ClassNames:
    found = published(classes)
    if found is None:
        raise UsageError(
            f"{weights} has {classes} classes, and no list of ImageNet's has as many; name a file "
            f"of their names, or {NUMBERS}",
            argument="names",
        )
    pairs = zip(found.words, found.wnids, strict=True)
    return ClassNames(tuple(Label(*pair) for pair in pairs), found.title, assumed)


def _folder(path: Path) -> Path:
    return path if is_folder(path) else path.parent


def _fits(found: Mapping[int, Label], classes: int) -> bool:
    return len(found) == classes and max(found) < classes


def _named(found: Mapping[int, Label], classes: int, source: str) -> ClassNames:
    found = in_words(found)
    return ClassNames(
        tuple(found.get(number) or Label(str(number)) for number in range(classes)), source
    )


def _read(path: Path) -> dict[int, Label]:
    """A table of classes: JSON in any of the forms, or a name in a line.

    Raises:
        FileError: it cannot be read as one.
    """
    found = content(path, LIMIT)
    try:
        if found.lstrip()[:1] not in (b"{", b"[") and path.suffix != ".json":
            return _lines(found)
        said = json.loads(found)
        inner = (table(said, key) for key in LABELS) if isinstance(said, dict) else ()
        return next(filter(None, inner), None) or labels(said)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, f"is not a table of classes ({reason(error)})") from error


def _lines(text: bytes) -> dict[int, Label]:
    """A name in a line, perhaps after its identifier: `n01440764 tench, Tinca tinca`.

    Raises:
        ValueError: it is no text.
    """
    found = {}
    for number, line in enumerate(text.decode("utf-8-sig").rstrip().split("\n")):
        row = SYNSET_LINE.fullmatch(line.strip())
        found[number] = Label(row[2], row[1]) if row else labels([line.strip()])[0]
    return found
