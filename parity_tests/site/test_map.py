"""The maps of the papers: every name and page in them exists, and no public name is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from docutils import nodes
from docutils.utils import new_document

from arxiv import link_papers
from efficientnet_rosetta.common.architectures import ARCHITECTURES
from efficientnet_rosetta.common.spec import HEAD_CHANNELS, PRESETS, STEM_CHANNELS, TABLE_1
from excerpts import ExcerptError, Source
from paper_map import DATA, ORDER, REASONS, mapped, papers, reasons
from parity_tests.site.conftest import ROOT
from scaled import ALONE
from tables import GENERATED
from tables_of_reading import guarded

PACKAGES = ("torch_impl", "keras_impl")
SHARED = ("common/network.py", "common/blocks.py")  # what several networks are made of
SPECS = (*SHARED, *(paper.spec for paper in papers().values()))
ANSWERING = [
    path.relative_to(ROOT).as_posix()
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("*.py"))
]


def public(path: str) -> set[str]:
    """Functions and classes at the top of a file; of a specification, constants and types too."""
    source = Source(ROOT, path)
    return {
        name
        for name, node in source.symbols.items()
        if "." not in name
        and not name.startswith("_")
        and (path in SPECS or isinstance(node, ast.ClassDef | ast.FunctionDef))
    }


def excused() -> dict[str, set[str]]:
    """Names that have a reason, by file."""
    found: dict[str, set[str]] = {}
    for reason in reasons():
        for path, _, name in (item.partition("@") for item in reason.names):
            found.setdefault(path, set()).add(name)
    return found


WHOLE = {path for reason in reasons() for path in reason.paths}


def unexplained(path: str, names: set[str]) -> set[str]:
    """Public names that are neither in a map nor excused."""
    if path in WHOLE:
        return set()
    return names - mapped().get(path, set()) - excused().get(path, set())


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("path", [*SPECS, *ANSWERING])
def test_every_public_name_is_in_a_map_or_has_a_reason(path):
    names = public(path)
    assert names
    assert unexplained(path, names) == set()
    new = {"something_new"}
    assert unexplained(path, {*names, *new}) == (set() if path in WHOLE else new)


def test_no_file_of_a_network_is_excused_whole():
    """Layers, blocks and networks are told name by name; what is excused whole is there."""
    files = {"layers.py", "blocks.py", "optimizer.py", *(f"{name}.py" for name in ARCHITECTURES)}
    assert not {f"{package}/{name}" for package in PACKAGES for name in files} & WHOLE
    assert set(ANSWERING) >= WHOLE
    assert {f"common/{name}.py" for name in ARCHITECTURES} - set(SPECS) == {
        "common/efficientnet.py"
    }


def test_every_name_exists():
    named = {path: set(names) for path, names in excused().items()}
    for path, names in mapped().items():
        named.setdefault(path, set()).update(names)
    assert {"common/counting.py", "torch_impl/optimizer.py", "keras_impl/blocks.py"} <= set(named)
    for path, names in named.items():
        source = Source(ROOT, path)
        for name in names:
            source.symbol(name)
        with pytest.raises(ExcerptError):
            source.symbol("nothing")


def test_nothing_is_both_in_a_map_and_of_no_paper():
    for path, names in excused().items():
        assert names <= public(path), path
        assert not names & mapped().get(path, set()), path
    whole = [path for reason in reasons() for path in reason.paths]
    assert len(whole) == len(set(whole))
    assert all(reason.why and (reason.names or reason.files) for reason in reasons())


# ------------------------------------------------------------------ elements


def test_every_paper_and_every_program_without_one_has_a_map():
    assert {path.stem for path in DATA.iterdir()} == {*ORDER, REASONS}
    sources = r"arXiv \d{4}\.\d{5}|tensorflow/tpu, efficientnet/\w+|timm, models/\w+\.py"
    for paper in papers().values():
        assert re.fullmatch(sources, paper.source), paper.source
        assert paper.address.startswith("https://")
        assert bool(paper.parts) == paper.source.startswith("arXiv")
        if paper.parts:
            assert paper.address == "https://arxiv.org/abs/" + paper.source.removeprefix("arXiv ")
    programs = {paper.programs for paper in papers().values()}
    assert programs == {f"{name}.py" for name in ARCHITECTURES}


@pytest.mark.parametrize("name", ORDER)
def test_every_row_answers_and_says_where_in_the_paper(name):
    paper = papers()[name]
    where = r"(Section|Table|Figure) \d" if paper.parts else r"\w+\.(md|py), \S|_?[\w]+"
    for element in paper.elements:
        assert element.spec or element.programs, element
        assert re.match(where, element.paper), element
        assert element.what
    told = {(element.paper, element.what) for element in paper.elements}
    assert len(told) == len(paper.elements)
    assert all(why.endswith(".") for why in paper.left_out.values())


def anchors(text: str) -> set[str]:
    """The rows of a triptych by their ids, and the headings as they are linked to."""
    titles = re.findall(r"(?m)^#+ (.+)$|\{triptych-row\} (.+)$", text)
    words = (re.sub(r"[^\w\- ]", "", "".join(pair).lower()).strip() for pair in titles)
    return {word.replace(" ", "-") for word in words} | set(re.findall(r"(?m)^:id: (\S+)$", text))


@pytest.mark.parametrize("name", ORDER)
def test_every_page_exists(name):
    for element in papers()[name].elements:
        page, _, anchor = element.page.partition("#")
        text = (ROOT / "docs" / f"{page}.md").read_text()
        assert not anchor or anchor in anchors(text), element


def numbers(word: str, said: str) -> Iterator[int]:
    """The numbers that a text names of something: "tables 5 and 6", "figures 1, 2 and 3"."""
    for listed in re.findall(rf"{word}s? ((?:\d[\d.]*(?:, | and )?)+)", said):
        yield from (int(number) for number in re.findall(r"(\d+)(?:\.\d)*", listed))


def unanswered(name: str, but: str = "") -> list[str]:
    """What a paper numbers and its map neither answers nor leaves out, without one such entry."""
    paper = papers()[name]
    told = [*(element.paper for element in paper.elements), *paper.left_out]
    said = " ".join(text for text in told if text != but).lower()
    return [
        f"{word} {number}"
        for word, last in paper.parts.items()
        for number in range(2 if word == "section" else 1, last + 1)
        if number not in set(numbers(word, said))
    ]


@pytest.mark.parametrize(
    ("name", "entry", "lost"),
    [
        ("efficientnet", "Section 6, figure 8", ["figure 8"]),
        ("efficientnet_v2", "Section 6.1, Table 10", ["table 10"]),
        ("xception", "Section 2", ["section 2"]),
    ],
)
def test_sections_of_a_paper_are_answered_or_left_out(name, entry, lost):
    """All but the introduction, tables and figures, and equations."""
    assert unanswered(name) == []
    assert unanswered(name, but=entry) == lost


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("efficientnet", ("section 1, figure 2", "figure 7", "early stopping", "table 7")),
        ("efficientnet_v2", ("progressive", "early stopping", "table 4", "table 6", "mixup")),
        ("xception", ("table 3", "figure 9", "figure 10", "polyak")),
    ],
)
def test_what_the_tools_answer_is_not_left_out(name, answered):
    told = " ".join(f"{e.paper} {e.what}".lower() for e in papers()[name].elements)
    assert [words for words in answered if words not in told] == []


# ------------------------------------------------------------------ the tables on scaling


def test_the_90_percent_rule_acts_once_in_the_released_networks():
    """In stage 2 of B3, as the page says."""
    text = GENERATED["rounded channels"]()
    (bold,) = re.findall(r"\*\*(.+?)\*\*", text)
    assert bold == "19.2 → 24"
    assert "| 2 | 16 | 17.6 → 16 | **19.2 → 24** |" in text
    channels = (STEM_CHANNELS, *(stage.channels for stage in TABLE_1), HEAD_CHANNELS)
    acts = [(p.name, c) for p in PRESETS.values() for c in channels if guarded(c, p.width)]
    assert acts == [("b3", 16)]


def test_the_networks_of_table_7_cost_about_the_same():
    lines = [line.split(" | ") for line in GENERATED["scaling alone"]().splitlines()]
    rows = [line for line in lines if len(line) == 5][2:]
    assert len(rows) == len(ALONE)
    costs = [float(row[2].removesuffix(" G")) for row in rows[1:]]
    assert max(costs) / min(costs) < 1.3
    parameters = {row[0].removeprefix("| "): row[1] for row in rows}
    assert parameters["depth ×1.4, width ×1.2, resolution ×1.3"] == "12,233,232"  # B3's
    assert parameters["resolution ×2"] == parameters["B0"] == "5,288,548"


def test_predicted_and_counted_costs():
    """B1's own numbers, by hand: 1.1 * (240 / 224)^2, and 686,802,832 / 385,814,752."""
    rows = [line for line in GENERATED["scaling cost"]().splitlines() if line.startswith("| B1 ")]
    assert rows == ["| B1 | ×1.1 | 23 | ×1.44 | 0.687 G | ×1.26 | ×1.78 | 1.41 |"]


