"""Paper, PyTorch and Keras in one row each.

    ::::::{triptych}
    :torch: torch_impl/efficientnet.py
    :keras: keras_impl/efficientnet.py
    :paper: arXiv 1905.11946
    :concepts: t: expand_ratio | t | expansion ratio; s: stride | s | stride

    :::::{triptych-row} Expand
    :paper: Table 1, "MBConv6"
    :flow: 1x1 expand | C to tC
    :code: expand

    Prose with {con}`ratio <t>`, and $\\con{t}{t}$ in an equation.

    ::::{triptych-bites} The other way round
    What differs, what it costs, and the test that holds it.
    ::::
    :::::
    ::::::

A row is a section: heading, where in the paper, prose and equations, code, what bites, in this
order whatever the order in the file.  `:code:` is what both columns quote, `:torch:` and `:keras:`
what one does, `:spec:` what both programs read and stands across both columns; `excerpts.py` says
how quotations are written.  A symbol is a key, the identifiers that it is in the programs, and then
the TeX and the meaning that the list of symbols has for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from arxiv import address_of
from excerpts import Excerpt, ExcerptError
from generating import FRAMEWORKS, table
from painted import painted_lines
from sources import excerpt_link, library_of, source_link
from symbols import Concept, ConceptRole, all_concepts, check_concepts, parse_concepts

SPEC = "common/spec.py"
PAPERS = {"MobileNetV2": "arXiv 1801.04381", "SENet": "arXiv 1709.01507"}  # by their names
logger = logging.getLogger(__name__)


# ------------------------------------------------------------------ nodes


class tri_box(nodes.General, nodes.Element):  # noqa: N801  (docutils names nodes like this)
    """A box of the page: `tag` and `attributes` are what it is in HTML."""


class tri_code(nodes.literal_block):  # noqa: N801
    """An excerpt; `symbols` are the identifiers in it that light up."""


def box(*children: nodes.Node, name: str, tag: str = "div", **attributes: str) -> tri_box:
    """A box with a class of its own."""
    return tri_box("", *children, classes=[name], tag=tag, attributes=attributes)


def _visit_box(self: HTML5Translator, node: tri_box) -> None:
    # Python's names have no hyphen, and attributes of HTML have.
    attributes = {name.replace("_", "-"): text for name, text in node["attributes"].items()}
    self.body.append(self.starttag(node, node["tag"], **attributes))


def _depart_box(self: HTML5Translator, node: tri_box) -> None:
    self.body.append(f"</{node['tag']}>\n")


def _visit_code(self: HTML5Translator, node: tri_code) -> None:
    lines = node.astext().splitlines()
    painted = [_breakable(line) for line in painted_lines(node.astext(), node["symbols"])]
    # A line is a block that knows its indent (site.css); what is copied of it is the line itself.
    html = "".join(
        f'<span class="line" style="--i:{len(line) - len(line.lstrip())}">{text}\n</span>'
        for line, text in zip(lines, painted, strict=True)
    )
    self.body.append(f'<div class="highlight"><pre>{html}</pre></div>')
    raise nodes.SkipNode


def _breakable(html: str) -> str:
    """A line of a program that may go on below after a parenthesis, and not within an f-string."""
    whole = re.sub(r'<span class="s">f".*?"</span>', r'<span class="whole">\g<0></span>', html)
    return whole.replace("(", "(<wbr>")


# ------------------------------------------------------------------ directives


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


class Triptych(SphinxDirective):
    """The rows of a page, with what they have in common."""

    has_content = True
    option_spec: ClassVar = {
        "paper": directives.unchanged,
        "torch": directives.unchanged,
        "keras": directives.unchanged,
        "concepts": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Flow strip, symbols, column heads, and the rows, which are sections."""
        self.assert_has_content()
        if self.env.docname in all_concepts(self.env):
            raise self.error("a page has one triptych")
        try:
            concepts = parse_concepts(self.options.get("concepts", ""))
        except ValueError as error:
            raise self.error(str(error)) from error
        files = {name: self.options.get(name, "") for name in FRAMEWORKS}
        all_concepts(self.env)[self.env.docname] = concepts
        seen: set[str] = set()
        current = self.env.current_document
        current["triptych"] = (files, concepts, seen, self.options.get("paper", ""))
        rows = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, rows)
        current["triptych"] = None
        for concept in concepts.values():
            if lost := [name for name in concept.identifiers if name not in seen]:
                logger.warning(
                    "symbol %r: %s in no column", concept.key, ", ".join(lost),
                    location=self.get_location(), type="triptych",
                )  # fmt: skip
        sections = [row for row in rows.children if isinstance(row, nodes.section)]
        bar = box(self._heads(files, sections), *self._symbols(concepts), name="tri-bar")
        # The bar stays in view as far as its rows go, which stay sections of the page nevertheless.
        around = (
            nodes.raw("", f"<{tag}>", format="html") for tag in ('div class="tri-rows"', "/div")
        )
        begin, end = around
        return [*self._flow(sections), begin, bar, *rows.children, end]

    def _flow(self, sections: list[nodes.section]) -> Iterable[nodes.Node]:
        items = []
        for row in sections:
            if flow := row.get("flow"):
                name, _, shape = (part.strip() for part in flow.partition("|"))
                link = nodes.reference("", "", nodes.strong("", name), internal=True)
                link["refid"] = row["ids"][0]
                if shape:
                    link += nodes.inline(
                        "", "", *self.parse_inline(shape)[0], classes=["tri-shape"]
                    )
                items.append(nodes.list_item("", nodes.paragraph("", "", link)))
        if items:
            yield box(nodes.enumerated_list("", *items), name="tri-flow")

    def _steps(self, sections: list[nodes.section]) -> Iterable[nodes.Node]:
        """The rows by number, of which the bar shows the one that is read."""
        if len(sections) > 1:
            items = []
            for number, row in enumerate(sections, 1):
                title = row.next_node(nodes.title).astext()
                link = nodes.reference("", str(number), internal=True, refid=row["ids"][0])
                link["reftitle"] = title
                items.append(nodes.list_item("", nodes.paragraph("", "", link)))
            yield box(
                nodes.enumerated_list("", *items), name="tri-steps", tag="nav", aria_label="Steps"
            )

    def _symbols(self, concepts: dict[str, Concept]) -> Iterable[nodes.Node]:
        items = []
        for concept in concepts.values():
            mark = nodes.inline("", "", classes=["con", f"con-{concept.key}"])
            mark += nodes.math("", concept.tex)
            mark += nodes.literal("", concept.identifiers[0])
            items.append(nodes.list_item("", nodes.paragraph("", "", mark)))
        if items:
            label = nodes.paragraph("", "Symbols", classes=["tri-symbols-label"])
            yield box(label, nodes.bullet_list("", *items), name="tri-symbols")

    def _heads(self, files: dict[str, str], sections: list[nodes.section]) -> nodes.Node:
        paper = nodes.paragraph("", "Paper ")
        if number := self.options.get("paper"):
            paper += nodes.reference("", number, internal=False, refuri=address_of(number))
        heads = [box(paper, *self._steps(sections), name="tri-head-paper")]
        for name, path in files.items():
            text = nodes.paragraph("", "", nodes.strong("", FRAMEWORKS[name]))
            if path:
                text += nodes.Text(" ")
                link = source_link(self.env, self.env.docname, path, 0, nodes.literal("", path))
                text += link
            heads.append(box(text, name=f"tri-head-{name}"))
        return box(*heads, name="tri-heads")


