"""The forms in which files state the names of their classes, as one table: number and label.

They are a list in the order of the outputs, `["ant", "bee"]`; numbers by name, as in
class_indices.json, `class_to_idx` and `label2id`, `{"ant": 0, "bee": 1}`; names by number, as in
`id2label`, `{"0": "ant", "1": "bee"}`; and either of the two with pairs of an identifier of WordNet
and a name, as in Keras's imagenet_class_index.json, `{"0": ["n02219486", "ant"]}`.  In timm's
config.json, names are in `label_names`, and what they stand for in `label_descriptions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._util.arguments import whole
from .imagenet import WNID, words_of

# Keys of a configuration, or of a dictionary around weights, in the order in which they count.
LABELS = (
    "class_names",
    "label_names",
    "id2label",
    "idx_to_class",
    "class_to_idx",
    "class_indices",
    "label2id",
    "labels",
    "classes",
)
DESCRIPTIONS = "label_descriptions"
MOST = 2**17  # classes


@dataclass(frozen=True)
class Label:
    """What a class is called, and its identifier in WordNet where that is stated."""

    name: str
    wnid: str | None = None


def labels(said: Any) -> dict[int, Label]:
    """The labels by the number of their class; a number may be without one.

    Raises:
        ValueError: the data is in none of the forms, or gives a number twice.
    """
    if isinstance(said, Mapping):
        rows = list(_numbered(said))
    elif isinstance(said, list | tuple):
        rows = list(enumerate(said))
    else:
        raise ValueError(f"a {type(said).__name__} is no table of classes")
    found = {number: _label(value) for number, value in rows}
    if not found:
        raise ValueError("it has no classes")
    if len(rows) > MOST:
        raise ValueError(f"it has more than {MOST:,} classes")
    if len(found) < len(rows):
        raise ValueError("two classes have one number")
    return found


def table(config: Mapping[str, Any], key: str) -> dict[int, Label]:
    """The labels that a configuration has under a key; none where what it has there is no table.

    Raises:
        ValueError: it is a table, but not of classes.
    """
    said = config.get(key)
    if not isinstance(said, Mapping | list | tuple) or not said:
        return {}  # `classes` is a number as often as it is names
    found, descriptions = labels(said), config.get(DESCRIPTIONS)
    if not isinstance(descriptions, Mapping):
        return found
    return {number: _described(label, descriptions) for number, label in found.items()}


def in_words(found: Mapping[int, Label]) -> dict[int, Label]:
    """The labels, with words for those that are nothing but identifiers of WordNet."""
    wnids = [label.wnid for label in found.values() if label.wnid == label.name]
    words = words_of([wnid for wnid in wnids if wnid]) if len(wnids) == len(found) else None
    if words is None:
        return dict(found)
    pairs = zip(found.items(), words, strict=True)
    return {number: Label(word, label.wnid) for (number, label), word in pairs}


def _numbered(said: Mapping[Any, Any]) -> Iterator[tuple[int, Any]]:
    """Number and label of each entry, whichever of the two is the key."""
    values = [whole(value) for value in said.values()]
    if None not in values:
        yield from zip((value for value in values if value is not None), said, strict=True)
        return
    for key, value in said.items():
        text = str(key)
        if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST))):
            raise ValueError(f"{key!r} has the value {value!r}, and neither is a number")
        yield int(text), value


def _label(value: Any) -> Label:
    """A name, or an identifier of WordNet and a name."""
    match value:
        case str():
            return Label(value, value if WNID.fullmatch(value) else None)
        case [str() as wnid, str() as name] if WNID.fullmatch(wnid):
            return Label(name, wnid)
        case _:
            raise ValueError(f"{value!r} is no name of a class")


def _described(label: Label, descriptions: Mapping[Any, Any]) -> Label:
    said = descriptions.get(label.name)
    return Label(said, label.wnid) if isinstance(said, str) else label
