"""Every page in a browser, on a phone, a tablet and a desk, in light and in dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from parity_tests.site.browser import (
    DESK,
    EXPLORER,
    KINDS,
    LAPTOP,
    LOOKS,
    MBCONV,
    PHONE,
    SCHEMES,
    TABLET,
    WIDTHS,
    colour,
    keep_picture,
    pages_of,
    unreadable,
    violations,
)

pytestmark = pytest.mark.browser

# ------------------------------------------------------------------ every page


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (PHONE, "dark"),
        (TABLET, "light"),
        (DESK, "light"),
        pytest.param(LAPTOP, "light", marks=pytest.mark.slow),  # as wide as a desk, nearly
    ],
)
def test_every_page_can_be_read(reader, address, site, width, scheme):
    """Nothing is too wide, too small or cut off, and nothing is white in the dark."""
    page = reader(width=width, scheme=scheme)
    faults = {}
    for path in pages_of(site):
        page.goto(address + path)
        if found := unreadable(page, scheme):
            faults[path] = found
    assert faults == {}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("document.querySelector('article').style.minWidth = '2000px'", "wider than the screen"),
        ("document.querySelector('article p').style.fontSize = '12px'", "12.0 pixels"),
        ("document.querySelector('article svg text').style.fontSize = '9px'", " pixels: "),
        (
            "for (const line of document.querySelectorAll('.tri-excerpt .line')) {"
            "  line.style.whiteSpace = 'pre';"
            "}",
            "cut off",
        ),
        ("document.querySelector('article p').append(picture)", "white in the dark"),
    ],
)
def test_what_cannot_be_read_is_found(reader, change, fault):
    """A phone shows a page that is too wide smaller, and says nothing."""
    page = reader(MBCONV, PHONE, "dark")
    assert unreadable(page, "dark") == []
    page.evaluate(
        f"""async () => {{
          const picture = new Image();
          const canvas = Object.assign(document.createElement("canvas"), {{ width: 9, height: 9 }});
          const pen = canvas.getContext("2d");
          pen.fillStyle = "white";
          pen.fillRect(0, 0, 9, 9);
          picture.src = canvas.toDataURL();
          {change};
        }}"""
    )
    assert any(fault in found for found in unreadable(page, "dark"))


@pytest.mark.parametrize(("width", "height"), [(PHONE, 844), (LAPTOP, 768)])
def test_home_answers_in_the_first_screen(reader, address, width, height):
    """What this is, for whom, three doors and two commands."""
    page = reader(width=width)
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{address}index.html")
    places = ("h1", ".home-words p", ".doors a", ".home-commands pre")
    assert [page.locator(place).count() for place in places] == [1, 2, 3, 2]
    for place in places:
        for part in page.locator(place).all():
            box = part.bounding_box()
            assert box["y"] >= 0, place
            assert box["y"] + box["height"] <= height, place


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


@pytest.mark.parametrize("place", ["article p", "#skip .tri-keras .highlight .k", "footer a"])
def test_one_text_in_colours_of_its_own_is_found(reader, place):
    """Though not every text is measured."""
    page = reader(MBCONV)
    assert violations(page) == []
    page.locator(place).last.evaluate(
        "element => element.style.cssText = 'color: #ddd !important; background: #fff !important'"
    )
    (found,) = violations(page)
    assert found.startswith("color-contrast")


def test_the_theme_is_what_the_system_prefers_or_the_reader_chose(reader):
    page = reader(MBCONV, scheme="dark")
    colour = "getComputedStyle(document.querySelector('.tri-bites')).backgroundColor"
    dark = page.evaluate(colour)
    assert dark != reader(MBCONV, scheme="light").evaluate(colour)
    toggle = page.locator(".theme-toggle:visible")
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
        page.locator(".theme-toggle:visible").click()
    assert colour(page, ".tri-bites") not in white
    page.emulate_media(media="print", color_scheme="light" if chosen else "dark")
    assert (colour(page, ".tri-bites"), colour(page, ".tri-torch .highlight")) == white


def test_both_programs_are_printed_whichever_is_shown(reader):
    page = reader(MBCONV)
    page.get_by_role("button", name="Keras", exact=True).click()
    assert not page.locator("#expand .tri-torch").is_visible()
    page.emulate_media(media="print")
    paper, torch, keras = (
        page.locator(f"#expand .tri-{name}").bounding_box() for name in ("paper", "torch", "keras")
    )
    assert paper["x"] == torch["x"] == keras["x"]  # in one column
    assert paper["y"] + paper["height"] <= torch["y"] < torch["y"] + torch["height"] <= keras["y"]
    assert colour(page, ".tri-bar", "position") == "static"
    expect(page.locator(".switch")).to_be_hidden()


def test_in_the_few_colours_that_a_reader_has_chosen(reader):
    """What is pressed, lit, current, and how long a bar is, can still be told."""
    page = reader(MBCONV)
    page.emulate_media(forced_colors="active")
    page.locator("#expand em.con-t").first.hover()
    lit = colour(page, "#expand .tri-torch .con.lit")
    assert lit != colour(page, "#expand .tri-torch .con:not(.lit)")
    pressed = ".switch button[aria-pressed={}]"
    assert colour(page, pressed.format("true")) != colour(page, pressed.format("false"))
    current = ".tri-steps a[aria-current]", ".tri-steps a:not([aria-current])"
    assert [colour(page, place, "outlineStyle") for place in current] == ["solid", "none"]
    page = reader(f"{EXPLORER}#B4")
    page.emulate_media(forced_colors="active")
    assert colour(page, ".explorer-bar i") != colour(page, "body")
    assert colour(page, pressed.format("true")) != colour(page, pressed.format("false"))


# ------------------------------------------------------------------ by keyboard


@pytest.mark.parametrize("width", WIDTHS)
def test_the_bar_covers_nothing_that_has_the_focus(reader, width):
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
              const bar = document.querySelector(".tri-bar").getBoundingClientRect();
              const box = element.getBoundingClientRect();
              return [box.top < bar.bottom - 1, element.outerHTML];
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
    assert page.locator(".line > a:not(.back):not([tabindex='-1'])").count() == 0


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
