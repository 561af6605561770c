"""What the rows of a page in three columns do in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from parity_tests.site.browser import (
    DESK,
    EXPLORER,
    MBCONV,
    PHONE,
    TRIPTYCHS,
    WIDTHS,
    overflow,
    show_both,
)

pytestmark = pytest.mark.browser


def test_a_symbol_lights_up_in_the_equation_and_in_both_programs(reader):
    page = reader(MBCONV)
    word = page.locator("#expand em.con-t").first
    word.hover()
    for place in ("#block .tri-spec", "#expand .tri-torch", "#expand .tri-keras", "#expand .katex"):
        assert page.locator(f"{place} .con-t.lit").count() > 0, place
    assert page.locator(".lit:not(.con-t)").count() == 0
    page.mouse.move(5, 5)
    assert page.locator(".lit").count() == 0


def test_every_symbol_lights_up(reader, address):
    """In the list, in a text or an equation, and in some program."""
    page = reader()
    for path in TRIPTYCHS:
        page.goto(address + path)
        symbols = page.locator(".tri-symbols .con").all()
        assert symbols, path
        for symbol in symbols:
            symbol.focus()
            lit = page.locator(".tri-paper .lit").count(), page.locator(".tri-column .lit").count()
            assert min(lit) > 0, (path, symbol.inner_text())


def test_a_symbol_in_the_code_lights_up_too(reader):
    page = reader(MBCONV)
    page.locator("#block .tri-spec .con-s").hover()
    assert page.locator("#depthwise .katex .con-s.lit").count() > 0


def test_a_symbol_stays_lit_until_escape(reader):
    page = reader(MBCONV)
    page.locator("#expand em.con-t").first.click()
    page.mouse.move(5, 5)
    assert page.locator("#expand .tri-torch .con-t.lit").count() > 0
    page.keyboard.press("Escape")
    assert page.locator("#expand .tri-torch .lit").count() == 0


def test_a_symbol_by_keyboard(reader):
    page = reader(MBCONV)
    symbol = page.locator(".tri-symbols .con-M")
    symbol.focus()
    assert page.locator("#expand .tri-keras .con-M.lit").count() > 0
    page.keyboard.press("Enter")
    expect(symbol).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    assert page.locator("#expand .tri-keras .con-M.lit").count() > 0
    page.keyboard.press("Escape")
    expect(symbol).to_have_attribute("aria-pressed", "false")


def test_a_symbol_by_touch(reader):
    page = reader(MBCONV, PHONE)
    page.locator("#depthwise em.con-s").first.tap()
    assert page.locator("#block .tri-spec .con-s.lit").count() > 0
    page.locator("#depthwise em.con-s").first.tap()
    assert page.locator(".lit").count() == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_one_framework_or_both_and_it_is_remembered(reader, width):
    page = reader(MBCONV, width)
    torch, keras = page.locator("#expand .tri-torch"), page.locator("#expand .tri-keras")
    spec = page.locator("#block .tri-spec")
    expect(torch).to_be_visible()
    expect(keras).to_be_visible(visible=width != PHONE)
    press = "tap" if width == PHONE else "click"
    getattr(page.get_by_role("button", name="Keras", exact=True), press)()
    page.reload()
    expect(torch).to_be_hidden()
    expect(keras).to_be_visible()
    expect(spec).to_be_visible()
    expect(page.get_by_role("button", name="Keras", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    getattr(page.get_by_role("button", name="Both", exact=True), press)()
    expect(torch).to_be_visible()
    expect(keras).to_be_visible()


def test_both_programs_stand_beside_each_other_on_a_desk_and_below_on_a_phone(reader):
    for width, beside in ((DESK, True), (PHONE, False)):
        page = reader(MBCONV, width)
        show_both(page)
        torch, keras = (
            page.locator(f"#depthwise .tri-{name}").bounding_box() for name in ("torch", "keras")
        )
        assert (torch["y"] == keras["y"]) is beside
        assert (torch["x"] < keras["x"]) is beside


def test_every_program_has_the_whole_width_of_a_phone(reader, address):
    """Below what both read, too."""
    page = reader(MBCONV, PHONE)
    show_both(page)
    narrow = []
    for path in TRIPTYCHS:
        page.goto(address + path)
        narrow += page.evaluate(
            """[...document.querySelectorAll(".tri-row > .tri-column")]
               .filter(column => column.offsetWidth < column.parentElement.clientWidth)
               .map(column => document.title + ": " + column.parentElement.id)"""
        )
    assert narrow == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_bar_stays_and_says_where_the_reader_is(reader, width):
    """With its steps, its symbols and its switch, and it covers no heading."""
    page = reader(MBCONV, width)
    here = page.locator(".tri-steps [aria-current]")
    expect(here).to_have_attribute("title", "What both programs read")
    page.locator(".tri-flow a", has_text="depthwise").click()
    expect(here).to_have_attribute("title", "Depthwise")
    assert page.get_by_role("navigation", name="Steps").count() == 1
    bar, heading = (page.locator(at).bounding_box() for at in (".tri-bar", "#depthwise h2"))
    assert bar["y"] == 0
    assert bar["height"] <= 84
    assert bar["height"] - 1 <= heading["y"] <= bar["height"] + 40
    for place in (".tri-steps a >> nth=0", ".tri-symbols .con >> nth=0", ".switch button >> nth=2"):
        box = page.locator(place).bounding_box()
        assert 0 <= box["y"] < box["y"] + box["height"] <= bar["height"]
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
    page.locator("#skip").evaluate("row => row.scrollIntoView()")
    expect(here).to_have_text("6")
    expect(here).to_be_in_viewport()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_lies_on_the_bar(reader, width):
    """Where the reader turns back, the theme would offer the way to the top there."""
    page = reader(MBCONV, width)
    for place in (1200, 900):  # painted in between, or the page sees one way only
        page.evaluate(
            """place => new Promise(done => {
                 window.scrollTo(0, place);
                 requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)));
               })""",
            place,
        )
    expect(page.locator("html")).to_have_class(re.compile("show-back-to-top"))
    covered = page.evaluate(
        """[...document.querySelectorAll(".tri-steps a")].filter(link => {
             const { left, right, top, bottom } = link.getBoundingClientRect();
             const visible = left >= 0 && right <= document.documentElement.clientWidth;
             const across = [left + 4, (left + right) / 2, right - 4];  // corners are round
             const down = [top + 4, (top + bottom) / 2, bottom - 4];
             const free = across.every(x => down.every(y =>
               link.contains(document.elementFromPoint(x, y))));
             return visible && !free;
           }).map(link => link.textContent)"""
    )
    assert covered == []


def test_an_excerpt_leads_to_its_lines(reader):
    page = reader(MBCONV)
    excerpt = page.locator("#expand .tri-torch .tri-excerpt").first
    first = excerpt.locator("pre").inner_text().splitlines()[0].strip()
    excerpt.locator(".tri-caption a").click()
    line = page.locator(".line:target")
    expect(line).to_be_in_viewport()
    expect(line).to_contain_text(first)
    line.locator(".back", has_text="MBConv: Expand").click()
    expect(page).to_have_url(re.compile(r"/read/mbconv\.html#expand$"))


def test_what_both_read_names_its_file_and_leads_to_it(reader):
    page = reader(MBCONV)
    head = page.locator("#block .tri-spec > .tri-label")
    expect(head).to_have_text("Specification, read by both: common/spec.py")
    head.locator("a").click()
    expect(page.locator("h1")).to_have_text("common/spec.py")


def test_every_excerpt_can_be_copied(reader):
    page = reader(MBCONV)
    excerpts = page.locator(".tri-excerpt")
    assert page.locator(".tri-excerpt button.copybtn").count() == excerpts.count() > 0


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_can_be_read_without_scripts(reader, width):
    page = reader(MBCONV, width, javascript=False)
    expect(page.locator(".switch")).to_have_count(0)
    for name in ("torch", "keras"):
        expect(page.locator(f"#skip .tri-{name}").first).to_be_visible()
    expect(page.locator("#skip .katex-html").first).to_be_visible()
    assert page.locator("#expand [role=button]").count() == 0
    assert overflow(page) <= 0


@pytest.mark.parametrize("path", [MBCONV, f"{EXPLORER}#B7"])
def test_from_files_without_a_server(reader, site, path):
    page = reader()
    page.goto(f"{site.as_uri()}/{path}")
    if path.startswith(EXPLORER):
        expect(page.locator(".explorer")).to_have_attribute("data-shown", "b7")
    else:
        page.locator("#expand em.con-t").first.hover()
        assert page.locator("#expand .tri-keras .con-t.lit").count() > 0
