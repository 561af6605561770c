"""The boxes in which a reader breaks a network: their mistakes, their numbers, their play."""

from __future__ import annotations

import json
import math
import re
import textwrap
from dataclasses import replace

import pytest

import breaking
import facts
from efficientnet_rosetta.common.architectures import resolve
from efficientnet_rosetta.parity_tests.mutations import MUTATIONS, machine, made
from parity_tests.site.browser import DESK, MBCONV, PHONE, colour, overflow, violations
from parity_tests.site.conftest import ROOT, sphinx
from parity_tests.site.pages import DOCS, PAGES, name

BOX = re.compile(r"^```\{break\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BOXES = {
    name(page): dict(breaking.entries(text))
    for page in PAGES
    for text in BOX.findall(page.read_text())
}
BROKEN = [(page, mistake) for page, told in BOXES.items() for mistake in told]
MADE = {mutation.name: mutation for mutation in MUTATIONS}

# ------------------------------------------------------------------ what is in them


def test_every_page_that_follows_the_paper_has_a_box_at_its_end():
    for page in DOCS.glob("read/*.md"):
        assert len(BOXES[name(page)]) == 5, page
        assert page.read_text().rpartition("\n## ")[2].startswith("Break it\n\n```{break}\n")


@pytest.mark.parametrize(("page", "mistake"), BROKEN)
def test_a_mistake_of_a_box_has_a_number_and_is_told_in_a_sentence(page, mistake):
    assert mistake in MADE
    measure, value = breaking.measured(mistake)
    (right,) = [answer for answer in measure.answers if _has(answer, abs(value))]
    assert measure.edges[0] < abs(value) or right == measure.answers[0]
    assert re.fullmatch(r"[A-Z].*\.", BOXES[page][mistake])


def test_the_box_that_writers_copy_is_one():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (box,) = re.findall(r"  :::\{break\}\n(.*?)  :::\n", text, re.DOTALL)
    ((mistake, _),) = breaking.entries(textwrap.dedent(box))
    assert breaking.measured(mistake)[0] is breaking.LOGITS


def _has(answer: str, value: float) -> bool:
    """A range in words has a value."""
    range_ = answer.rpartition(": ")[2].replace(",", "")
    edges = [float(number) for number in re.findall(r"[\d.]+", range_)]
    low, high = (0.0, *edges) if "below" in range_ else (*edges, math.inf)[:2]
    return low <= value < high


def test_a_range_in_words_is_the_range():
    measure = replace(breaking.LOGITS, edges=(1e-8, 1e-6, 0.01, 1.0, 1000.0, 1e5))
    ranges = [answer.rpartition(": ")[2] for answer in measure.answers]
    assert ranges == [
        "below 0.000001",
        "0.000001 to 0.01",
        "0.01 to 1",
        "1 to 1,000",
        "1,000 or more",
    ]


@pytest.mark.parametrize("text", ["ReLU for swish", "ReLU for swish\nIt is.", ": It is."])
def test_an_entry_without_its_sentence_is_refused(text):
    with pytest.raises(ValueError, match="is no name of a mistake with a line"):
        list(breaking.entries(f"{text}\nhard swish for swish\n: It is."))


def test_a_mistake_without_a_number_is_refused():
    with pytest.raises(ValueError, match="has no number for the mistake"):
        breaking.measured("element-wise dropout for stochastic depth")


