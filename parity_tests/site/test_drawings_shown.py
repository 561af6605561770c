"""Drawings in a browser: large enough to read, nothing over another, lit with the equations."""

from __future__ import annotations

import pytest

from parity_tests.site.browser import DESK, MBCONV, PHONE, TRIPTYCHS, WIDTHS, show_both

pytestmark = pytest.mark.browser

# Texts that are small, that leave their drawing, or that lie over another.
FAULTS = """() => {
  const faults = [];
  for (const svg of document.querySelectorAll("figure.drawing svg")) {
    const all = svg.getBoundingClientRect();
    const scale = all.width / svg.viewBox.baseVal.width;
    const texts = [...svg.querySelectorAll("text")];
    const boxes = texts.map(text => text.getBoundingClientRect());
    texts.forEach((text, number) => {
      const box = boxes[number], what = `${document.title}: ${text.textContent}`;
      for (const part of [text, ...text.children]) {
        const size = scale * parseFloat(getComputedStyle(part).fontSize);
        if (size < 12.99) faults.push(`${what} is of ${size} pixels`);
      }
      const out = box.left < all.left - 1 || box.right > all.right + 1
        || box.top < all.top - 1 || box.bottom > all.bottom + 1;
      if (out) faults.push(`${what} is not inside`);
      texts.slice(0, number).forEach((other, before) => {
        const by = boxes[before];
        const across = Math.min(box.right, by.right) - Math.max(box.left, by.left);
        const down = Math.min(box.bottom, by.bottom) - Math.max(box.top, by.top);
        if (across > 1 && down > 4) faults.push(`${what} is over ${other.textContent}`);
      });
    });
  }
  return faults;
}"""
DRAWN = (*TRIPTYCHS, "reference/layouts.html")


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_of_drawings_can_be_read(reader, address, width):
    page = reader(width=width)
    faults = []
    for path in DRAWN:
        page.goto(address + path)
        faults += page.evaluate(FAULTS)
    assert faults == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("text.style.fontSize = '9px'", "of 9"),
        ("text.setAttribute('x', '-300')", "is not inside"),
        ("other.setAttribute('x', text.getAttribute('x'))", "is over"),
    ],
)
def test_a_text_that_cannot_be_read_is_found(reader, change, fault):
    page = reader(MBCONV, PHONE)
    page.evaluate(
        f"""() => {{
          const [text, other] = document.querySelectorAll("#skip figure.drawing text");
          other.setAttribute("y", text.getAttribute("y"));
          {change};
        }}"""
    )
    assert any(fault in found for found in page.evaluate(FAULTS))


def test_a_letter_of_a_drawing_is_lit_with_the_equation_and_the_programs(reader):
    page = reader(MBCONV)
    page.locator("#expand figure.drawing .con-t").hover()
    for place in ("#expand .katex", "#block .tri-spec", "#expand .tri-keras", "figure.wide"):
        assert page.locator(f"{place} .con-t.lit").count() > 0, place
    lit = page.locator("#expand figure.drawing .con-t")
    assert lit.evaluate("e => getComputedStyle(e).paintOrder").startswith("stroke")


def test_without_scripts_every_drawing_is_there(reader):
    page = reader(MBCONV, DESK, javascript=False)
    drawings = page.locator("figure.drawing svg[role=img]")
    assert drawings.count() > 5
    for drawing in drawings.all():
        assert drawing.bounding_box()["height"] > 100


@pytest.mark.parametrize("width", WIDTHS)
def test_no_program_is_wider_than_its_box(reader, address, width):
    """A line that does not fit goes on below."""
    page = reader(MBCONV, width)
    show_both(page)
    wide = []
    for path in TRIPTYCHS:
        page.goto(address + path)
        wide += page.evaluate(
            """[...document.querySelectorAll(".tri-excerpt pre")]
               .filter(box => box.scrollWidth > box.clientWidth)
               .map(box => document.title + ": " + box.textContent)"""
        )
    assert wide == []


def test_a_line_that_goes_on_below_is_copied_as_it_is(reader):
    """What is in the box is the program, whatever the width of the screen."""
    code = []
    for width in (PHONE, DESK):
        page = reader(MBCONV, width)
        show_both(page)
        code.append(page.locator("#expand .tri-keras pre").first.inner_text())
    assert code[0] == code[1]


def test_the_paper_has_room_beside_the_programs(reader):
    page = reader(MBCONV)
    paper = page.locator("#expand .tri-paper").bounding_box()
    assert paper["width"] >= 380
    assert page.locator("#expand pre").first.evaluate("e => getComputedStyle(e).fontSize") == "13px"
