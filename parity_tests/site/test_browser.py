"""Every page in a browser, on a phone, a tablet and a desk, in light and in dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from parity_tests.site.browser import (
    DESK,
    EXPLORER,
    KINDS,
    LOOKS,
    MBCONV,
    PHONE,
    SCHEMES,
    TABLET,
    TRIPTYCHS,
    WIDTHS,
    colour,
    keep_picture,
    overflow,
    pages_of,
    violations,
)

pytestmark = pytest.mark.browser

# ------------------------------------------------------------------ every page


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_wider_than_the_screen_is_found(reader, width):
    """The tests below would notice: a phone shows such a page smaller, and says nothing."""
    page = reader("index.html", width)
    assert overflow(page) <= 0
    page.evaluate("document.querySelector('article').style.minWidth = '2000px'")
    assert overflow(page) > 0


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_screen(reader, address, site, width):
    page = reader(width=width)
    wide = {}
    for path in pages_of(site):
        page.goto(address + path)
        if (more := overflow(page)) > 0:
            wide[path] = more
    assert wide == {}


# Texts that are smaller than 13 pixels; those of equations and drawings have tests of their own.
SMALL = """() => [...document.querySelectorAll("article *")]
  .filter(element => [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
  .filter(element => element.checkVisibility() && !element.closest(".katex, svg"))
  .map(element => [element, parseFloat(getComputedStyle(element).fontSize)])
  .filter(([_, size]) => 0 < size && size < 12.99)  // 0 is for screen readers alone
  .map(([{ tagName, textContent }, size]) => `${tagName} of ${size}: ${textContent.slice(0, 40)}`)
"""


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_text_is_too_small(reader, address, site, width):
    page = reader(width=width)
    small = {}
    for path in pages_of(site):
        page.goto(address + path)
        if found := page.evaluate(SMALL):
            small[path] = found
    assert small == {}


def test_no_program_is_cut_off_on_a_phone(reader, address, site):
    """A line that does not fit goes on below."""
    page = reader(width=PHONE)
    cut = {}
    for path in pages_of(site):
        page.goto(address + path)
        found = page.evaluate(
            """[...document.querySelectorAll("article .highlight-python pre, .highlight-sh pre")]
               .filter(box => box.scrollWidth > box.clientWidth).map(box => box.textContent)"""
        )
        if found:
            cut[path] = found
    assert cut == {}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_keeps_readers_out(reader, address, site, width, scheme):
    """Of every kind of page one in each look; all others by turns in the two that differ most."""
    page = reader(width=width, scheme=scheme)
    paths = list(KINDS)
    if (width, scheme) in LOOKS:
        others = [path for path in pages_of(site) if path not in KINDS]
        paths += others[LOOKS.index((width, scheme)) :: len(LOOKS)]
    found = []
    for path in paths:
        page.goto(address + path)
        found += [f"{path}: {violation}" for violation in violations(page)]
        if path in KINDS:
            keep_picture(page, path, f"{width}-{scheme}")
    assert found == [], "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_no_text_keeps_readers_out(reader, address, site, width, scheme):
    """Every page on a phone in the dark and on a desk by day, with the contrast of every text."""
    page = reader(width=width, scheme=scheme)
    found = []
    for path in pages_of(site):
        page.goto(address + path)
        found += [f"{path}: {violation}" for violation in violations(page, every_text=True)]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("place", ["article p", "#skip .tri-keras .highlight .n", "footer a"])
def test_one_text_in_colours_of_its_own_is_found(reader, place):
    """Though not every text is measured."""
    page = reader(MBCONV)
    assert violations(page) == []
    page.locator(place).last.evaluate(
        "element => element.style.cssText = 'color: #ddd !important; background: #fff !important'"
    )
    (found,) = violations(page)
    assert found.startswith("color-contrast")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_equation_is_wider_than_its_column(reader, address, width):
    page = reader(width=width)
    wide = []
    for path in (*TRIPTYCHS, EXPLORER):
        page.goto(address + path)
        wide += page.evaluate(
            """[...document.querySelectorAll(".math-block")]
               .filter(block => block.scrollWidth > block.clientWidth + 1)
               .map(block => document.title + ": " + block.textContent)"""
        )
        assert page.locator(".math-block .katex-html").count() > 0, path
    assert wide == []


def test_the_theme_is_what_the_system_prefers_or_the_reader_chose(reader):
    page = reader(MBCONV, scheme="dark")
    colour = "getComputedStyle(document.querySelector('.tri-bites')).backgroundColor"
    dark = page.evaluate(colour)
    assert dark != reader(MBCONV, scheme="light").evaluate(colour)
    toggle = page.locator(".theme-toggle-content button")
    seen = []
    for _ in range(3):
        toggle.click()
        seen.append(page.evaluate(colour))
    assert len(set(seen)) == 2
    assert dark in seen


# ------------------------------------------------------------------ colours


@pytest.mark.parametrize("chosen", [False, True], ids=["preferred", "chosen"])
def test_it_is_printed_on_white_paper(reader, chosen):
    """Whatever the screen has."""
    page = reader(MBCONV, scheme="light" if chosen else "dark")
    page.emulate_media(media="print", color_scheme="light")
    white = colour(page, ".tri-bites"), colour(page, ".tri-torch .highlight")
    page.emulate_media(media="screen", color_scheme="light" if chosen else "dark")
    while chosen and page.locator("body").get_attribute("data-theme") != "dark":
        page.locator(".theme-toggle-content button").click()
    assert colour(page, ".tri-bites") not in white
    page.emulate_media(media="print", color_scheme="light" if chosen else "dark")
    assert (colour(page, ".tri-bites"), colour(page, ".tri-torch .highlight")) == white


def test_both_programs_are_printed_whichever_is_shown(reader):
    page = reader(MBCONV)
    page.get_by_role("button", name="Keras", exact=True).click()
    assert not page.locator("#expand .tri-torch").is_visible()
    page.emulate_media(media="print")
    assert page.locator("#expand .tri-torch").is_visible()
    assert page.locator("#expand .tri-keras").is_visible()


def test_in_the_few_colours_that_a_reader_has_chosen(reader):
    """What is pressed, lit, current, and how long a bar is, can still be told."""
    page = reader(MBCONV)
    page.emulate_media(forced_colors="active")
    page.locator("#expand em.con-t").first.hover()
    lit = colour(page, "#expand .tri-torch .con.lit")
    assert lit != colour(page, "#expand .tri-torch .con:not(.lit)")
    pressed = ".switch button[aria-pressed={}]"
    assert colour(page, pressed.format("true")) != colour(page, pressed.format("false"))
    current = ".tri-flow a[aria-current]", ".tri-flow a:not([aria-current])"
    assert [colour(page, place, "outlineStyle") for place in current] == ["solid", "none"]
    page = reader(f"{EXPLORER}#B4")
    page.emulate_media(forced_colors="active")
    assert colour(page, ".explorer-bar i") != colour(page, "body")
    assert colour(page, pressed.format("true")) != colour(page, pressed.format("false"))


# ------------------------------------------------------------------ by keyboard


@pytest.mark.parametrize("width", WIDTHS)
def test_the_strip_covers_nothing_that_has_the_focus(reader, width):
    """Backwards through the page, as what comes next is then above the screen."""
    page = reader(MBCONV, width)
    page.locator(".tri-caption a").last.focus()
    covered, seen = [], 0
    for _ in range(60):
        page.keyboard.press("Shift+Tab")
        focused = page.evaluate(
            """() => {
              const element = document.activeElement;
              if (!element.closest(".tri-row")) return null;
              const strip = document.querySelector(".tri-flow").getBoundingClientRect();
              const box = element.getBoundingClientRect();
              return [box.top < strip.bottom - 1, element.outerHTML];
            }"""
        )
        if focused:
            seen += 1
            covered += [focused[1]] if focused[0] else []
    assert seen > 20
    assert covered == []


def test_a_button_that_copies_is_seen_when_it_has_the_focus_and_on_a_phone(reader):
    page = reader(MBCONV)
    place = "#expand .tri-torch button.copybtn"
    assert colour(page, place, "opacity") == "0"
    page.locator("#expand .tri-torch .tri-caption a").first.focus()
    page.keyboard.press("Tab")
    expect(page.locator(f"{place}:focus-visible")).to_have_css("opacity", "1")
    assert colour(page, f"{place}:focus-visible", "outlineStyle") == "solid"
    assert colour(reader(MBCONV, PHONE), place, "opacity") == "1"


def test_lines_of_a_source_are_no_stops_on_the_way(reader):
    page = reader(KINDS[-1])
    assert page.locator(".line > a").count() > 100
    assert page.locator(".line > a:not([tabindex='-1'])").count() == 0


@pytest.mark.parametrize("name", ["Keras", "PyTorch"])
@pytest.mark.parametrize("width", [PHONE, TABLET])
def test_one_framework_keeps_no_reader_out(reader, width, name):
    """Code that no longer fits its column can be scrolled by keyboard."""
    page = reader(MBCONV, width)
    page.get_by_role("button", name=name, exact=True).click()
    assert violations(page) == []
    page.reload()  # the columns to come have never been seen
    page.get_by_role("button", name="Both", exact=True).click()
    assert violations(page) == []


def test_the_search_finds_a_page(reader):
    page = reader("index.html")
    page.get_by_placeholder("Search").fill("depthwise")
    page.keyboard.press("Enter")
    expect(page.locator("#search-results li").first).to_be_visible()