def linked_papers(where: str, paper: str) -> str:
    """Where in a paper something is, with links: first to the `paper` of the page, if it begins so.

    `section 4; SENet, section 3` leads to two papers, and `arXiv 1710.05941` to that one.
    """
    text = re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", where)
    for name, number in PAPERS.items():
        text = text.replace(name, f"[{name}]({address_of(number)})", 1)
    if paper:
        own = r"^((?:a line of )?(?:section|Table|figure|equation) [\w.]+)"
        text = re.sub(own, rf"[\1]({address_of(paper)})", text)
    return text


class Row(SphinxDirective):
    """An element of the paper and the code that is it."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {
        "id": directives.unchanged,
        "paper": directives.unchanged_required,
        "flow": directives.unchanged,
        "code": directives.unchanged,
        "torch": directives.unchanged,
        "keras": directives.unchanged,
        "spec": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """The row, as a section."""
        common = self.env.current_document.get("triptych")
        if common is None:
            raise self.error("a row belongs into a triptych")
        if "paper" not in self.options:
            raise self.error(f"row {self.arguments[0]!r} does not say where in the paper it is")
        files, concepts, seen, paper = common
        title, _ = self.parse_inline(self.arguments[0])
        name = self.options.get("id") or nodes.make_id(self.arguments[0])
        heading = nodes.title(self.arguments[0], "", *title)
        row = nodes.section("", heading, ids=[name], names=[name], classes=["tri-row"])
        row["flow"] = self.options.get("flow", "")
        self.set_source_info(row)
        self.set_source_info(heading)
        # Known to Sphinx alone: registered with docutils as well, the label would be there twice.
        self.env.domains.standard_domain.note_hyperlink_target(
            name, self.env.docname, name, heading.astext()
        )
        where = nodes.paragraph("", "", classes=["tri-where"])
        where += self.parse_inline(linked_papers(self.options["paper"], paper))[0]
        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        bites = [node for node in text.children if _is_bites(node)]
        prose = [node for node in text.children if not _is_bites(node)]
        row += box(where, *prose, name="tri-paper")
        symbols = {name: c.key for c in concepts.values() for name in c.identifiers}
        place = (name, heading.astext())
        if "spec" in self.options:
            row += self._column("spec", SPEC, self.options["spec"], symbols, seen, place)
        for framework, path in files.items():
            wanted = self.options.get(framework, self.options.get("code", ""))
            if wanted:
                row += self._column(framework, path, wanted, symbols, seen, place)
        row += bites
        return [row]

    def _column(
        self,
        name: str,
        path: str,
        wanted: str,
        symbols: dict[str, str],
        seen: set[str],
        place: tuple[str, str],
    ) -> nodes.Node:
        excerpts: list[Excerpt] = []
        for item in _listed(wanted):
            try:
                excerpts += library_of(self.env).find(item, path)
            except ExcerptError as error:
                logger.warning("%s", error, location=self.get_location(), type="triptych")
        words = FRAMEWORKS.get(name, "Specification, read by both: ")
        label = nodes.paragraph("", words, classes=["tri-label"])
        if name == "spec":  # which has no head above its column
            path = excerpts[0].path if excerpts else path
            label += source_link(self.env, self.env.docname, path, 0, nodes.literal("", path))
        column = box(label, name="tri-column")
        column["classes"].append(f"tri-{name}")
        for excerpt in excerpts:
            seen.update(re.findall(r"\w+", excerpt.code))
            column += self._excerpt(excerpt, path, symbols, place)
        return column

    def _excerpt(
        self, excerpt: Excerpt, path: str, symbols: dict[str, str], place: tuple[str, str]
    ) -> nodes.Node:
        scope = nodes.inline("", excerpt.scope, classes=["tri-scope"])
        cited = excerpt.lines if excerpt.path == path else f"{excerpt.path} {excerpt.lines}"
        caption = nodes.paragraph("", "", scope, nodes.Text(" "), classes=["tri-caption"])
        caption += excerpt_link(self.env, self.env.docname, excerpt, cited, place)
        code = tri_code(excerpt.code, excerpt.code, language="python", symbols=symbols)
        return box(caption, code, name="tri-excerpt")


class Div(SphinxDirective):
    """A box of the page with a class of its own."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The box."""
        found = box(name=self.arguments[0])
        self.state.nested_parse(self.content, self.content_offset, found)
        return [found]


