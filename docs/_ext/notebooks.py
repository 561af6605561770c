"""The notebooks of `examples/`: what they are called, where each opens, and how long it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from efficientnet_rosetta import __version__
from facts import RESULTS, ROOT, project, result
from generating import rows_of

EXAMPLES = ROOT / "examples"
RESULT = RESULTS / "notebooks.json"
REPOSITORY: str = project()["urls"]["Repository"]
# What a notebook installs where the package is not there: this release, as the notebook is of it.
PACKAGE = f"git+{REPOSITORY}@v{__version__}"
NAMES = ("read_mbconv", "bring_your_checkpoint", "train_both")  # in the order of the page


def path_of(name: str) -> Path:
    """The file of a notebook.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"there is no notebook {name!r}; choose from {', '.join(NAMES)}")
    return EXAMPLES / f"{name}.ipynb"


@cache
def title(name: str) -> str:
    """The heading that a notebook begins with."""
    first = json.loads(path_of(name).read_text(encoding="utf-8"))["cells"][0]["source"][0]
    return str(first).removeprefix("# ").strip()


def address(name: str) -> str:
    """Where a notebook opens in Colab: the file of this release, from its repository."""
    place = REPOSITORY.removeprefix("https://github.com/")
    file = path_of(name).relative_to(ROOT).as_posix()
    return f"https://colab.research.google.com/github/{place}/blob/v{__version__}/{file}"


@rows_of("notebooks")
def notebooks() -> Iterator[dict[str, Any]]:
    """Every notebook with its minutes, its file, and a link that opens it."""
    seconds = result("notebooks")["seconds"]
    for name in NAMES:
        minutes = max(1, round(seconds[name] / 60))
        yield {"name": name, "title": title(name), "minutes": minutes, "address": address(name)}
