"""Drawings follow the specification, and their letters are those of the equations."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from drawings import DRAWINGS
from drawings.canvas import COLUMN, LETTERS, WIDE
from drawings.padding import Side
from drawings.training import Rates
from efficientnet_rosetta.common.network import DIALECTS
from efficientnet_rosetta.common.spec import resolve
from efficientnet_rosetta.common.v2 import resolve as resolve_v2
from efficientnet_rosetta.common.xception import resolve as resolve_xception
from parity_tests.site.pages import PAGES, name
from symbols import parse_concepts

SVG = "{http://www.w3.org/2000/svg}"
# A number of the specification that is another, and how the drawing then says so.
CHANGES = [
    ("mbconv", lambda block: replace(block, expanded_channels=160), "= 160"),
    ("mbconv", lambda block: replace(block, squeezed_channels=9), "R = 9"),
    ("mbconv", lambda block: replace(block, kernel=7), "k = 7"),
    ("mbconv", lambda block: replace(block, has_skip=True), "as size and channels"),
    ("expand", lambda block: replace(block, expand_ratio=4), "t = 4"),
    ("depthwise", lambda block: replace(block, stride=3), "s = 3"),
    ("project", lambda block: replace(block, out_channels=48), "C\u2032 = 48"),
    ("skip", lambda block: replace(block, drop_path_rate=0.3), "p = 0.3"),
    ("squeeze and excitation", lambda block: replace(block, squeezed_channels=36), "R = 36"),
    ("fused", lambda block: replace(block, kernel=5), "57,600 weights"),
    ("declared input", lambda block: replace(block, expanded_channels=80), "= 80"),
    ("tower", lambda _: resolve("b4"), "380 px, 48 channels, L = 1"),
    ("tower of v2", lambda _: resolve_v2("v2-m"), "480 px, 24 channels, L = 1"),
    ("scaling", lambda them: {**them, "B0": resolve("b0", depth=2.0)}, "d 2"),
    ("flows", lambda _: resolve_xception(middle_blocks=3), "× L = 3"),
    ("stochastic depth", lambda two: (resolve("b0", drop_path_rate=0.4), two[1]), "right 0.375"),
    ("batch norm", lambda two: (replace(two[0], momentum=0.95), two[1]), "kept 0.95"),
    ("schedule", lambda r: Rates(replace(r.recipe, factor=0.9), r.epochs), "jump to 0.810"),
    ("padding", lambda _: (Side(224, 7, 2),), "zeros: 2 before, 3 after"),
    ("padding of a block", lambda _: (Side(56, 7, 2),), "zeros: 2 before, 3 after"),
    ("port", lambda way: replace(way, tensor="stem.conv.weight"), "32 × 3 × 3 × 3"),
]


def texts(canvas) -> list[str]:
    """The texts of a drawing."""
    root = ElementTree.fromstring(
        canvas.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(("drawing", "change", "told"), CHANGES)
def test_another_number_is_another_drawing(drawing, change, told):
    made = DRAWINGS[drawing]
    before, after = made.made(), made.draw(change(made.of()))
    assert not any(told in text for text in texts(before))
    assert any(told in text for text in texts(after)), texts(after)
    assert before.svg() != after.svg()
    assert before.title != after.title


def test_every_drawing_is_held_to_the_specification():
    assert {drawing for drawing, _, _ in CHANGES} == set(DRAWINGS)


@pytest.mark.parametrize("drawing", sorted(DRAWINGS))
def test_what_a_drawing_is_made_of(drawing):
    """Its name for those who do not see it, the width of a column, and no colour of its own."""
    canvas = DRAWINGS[drawing].made()
    svg = canvas.svg()
    assert canvas.width in (COLUMN, WIDE)
    assert 'role="img"' in svg
    assert f"<title>{canvas.title}</title>" in svg.replace("&#x27;", "'")
    assert re.findall(r"#[0-9a-f]{3,6}\b|rgb|<script|xlink|\bid=|font-size", svg) == []


def test_a_letter_is_lit_where_the_page_knows_it():
    canvas = DRAWINGS["expand"].made()
    assert canvas.symbols == {"C", "M", "t"}
    assert "con con-" not in canvas.svg()
    assert set(re.findall(r"con con-(\w+)", canvas.svg({"t"}))) == {"t"}


def drawn_with() -> list[tuple[str, str, str]]:
    """Pages, their drawings, and the symbols that the page gives."""
    found = []
    for page in PAGES:
        text = page.read_text()
        concepts = re.search(r"(?s)^concepts: \|\n(.*?)^---", text, re.MULTILINE)
        given = concepts[1] if concepts else ""
        for drawing in re.findall(r"\{drawing\} (.+)", text):
            found.append((name(page), drawing, given))
    return found


@pytest.mark.parametrize(("page", "drawing", "given"), drawn_with())
def test_letters_of_a_drawing_are_those_of_the_equations(page, drawing, given):
    concepts = parse_concepts(given)
    for key in DRAWINGS[drawing].made().symbols if concepts else ():
        tex = re.sub(r"\\math(bf|cal) |_i|\\", "", concepts[key].tex).replace("'", "\u2032")
        assert LETTERS.get(tex, tex) == LETTERS[key], (page, key)


def test_one_letter_means_one_thing_on_all_pages():
    """A letter has one key, under which it is lit, and a key has one letter."""
    keys: dict[str, set[str]] = {}
    letters: dict[str, set[str]] = {}
    for page in PAGES:
        concepts = re.search(r"(?ms)^concepts: \|\n(.*?)^---", page.read_text())
        for key, concept in parse_concepts(concepts[1] if concepts else "").items():
            letter = concept.tex.removesuffix("_i")  # of one stage
            keys.setdefault(letter, set()).add(key)
            letters.setdefault(key, set()).add(letter)
    assert len(letters) > 20
    assert {letter: found for letter, found in keys.items() if len(found) > 1} == {}
    assert {key: found for key, found in letters.items() if len(found) > 1} == {}


def test_every_drawing_is_in_a_page():
    assert {drawing for _, drawing, _ in drawn_with()} == set(DRAWINGS)


def test_zeros_of_padding():
    """As the rules of the specification have them, at 224 pixels and at one more."""
    even, odd = DRAWINGS["padding"].of()
    assert (even.shift, odd.shift) == (1, 0)
    assert [zeros for _, _, zeros in even.rules] == [(1, 1), (0, 1)]
    assert DIALECTS["tensorflow"].pad(224, 3, 2, "conv") == (0, 1)


@pytest.mark.parametrize(
    ("given", "letter"),
    [
        ("k: kernel", "k"),
        ("D: out_channels | C' | channels out", "C\N{PRIME}"),
        (r"phi: phi | \phi | compound coefficient", "φ"),
        (r"x: skip | \mathbf x | input of the block", "x"),
    ],
)
def test_a_text_writes_a_symbol_as_the_equations_do(given, letter):
    (concept,) = parse_concepts(given).values()
    assert concept.letter == letter
