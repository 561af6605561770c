"""Pages that show the files which other pages quote, each line with an anchor of its own.

A link in Markdown to a file of this repository leads to such a page, and so does the role

    {source}`torch_impl/layers.py`   {source}`torch_impl/layers.py@Conv`   {source}`text <...>`

whose second form leads to the line where the name is defined.  A line that a page begins to quote
leads back to the place that quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

from docutils import nodes
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from excerpts import Excerpt, ExcerptError, Library
from painted import painted_lines

FOLDER = "source"
# Of a file with more bytes or lines only the beginning is shown, with a copy of the whole.
LONG, LINES = 50_000, 1_000
SHOWN = 20_000  # characters
logger = logging.getLogger(__name__)


def root_of(env: BuildEnvironment) -> Path:
    """The repository, whose `docs` is the source directory."""
    return Path(env.srcdir).parent


def library_of(env: BuildEnvironment) -> Library:
    """The sources of this build."""
    if not hasattr(env, "rosetta_library"):
        env.rosetta_library = Library(root_of(env))
    return env.rosetta_library


def page_of(path: str) -> str:
    """The name of the page that shows a file or a folder."""
    return f"{FOLDER}/{path}"


# By file: a line, the place that quotes it, and its title.
Places = dict[str, list[tuple[int, str, str]]]


def places_of(env: BuildEnvironment) -> dict[str, Places]:
    """What each page links to, by file: the lines that it quotes, and where it does."""
    if not hasattr(env, "rosetta_sources"):
        env.rosetta_sources = {}
    return env.rosetta_sources


def source_link(
    env: BuildEnvironment, docname: str, path: str, line: int, *children: nodes.Node
) -> nodes.reference:
    """A link to a line of a file, or to its top where the line is 0."""
    places_of(env).setdefault(docname, {}).setdefault(path, [])
    link = nodes.reference("", "", *children, internal=True, refuri="")
    link["source"] = (path, line)
    return link


def excerpt_link(
    env: BuildEnvironment, docname: str, excerpt: Excerpt, text: str, row: tuple[str, str]
) -> nodes.Node:
    """A link to the lines of an excerpt, which lead back to the row: its id and its title."""
    link = source_link(env, docname, excerpt.path, excerpt.first, nodes.Text(text))
    places_of(env)[docname][excerpt.path].append((excerpt.first, *row))
    return link


class SourceRole(SphinxRole):
    """A link to a file of this repository, or to a name in it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The link, or a warning."""
        match = re.fullmatch(r"(?s)(.*\S)\s*<(.+)>", self.text)
        text, wanted = match.groups() if match else ("", self.text)
        path, _, name = wanted.partition("@")
        try:
            line = library_of(self.env)[path].symbol(name).first if name else 0
            if not (root_of(self.env) / path).exists():
                raise ExcerptError(f"{path}: no such file")
        except ExcerptError as error:
            logger.warning("%s", error, location=self.get_location(), type="sources")
            return [nodes.literal("", wanted)], []
        label = nodes.Text(text) if text else nodes.literal("", name or path)
        return [source_link(self.env, self.env.docname, path, line, label)], []


class SourceLinks(SphinxTransform):
    """Has links to files of this repository lead to the pages that show them."""

    default_priority = 5  # before Sphinx copies what is downloaded

    def apply(self, **kwargs: object) -> None:
        """Replace the links of a page."""
        root = root_of(self.env)
        here = Path(self.env.doc2path(self.env.docname)).parent
        for node in list(self.document.findall(addnodes.pending_xref)) + list(
            self.document.findall(addnodes.download_reference)
        ):
            target = str(node.get("reftarget", ""))
            is_download = isinstance(node, addnodes.download_reference)
            if not target or not (is_download or node.get("reftype") == "myst"):
                continue
            base = Path(self.env.srcdir) if target.startswith("/") else here
            path = (base / target.lstrip("/")).resolve()
            if path.exists() and path.is_relative_to(root) and path != root:
                children = [child.deepcopy() for child in node.children]
                link = source_link(
                    self.env, self.env.docname, str(path.relative_to(root)), 0, *children
                )
                node.replace_self(link)


def resolve_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give every link to a source its address, seen from the page that it is on."""
    for link in doctree.findall(nodes.reference):
        if "source" in link:
            path, line = link["source"]
            page = app.builder.get_relative_uri(docname, page_of(path))
            link["refuri"] = page + (f"#L{line}" if line else "")