class Bites(SphinxDirective):
    """Where the two frameworks differ; the title says what is wrong to expect.

    The text names the measured effect, `{fact}`, and the test that holds it, `{pin}`; `:refused:`
    says that there is no effect to measure, because what is wrong fails at once.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {"refused": directives.flag}

    def run(self) -> list[nodes.Node]:
        """The box."""
        self.assert_has_content()
        title = nodes.paragraph("", "", classes=["tri-bites-title"])
        title += nodes.inline("", "Pitfall", classes=["tri-bites-label"])
        title += nodes.Text(" ")
        title += nodes.strong("", "", *self.parse_inline(self.arguments[0])[0])
        bites = box(title, name="tri-bites", tag="aside", aria_label=title.astext())
        bites["named"] = ["pin"] if "refused" in self.options else ["effect", "pin"]
        self.set_source_info(bites)
        self.state.nested_parse(self.content, self.content_offset, bites)
        return [bites]


def _is_bites(node: nodes.Node) -> bool:
    return isinstance(node, tri_box) and "tri-bites" in node["classes"]


# ------------------------------------------------------------------ the list of all symbols


STATED = re.compile(r"(?m)^:?concepts: (?:\|\n((?:  .+\n)+)|(.+))")


class Symbols(SphinxDirective):
    """A table of every symbol of every triptych: `{triptych-symbols}`."""

    def run(self) -> list[nodes.Node]:
        """The table, with the pages that have each symbol."""
        pages: dict[tuple[str, ...], list[str]] = {}
        for page in sorted(self.env.found_docs):
            path = Path(self.env.doc2path(page))
            for found in STATED.finditer(path.read_text(encoding="utf-8")):
                self.env.note_dependency(str(path))
                for symbol in parse_concepts(found[1] or found[2]).values():
                    names = ", ".join(f"`{name}`" for name in symbol.identifiers)
                    pages.setdefault((f"${symbol.tex}$", symbol.meaning, names), []).append(page)
        rows = [
            (*symbol, ", ".join(f"{{doc}}`/{page}`" for page in pages[symbol]))
            for symbol in sorted(pages, key=lambda row: (row[0].lower(), row))
        ]
        head = ("Symbol", "Meaning", "In the programs", "Page")
        return self.parse_text_to_nodes(table(head, rows, "symbols"))


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read anew says anew which symbols it has."""
    all_concepts(env).pop(docname, None)


def setup(app: Sphinx) -> dict[str, object]:
    """Register directives, the role and the nodes."""
    app.add_node(tri_box, html=(_visit_box, _depart_box))
    app.add_node(tri_code, html=(_visit_code, None))
    app.add_directive("div", Div)
    app.add_directive("triptych", Triptych)
    app.add_directive("triptych-row", Row)
    app.add_directive("triptych-bites", Bites)
    app.add_directive("triptych-symbols", Symbols)
    app.add_role("con", ConceptRole())
    app.connect("doctree-read", check_concepts)
    app.connect("env-purge-doc", forget)
    app.add_css_file("site.css")
    app.add_js_file("site.js", loading_method="defer")
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
