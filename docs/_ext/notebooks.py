"""The notebooks of `examples/`: what they are called, and where each opens in Colab.

    {notebook}`read_mbconv`     its title, linked to Colab

and, as something generated, a table of all of them with the minutes that each takes.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from efficientnet_rosetta import __version__
from generating import generated, table

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
RESULT = ROOT / "docs" / "results" / "notebooks.json"
REPOSITORY: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"][
    "Repository"
]
# What a notebook installs where the package is not there: this release, as the notebook is of it.
PACKAGE = f"git+{REPOSITORY}@v{__version__}"
NAMES = ("read_mbconv", "bring_your_checkpoint", "train_both")  # in the order of the page

log = logging.getLogger(__name__)


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


@generated("notebooks")
def notebooks() -> str:
    """Every notebook with its minutes, its file, and a link that opens it."""
    seconds = json.loads(RESULT.read_text(encoding="utf-8"))["seconds"]
    rows = [
        (
            title(name),
            str(max(1, round(seconds[name] / 60))),
            f"[Colab]({address(name)})",
            f"{{source}}`file <examples/{name}.ipynb>`",
        )
        for name in NAMES
    ]
    return table(("Notebook", "Minutes", "Open in", "Read the"), rows)


class NotebookRole(SphinxRole):
    """A notebook by its name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """A link that opens it, or a warning."""
        try:
            link = nodes.reference("", title(self.text), refuri=address(self.text))
        except ValueError as error:
            log.warning("%s", error, location=self.get_location())
            return [nodes.literal("", self.text)], []
        return [link], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role; importing this module registered the table."""
    app.add_role("notebook", NotebookRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
