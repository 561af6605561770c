"""The classes of ImageNet in the order of a network's outputs, with their identifiers in WordNet.

The data and where it is from: README.md beside this file.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..network import IMAGENET_CLASSES

DATA = Path(__file__).with_name("imagenet.tsv.gz")
WNID = re.compile(r"n\d{8}")  # of a noun in WordNet
BACKGROUND = "background"
# By the number of classes: the letter in the data, and what people call the list.
LISTS = {
    IMAGENET_CLASSES: ("k", "ImageNet-1k"),
    11821: ("t", "ImageNet-12k"),
    21841: ("f", "ImageNet-22k"),
    21843: ("g", "ImageNet-21k"),
}


@dataclass(frozen=True)
class ClassList:
    """A published list of classes, in the order of the outputs.

    `names` are all words of a class, `tench, Tinca tinca`; `words` are what tells it from the other
    classes of the list in short: the first of them where no other class has the same.
    """

    title: str
    wnids: tuple[str | None, ...]  # None of a background class
    names: tuple[str, ...]
    words: tuple[str, ...]


@cache
def published(classes: int) -> ClassList | None:
    """The list of ImageNet that has so many classes; None if there is none.

    1,001 are the 1,000 after a background class.
    """
    if classes == IMAGENET_CLASSES + 1:
        return _after_background(IMAGENET_CLASSES)
    if classes not in LISTS:
        return None
    letter, title = LISTS[classes]
    rows = [(wnid, names) for wnid, (lists, names) in _synsets().items() if letter in lists]
    wnids, names = zip(*rows, strict=True)
    return ClassList(title, wnids, names, _words(wnids, names))


def words_of(wnids: Sequence[str]) -> tuple[str, ...] | None:
    """What the classes with these identifiers are called; None where one of them is unknown."""
    known = _synsets()
    if not all(wnid in known for wnid in wnids):
        return None
    return _words(wnids, [known[wnid][1] for wnid in wnids])


def _after_background(classes: int) -> ClassList | None:
    found = published(classes)
    assert found is not None
    return ClassList(
        f"{found.title} with a background class",
        (None, *found.wnids),
        (BACKGROUND, *found.names),
        (BACKGROUND, *found.words),
    )


@cache
def _synsets() -> dict[str, tuple[str, str]]:
    """By identifier the letters of its lists and its words."""
    lines = gzip.decompress(DATA.read_bytes()).decode("ascii").splitlines()
    rows = (line.split("\t") for line in lines)
    return {wnid: (lists, names) for wnid, lists, names in rows}


def _words(wnids: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The first word of each class, or more where that is another one's too: `crane` is two."""
    first = [name.partition(",")[0] for name in names]
    shared, same = (Counter(map(str.casefold, texts)) for texts in (first, names))
    found = []
    for wnid, word, name in zip(wnids, first, names, strict=True):
        if shared[word.casefold()] == 1:
            found.append(word)
        elif same[name.casefold()] == 1:
            found.append(name)
        else:
            found.append(f"{name} ({wnid})")
    return tuple(found)