def collect_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, object], str]]:
    """A page for every file and every folder that is linked to."""
    root = root_of(app.env)
    readers: dict[str, list[tuple[int, str, str]]] = {}
    for docname, places in sorted(places_of(app.env).items()):
        is_home = docname == app.config.root_doc  # whose title is long
        page = "Home" if is_home else app.env.titles[docname].astext()
        for path, rows in places.items():
            back = readers.setdefault(path, [])
            for line, anchor, title in rows:
                address = app.builder.get_relative_uri(page_of(path), docname)
                back.append((line, f"{address}#{anchor}", f"{page}: {title}"))
    folders = {path for path in readers if (root / path).is_dir()}
    for folder in folders:
        for name in _names(root / folder):
            readers.setdefault(f"{folder}/{name}", [])
    for path, back in sorted(readers.items()):
        body = _folder(app, path, root) if path in folders else _file(app, path, root, back)
        title = f"<h1><code>{escape(path)}</code></h1>"
        context = {
            "title": path,
            "body": f'<section class="source-page">{title}{body}</section>',
            "toc": "",
            "display_toc": False,
        }
        yield page_of(path), context, "page.html"


def _names(folder: Path) -> list[str]:
    """The files of a folder, but for hidden ones."""
    return sorted(p.name for p in folder.iterdir() if p.is_file() and p.name[0] != ".")


def _folder(app: Sphinx, path: str, root: Path) -> str:
    items = (
        f'<li><a href="{app.builder.get_relative_uri(page_of(path), page_of(f"{path}/{name}"))}">'
        f"<code>{escape(name)}</code></a></li>"
        for name in _names(root / path)
    )
    return f"<ul>{''.join(items)}</ul>"


def _file(app: Sphinx, path: str, root: Path, back: list[tuple[int, str, str]]) -> str:
    content = (root / path).read_bytes()
    try:
        code = content.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        return f"<p>This file is no text. It has {len(content):,} bytes.</p>"
    said, lines = "", code.count("\n") + 1
    if len(content) > LONG or lines > LINES:
        copy = Path(app.outdir) / page_of(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        code = code[:SHOWN].rpartition("\n")[0]
        said = (
            f'<p>The beginning of <a href="{escape(copy.name)}" download>the whole file</a>, '
            f"which has {lines:,} lines and {len(content):,} bytes.</p>"
        )
    try:
        lexer = get_lexer_for_filename(path, stripnl=False, ensurenl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False, ensurenl=False)
    rows = []
    for number, line in enumerate(painted_lines(code, lexer=lexer), 1):
        links = dict.fromkeys((address, row) for first, address, row in back if first == number)
        read = "".join(f'<a class="back" href="{a}">{escape(row)}</a>' for a, row in links)
        # Not by keyboard: a reader would pass a thousand of them on the way to the next page.
        number_link = f'<a href="#L{number}" tabindex="-1">{number}</a>'
        rows.append(f'<span class="line" id="L{number}">{number_link}{read}{line}\n</span>')
    return f'{said}<div class="highlight"><pre>{"".join(rows)}</pre></div>'


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read anew says anew what it links to."""
    places_of(env).pop(docname, None)
    if hasattr(env, "rosetta_library"):
        del env.rosetta_library  # files may have changed as well


def setup(app: Sphinx) -> dict[str, object]:
    """Register the role, the transform and the pages."""
    app.add_role("source", SourceRole())
    app.add_transform(SourceLinks)
    app.connect("doctree-resolved", resolve_links)
    app.connect("html-collect-pages", collect_pages)
    app.connect("env-purge-doc", forget)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 2}
