"""Writes common/classes/imagenet.tsv.gz from the lists of classes that timm brings along.

python docs/classes.py
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

DATA = Path(__file__).parents[1] / "common" / "classes" / "imagenet.tsv.gz"
# timm's files by the letter of the list in the data.
LISTS = {
    "k": "imagenet_synsets.txt",
    "t": "imagenet12k_synsets.txt",
    "f": "imagenet22k_synsets.txt",
    "g": "imagenet21k_goog_synsets.txt",
}
WORDS = "imagenet_synset_to_lemma.txt"


def main() -> None:
    """Write the file; the same lists make the same bytes."""
    DATA.write_bytes(gzip.compress(text().encode("ascii"), mtime=0))


def text() -> str:
    """A line for each synset: identifier, letters of its lists, words."""
    folder = _lists()
    words = dict(line.split("\t") for line in _lines(folder / WORDS))
    members = {letter: set(_lines(folder / name)) for letter, name in LISTS.items()}
    rows = []
    for wnid in sorted(set().union(*members.values())):
        letters = "".join(letter for letter, wnids in members.items() if wnid in wnids)
        rows.append(f"{wnid}\t{letters}\t{words[wnid]}\n")
    return "".join(rows)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _lists() -> Path:
    """The folder of timm's lists; timm itself, which imports PyTorch, is not imported."""
    found = find_spec("timm")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("timm is not installed")
    return Path(found.origin).parent / "data" / "_info"


if __name__ == "__main__":
    main()