def test_the_table_has_inputs_and_outputs():
    text = GENERATED["table 1"]()
    assert "| 3 | MBConv6, k3×3 | 112×112 | 56×56 | 24 | 2 | 2 | 16,714 |" in text
    assert "| 6 | MBConv6, k5×5 | 14×14 | 14×14 | 112 | 3 | 1 | 543,148 |" in text


# ------------------------------------------------------------------ links to papers


def linked(paragraph: nodes.Node) -> list[str]:
    """Where the papers that a paragraph names lead."""
    document = new_document("page")
    document += paragraph
    link_papers(None, document)
    assert document.astext() == paragraph.astext()
    return [link["refuri"] for link in document.findall(nodes.reference)]


def test_a_paper_that_is_named_is_linked_once():
    text = "In arXiv 1905.11946, section 4, and in arXiv 1709.01507; 1905.11946 is no link"
    address = "https://arxiv.org/abs/"
    both = [f"{address}1905.11946", f"{address}1709.01507"]
    assert linked(nodes.paragraph("", text)) == both
    inside = nodes.reference("", "arXiv 1905.11946", refuri="elsewhere")
    assert linked(nodes.paragraph("", "", inside)) == ["elsewhere"]
    assert linked(nodes.paragraph("", "", nodes.literal("", "arXiv 1905.11946"))) == []


READ = sorted((ROOT / "docs" / "read").glob("*.md"))


@pytest.mark.parametrize(
    "page", [page for page in READ if page.stem != "map"], ids=lambda p: p.stem
)
def test_a_page_says_of_which_paper_it_is_before_its_first_row(page):
    """Of a program where there is no paper; a reader comes from anywhere."""
    text = page.read_text()
    source = r"arXiv \d{4}\.\d{5}|github\.com/tensorflow/tpu"
    assert re.search(source, text.partition("\n:::::{triptych-row}")[0])
