"""How the reading room is built: `make docs`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
ROOT = HERE.parent
# The programs of this directory, and the packages that the pages compute their numbers with.
sys.path[:0] = [str(HERE / "_ext"), str(ROOT)]

import efficientnet_rosetta as rosetta  # noqa: E402

project = "efficientnet-rosetta"
author = "The efficientnet-rosetta authors"
project_copyright = author
release = rosetta.__version__

extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "sphinx.ext.napoleon",  # sections such as "Raises:" in docstrings
    "autoapi.extension",
    "katex",
    "arxiv",
    "sources",
    "triptych",
    "facts_ext",
    "breaking",
    "drawing_ext",
    "live_ext",
    "explorer",
    "finding",
    "notebooks",
    "installing",
    "first_met",
]
# claims.md is a part of explore/parity.md.
exclude_patterns = ["_ext", "_static", "_templates", "results", "pictures", "claims.md"]
nitpicky = True
# Annotations name types of other projects, whose pages are not read: that would need the network.
# What is private has no entry.
nitpick_ignore_regex = [
    ("py:.*", r"(?!efficientnet_rosetta\.).*"),
    ("py:.*", r".*\._(util|compat)\..*"),
]

# ------------------------------------------------------------------ Markdown

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 3
myst_dmath_double_inline = True

# ------------------------------------------------------------------ API


def _linked() -> Path:
    """The package as it is imported: its parts lie beside it here, and names come from folders."""
    package = ROOT / "build" / "api" / "efficientnet_rosetta"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    parts = ("common", "torch_impl", "keras_impl", "efficientnet_rosetta/__init__.py")
    for part in parts:
        (package / Path(part).name).symlink_to(ROOT / part)
    return package


autoapi_dirs = [str(_linked())]
autoapi_follow_symlinks = True
autoapi_root = "reference/api"
autoapi_add_toctree_entry = False
autoapi_options = ["members", "show-inheritance", "show-module-summary"]
autoapi_python_class_content = "class"
autoapi_member_order = "bysource"
# Commands are documented by what they print; their signatures are for the command-line library.
autoapi_ignore = ["*/common/cli/*"]
suppress_warnings = ["autoapi.python_import_resolution"]

# ------------------------------------------------------------------ HTML

html_theme = "furo"
templates_path = ["_templates"]
html_math_renderer = "katex"
html_title = "EfficientNet, twice"
html_static_path = ["_static"]
html_css_files = ["home.css", "lineage.css"]
html_search_scorer = str(HERE / "_ext" / "scorer.js")
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_use_index = False  # the search finds all of it; as a page it was heavier than any other
pygments_style = "painted.Light"
pygments_dark_style = "painted.Dark"
copybutton_exclude = ".linenos, .gp, .go"


class Plain(HTML5Translator):
    """As Sphinx writes pages, with less around a word of code and around a cell of a table.

    A page of tables would be half as heavy again.
    """

    def visit_literal(self, node: nodes.literal) -> None:
        """Code within a text: one element, and not another one for each of its words."""
        is_cell = isinstance(node.parent.parent, nodes.entry)
        self.body.append("<code>" if is_cell else self.starttag(node, "code", "", CLASS="literal"))

    def depart_literal(self, node: nodes.literal) -> None:
        """Its end."""
        self.body.append("</code>")

    def visit_paragraph(self, node: nodes.paragraph) -> None:
        """Text that is all of a cell is no paragraph in it."""
        if not self._is_cell(node):
            super().visit_paragraph(node)

    def depart_paragraph(self, node: nodes.paragraph) -> None:
        """Its end."""
        if not self._is_cell(node):
            super().depart_paragraph(node)

    def _is_cell(self, node: nodes.paragraph) -> bool:
        return isinstance(node.parent, nodes.entry) and len(node.parent) == 1

    def depart_entry(self, node: nodes.entry) -> None:
        """The end of a cell, which HTML need not say."""
        self.body.append(self.context.pop().replace("</td>", ""))

    def visit_row(self, node: nodes.row) -> None:
        """A row, which has no colour of its own here."""
        node.column = 0  # type: ignore[attr-defined]
        self.body.append(self.starttag(node, "tr", ""))


def _as_rest(app: object, what: str, name: str, obj: object, options: object, lines: list) -> None:
    """Docstrings quote code with one backtick, and programs by indenting them alone.

    reStructuredText wants two, and two colons.
    """
    for number in reversed(range(2, len(lines))):
        line, before, above = lines[number], lines[number - 1], lines[number - 2]
        if line.startswith("    ") and not before and above and not above.startswith(" "):
            lines[number:number] = ["::", ""]
    is_quoted = False
    for number, line in enumerate(lines):
        is_quoted = line == "::" or (is_quoted and (not line or line.startswith(" ")))
        if is_quoted:
            continue
        parts = re.split(r"(`[^`]+`)", line)
        lines[number] = "".join(
            f"`{part}`" if part.startswith("`") else re.sub(r"(\w)_(?!\w)", r"\1\\_", part)
            for part in parts
        )


def _plain_aliases(app: Any, doctree: nodes.document) -> None:
    """Names for types have no entry of their own, and may be those of a class elsewhere."""
    known = app.env.autoapi_all_objects
    for link in list(doctree.findall(addnodes.pending_xref)):
        if link["refdomain"] == "py":
            target = link["reftarget"]
            names = (target, f"{link.get('py:module')}.{target}")
            if any(name in known and known[name].type == "data" for name in names):
                link.replace_self(link.children)


def _plain_captions(app: object, page: str, template: str, context: dict, doctree: object) -> None:
    """The captions of the menu are called headings, but have no level: they are plain text here."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace(' role="heading"', "")


def _short_menu(
    app: object, page: str, template: str, context: dict[str, Any], tree: object
) -> None:
    """List the modules of the API below the page that is shown, and not on every other.

    To put all of them into the menu of every page takes half of the time of a build.
    """
    whole = context.get("toctree")
    if whole is not None:
        context["toctree"] = lambda **options: whole(**{**options, "collapse": True})


def setup(app: object) -> None:
    """Have docstrings read as they are written, and the menu be what it says."""
    app.set_translator("html", Plain)
    app.connect("autodoc-process-docstring", _as_rest, priority=400)  # before napoleon
    app.connect("doctree-read", _plain_aliases)
    app.connect("html-page-context", _short_menu, priority=400)  # before the theme
    app.connect("html-page-context", _plain_captions, priority=900)  # after the theme
