"""The map of the paper: every name and page in it exists, and no public name is missing."""

from __future__ import annotations

import ast
import re

import pytest

import paper_map
from efficientnet_rosetta.common.architectures import ARCHITECTURES
from efficientnet_rosetta.common.spec import HEAD_CHANNELS, PRESETS, STEM_CHANNELS, TABLE_1
from excerpts import ExcerptError, Source
from paper_map import LEFT_OUT, MAP, NETWORK, NOT_THE_PAPERS, OTHER_PAPERS, SPEC
from parity_tests.site.conftest import ROOT
from scaled import ALONE
from tables import GENERATED
from tables_of_reading import guarded

PACKAGES = ("torch_impl", "keras_impl")
MODEL_FILES = {"layers.py", *(f"{name}.py" for name in ARCHITECTURES)}
ANSWERING = [f"{package}/{name}" for package in PACKAGES for name in sorted(MODEL_FILES)]


def public(path: str) -> set[str]:
    """Functions and classes at the top of a file; of the specification, constants and types too."""
    source = Source(ROOT, path)
    return {
        name
        for name, node in source.symbols.items()
        if "." not in name
        and not name.startswith("_")
        and (path in (SPEC, NETWORK) or isinstance(node, ast.ClassDef | ast.FunctionDef))
    }


def mapped() -> dict[str, set[str]]:
    """Names in the map, by file."""
    found: dict[str, set[str]] = {}
    for element in MAP:
        for column in paper_map.FILES:
            for path, name in element.names(column):
                found.setdefault(path, set()).add(name)
    return found


def unexplained(path: str, names: set[str]) -> set[str]:
    """Public names that are neither in the map nor excused."""
    return names - mapped().get(path, set()) - set(NOT_THE_PAPERS.get(path, {}))


@pytest.mark.parametrize("path", [SPEC, NETWORK, *ANSWERING])
def test_every_public_name_is_in_the_map_or_has_a_reason(path):
    names = public(path)
    if path.rpartition("/")[2] not in OTHER_PAPERS:
        assert len(names) > 3
        assert unexplained(path, names) == set()
        assert unexplained(path, {*names, "something_new"}) == {"something_new"}


def test_every_model_file_is_of_this_paper_or_of_another():
    assert set(OTHER_PAPERS) == MODEL_FILES - {"layers.py", "efficientnet.py"}
    sources = r"arXiv \d{4}\.\d{5}|tensorflow/tpu, efficientnet/\w+|timm, models/\w+\.py"
    assert all(re.fullmatch(sources, source) for source in OTHER_PAPERS.values())


def test_every_name_exists():
    named = {path: set(names) for path, names in NOT_THE_PAPERS.items()}
    for path, names in mapped().items():
        named.setdefault(path, set()).update(names)
    assert {"common/counting.py", "torch_impl/optimizer.py", "keras_impl/layers.py"} <= set(named)
    for path, names in named.items():
        source = Source(ROOT, path)
        for name in names:
            source.symbol(name)
        with pytest.raises(ExcerptError):
            source.symbol("nothing")


def test_nothing_is_both_the_papers_and_not():
    for path, names in NOT_THE_PAPERS.items():
        assert set(names) <= public(path), path
        assert not set(names) & mapped().get(path, set()), path
        assert all(names.values())


def test_every_row_answers_and_says_where_in_the_paper():
    for element in MAP:
        assert element.spec or element.programs, element
        assert re.match(r"(Section|Table|Figure) \d", element.paper), element
        assert element.what
    assert len({(element.paper, element.what) for element in MAP}) == len(MAP)


def anchors(text: str) -> set[str]:
    """The rows of a triptych by their ids, and the headings as they are linked to."""
    titles = re.findall(r"(?m)^#+ (.+)$|\{triptych-row\} (.+)$", text)
    words = (re.sub(r"[^\w\- ]", "", "".join(pair).lower()).strip() for pair in titles)
    return {word.replace(" ", "-") for word in words} | set(re.findall(r"(?m)^:id: (\S+)$", text))


def test_every_page_exists():
    for element in MAP:
        page, _, anchor = element.page.partition("#")
        text = (ROOT / "docs" / f"{page}.md").read_text()
        assert not anchor or anchor in anchors(text), element


def test_sections_of_the_paper_are_answered_or_left_out():
    """Seven sections but the introduction, tables and figures, and three equations."""
    said = " ".join([*(element.paper for element in MAP), *LEFT_OUT]).lower()
    for word, last in (("section", 7), ("table", 7), ("figure", 8), ("equation", 3)):
        named = set()
        for first, plural in re.findall(rf"{word}s? (\d)(?:\.\d)?(?: and (\d))?", said):
            named |= {int(first), *([int(plural)] if plural else [])}
        for number in range(2 if word == "section" else 1, last + 1):
            assert number in named, f"{word} {number}"
    assert all(why.endswith(".") for why in LEFT_OUT.values())


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