def test_a_mistake_that_was_renamed_stops_the_build(tmp_path):
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'docs' / '_ext')!r})\n"
        'extensions = ["myst_parser", "breaking"]\n'
    )
    (tmp_path / "index.md").write_text("# Page\n\n```{break}\nswish for wish\n: It is.\n```\n")
    done = sphinx(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    assert "no mistake 'swish for wish'" in done.stderr


# ------------------------------------------------------------------ what was measured


def test_kept_results_say_in_what_each_mistake_was_made():
    rows = facts.result("mutants")["mistakes"]
    assert {row["mistake"]: row["scaling"] for row in rows} == {
        mutation.name: dict(mutation.made_in) for mutation in MUTATIONS
    }


COUNTED = [
    row["mistake"] for row in facts.result("mutants")["mistakes"] if row["caught_by"] == "weights"
]


@pytest.mark.parametrize("mistake", COUNTED)
def test_parameters_are_those_of_the_wrong_network(mistake):
    mutation = MADE[mistake]
    network = resolve(mutation.preset, **mutation.made_in)
    with made(mutation):
        found = machine.more_parameters(network)
    assert found == pytest.approx(facts.mistake(mistake)["parameters"], rel=1e-12)
    assert machine.more_parameters(network) == 0


@pytest.mark.parametrize(
    ("mistake", "off"),
    [
        ("survival probability taken for the rate", 0.84),
        ("element-wise dropout for stochastic depth", None),
    ],
)
def test_the_rate_of_dropping_is_read_from_what_is_kept(mistake, off):
    """In ten blocks: the first with a shortcut stays, or is dropped, with 0.08."""
    mutation = MADE[mistake]
    with made(mutation):
        found = machine.rate_off(resolve(mutation.preset, **mutation.made_in), 0)
    assert found == (None if off is None else pytest.approx(off, abs=1e-6))
    kept = facts.mistake(mistake)["rate"]
    assert found == (None if kept is None else pytest.approx(kept, abs=1e-6))


# ------------------------------------------------------------------ in a browser


def result(page) -> str:
    """What a reader is told."""
    return " ".join(page.locator(".break-result").inner_text().split())


def press(page, step: int, number: int) -> None:
    """Press a button of a step."""
    page.locator(".break-choices").nth(step - 1).locator("button").nth(number).click()


def pressed(page, step: int) -> list[int]:
    """Which buttons of a step are pressed."""
    states = page.locator(".break-choices").nth(step - 1).locator("button").all()
    return [n for n, one in enumerate(states) if one.get_attribute("aria-pressed") == "true"]


def answer_of(mistake: str) -> int:
    """The number of the right range."""
    measure, value = breaking.measured(mistake)
    return [_has(answer, abs(value)) for answer in measure.answers].index(True)


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_a_reader_chooses_guesses_and_sees(reader, width):
    page = reader(MBCONV, width)
    told = BOXES["read/mbconv.md"]
    for number, mistake in enumerate(told):
        press(page, 1, number)
        assert (pressed(page, 1), pressed(page, 2)) == ([number], [])  # a guess is forgotten
        measure, value = breaking.measured(mistake)
        assert measure.question in page.locator(".break-choices").nth(1).inner_text()
        assert facts.number(value) not in result(page)
        right = answer_of(mistake)
        for guess, verdict in ((right, "right"), ((right + 1) % 5, "than you guessed")):
            press(page, 2, guess)
            found = result(page)
            assert verdict in found
            assert found.startswith(f"3 Measured {facts.number(value)}")
            assert page.locator(".break-scale").get_attribute("role") == "img"
        row = facts.mistake(mistake)
        shows = {True: "shows it", False: "does not show it"}
        assert f"A check of shapes {shows[row['seen_by_shapes']]} Comparing" in found
        untrained = shows[row["seen_on_default_initialisation"]]
        assert f"untrained networks {untrained} Caught by" in found
        test = page.locator(".break-result dd a.reference").last
        assert test.get_attribute("href").startswith(
            f"../source/parity_tests/test_{row['claim']}.py"
        )
        assert overflow(page) <= 0


@pytest.mark.browser
def test_the_scale_is_logarithmic_and_the_guess_a_band(reader):
    page = reader(MBCONV)
    press(page, 2, 3)  # of the padding: 10 to 100, where 5.2 was measured
    middle = """(scale, part) => {
      const whole = scale.getBoundingClientRect();
      const box = scale.querySelector(part).getBoundingClientRect();
      return [(box.left - whole.left) / whole.width, (box.right - whole.left) / whole.width];
    }"""
    scale = page.locator(".break-scale")
    assert scale.evaluate(middle, ".break-band") == pytest.approx([0.6, 0.8], abs=0.01)
    left, right = scale.evaluate(middle, ".break-dot")
    assert (left + right) / 2 == pytest.approx((0.713 + 2) / 5, abs=0.01)  # log10 of 5.16
    assert scale.get_attribute("aria-label") == (
        "A logarithmic scale from 0.01 to 1,000. "
        "Your guess is from 10 to 100, the measured value is 5.2."
    )


@pytest.mark.browser
def test_the_box_is_played_by_keyboard_and_says_what_changes(reader):
    page = reader(MBCONV)
    page.locator(".break-choices button").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert pressed(page, 1) == [1]
    for _ in range(4):  # past the other mistakes, to the first range
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert pressed(page, 2) == [0]
    assert "It is more than you guessed." in result(page)
    assert page.locator(".break-result").get_attribute("aria-live") == "polite"
    labels = page.locator(".break-choices").evaluate_all(
        """all => all.map(group => group.getAttribute("aria-labelledby"))
             .map(id => document.getElementById(id).textContent)"""
    )
    assert labels == ["1 Choose a mistake", "2 Guess: How far do the logits move?"]


@pytest.mark.browser
def test_a_played_box_has_no_faults_in_the_dark(reader):
    page = reader(MBCONV, PHONE, "dark")
    press(page, 2, 1)
    assert violations(page) == []
    ground = colour(page, ".break-band")
    page.emulate_media(color_scheme="light")
    assert colour(page, ".break-band") != ground


@pytest.mark.browser
def test_without_a_script_the_table_says_all(reader):
    page = reader(MBCONV, javascript=False)
    assert page.locator(".break button").count() == 0
    rows = page.locator("table.breaks tbody tr:visible").all_inner_texts()
    for row, (mistake, told) in zip(rows, BOXES["read/mbconv.md"].items(), strict=True):
        measure, value = breaking.measured(mistake)
        row = row.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        assert row.startswith(mistake)
        assert told.replace("`", "") in row
        assert facts.number(value) in row
        assert measure.caught in row


@pytest.mark.browser
def test_on_paper_the_table_stands_instead_of_the_questions(reader):
    page = reader(MBCONV)
    assert not page.locator("table.breaks").is_visible()
    page.emulate_media(media="print")
    assert page.locator("table.breaks").is_visible()
    assert not page.locator(".break-columns").is_visible()


def test_the_script_is_given_what_the_table_says():
    for told in BOXES.values():
        for mistake, one in zip(told, json.loads(breaking.questions(list(told))), strict=True):
            measure, value = breaking.measured(mistake)
            assert (tuple(one["answers"]), one["value"]) == (measure.answers, abs(value))
