"""What the pages do in a browser, on a phone, a tablet and a desk, in light and in dark."""

from __future__ import annotations

import functools
import os
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from efficientnet_rosetta.common.spec import compound_scaling, resolve
from explorer import COLUMNS, released, rows
from parity_tests.site.conftest import ROOT

pytestmark = pytest.mark.browser

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEADLINE = 120_000  # milliseconds that end a hang, however busy the machine is
expect.set_options(timeout=DEADLINE)
AXE = {"resultTypes": ["violations"]}
WIDTHS = (390, 820, 1440)
SCHEMES = ("light", "dark")
PHONE, TABLET, DESK = WIDTHS
MBCONV, XCEPTION = "read/mbconv.html", "read/xception.html"
EXPLORER = "explore/models.html"
TRIPTYCHS = (
    MBCONV,
    XCEPTION,
    *(f"read/{name}.html" for name in ("table1", "scaling", "squeeze_and_excitation", "swish")),
    *(f"read/{name}.html" for name in ("stochastic_depth", "head", "recipe")),
)
# One page of every kind.
KINDS = (
    "index.html",
    MBCONV,
    EXPLORER,
    "what_went_wrong.html",
    "reference/api/efficientnet_rosetta/torch_impl/layers/index.html",
    "source/torch_impl/efficientnet.py.html",
)


class Quiet(SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *arguments: object) -> None:
        """Not even that."""


@pytest.fixture(scope="module")
def address(site):
    """The site on a server of its own."""
    handler = functools.partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    """The browser, which must be there: these tests are asked for by name."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "needs Chromium (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def reader(chromium, address):
    """Opens a page as a reader with a screen of some width has it; whatever goes wrong is kept."""
    contexts, wrong = [], []

    def asked(request):
        if not request.url.startswith((address, "data:", "file:")):
            wrong.append(f"asked for {request.url}")

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # the reader went on before it came
            wrong.append(f"failed: {request.url}")

    def open_page(path=None, width=DESK, scheme="light", javascript=True):
        context = chromium.new_context(
            viewport={"width": width, "height": 844 if width == PHONE else 900},
            color_scheme=scheme,
            is_mobile=width == PHONE,
            has_touch=width == PHONE,
            java_script_enabled=javascript,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(DEADLINE)
        page.on("request", asked)
        page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", failed)
        page.on("response", lambda r: r.status >= 400 and wrong.append(f"{r.status}: {r.url}"))
        if path is not None:
            page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def overflow(page) -> int:
    """By how much a page is wider than its screen, whose width a phone would adapt to the page."""
    return page.evaluate("document.documentElement.scrollWidth") - page.viewport_size["width"]


def keep_picture(page, path: str, of: str) -> None:
    """Keep what a page looks like where that is asked for: a test sees no ugliness."""
    if folder := os.environ.get("ROSETTA_PICTURES"):
        name = f"{path.removesuffix('.html').replace('/', '-')}-{of}.png"
        page.screenshot(path=ROOT / folder / name, full_page=True)


def violations(page) -> list[str]:
    """What axe finds on a page."""
    return [
        f"{violation['id']}: {node['target']}: {node.get('failureSummary')}"
        for violation in Axe().run(page, options=AXE).response["violations"]
        for node in violation["nodes"]
    ]


def pages_of(site) -> list[str]:
    """Every page but for the reference of the code and the sources, which are alike."""
    found = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    alike = ("source/", "reference/api/", "_")
    return [path for path in found if not path.startswith(alike)] + list(KINDS[-2:])


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


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_keeps_readers_out(reader, address, site, width, scheme):
    """One page of every kind each time; every page on a phone in the dark and on a desk by day."""
    page = reader(width=width, scheme=scheme)
    found = []
    every = (width, scheme) in ((PHONE, "dark"), (DESK, "light"))
    for path in dict.fromkeys([*KINDS, *pages_of(site)]) if every else KINDS:
        page.goto(address + path)
        found += [f"{path}: {violation}" for violation in violations(page)]
        if path in KINDS:
            keep_picture(page, path, f"{width}-{scheme}")
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("path", [*TRIPTYCHS, EXPLORER])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_equation_is_wider_than_its_column(reader, path, width):
    page = reader(path, width)
    wide = page.evaluate(
        """[...document.querySelectorAll(".math-block")]
           .filter(block => block.scrollWidth > block.clientWidth + 1)
           .map(block => block.textContent)"""
    )
    assert wide == []
    assert page.locator(".math-block .katex-html").count() > 0


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


def colour(page, place: str, of: str = "backgroundColor") -> str:
    """How the first element of that kind is painted."""
    return page.locator(place).first.evaluate(f"element => getComputedStyle(element).{of}")


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


# ------------------------------------------------------------------ rows


def test_a_symbol_lights_up_in_the_equation_and_in_both_programs(reader):
    page = reader(MBCONV)
    word = page.locator("#expand em.con-t").first
    word.hover()
    for place in ("#block .tri-spec", "#expand .tri-torch", "#expand .tri-keras", "#expand .katex"):
        assert page.locator(f"{place} .con-t.lit").count() > 0, place
    assert page.locator(".lit:not(.con-t)").count() == 0
    page.mouse.move(5, 5)
    assert page.locator(".lit").count() == 0


@pytest.mark.parametrize("path", TRIPTYCHS)
def test_every_symbol_lights_up(reader, path):
    """In the list, in a text or an equation, and in some program."""
    page = reader(path)
    symbols = page.locator(".tri-symbols .con").all()
    assert symbols
    for symbol in symbols:
        symbol.focus()
        lit = page.locator(".tri-paper .lit").count(), page.locator(".tri-column .lit").count()
        assert min(lit) > 0, symbol.inner_text()


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
    expect(keras).to_be_visible()
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


def test_both_programs_stand_beside_each_other_on_a_desk_and_below_on_a_phone(reader):
    for width, beside in ((DESK, True), (PHONE, False)):
        page = reader(MBCONV, width)
        torch, keras = (
            page.locator(f"#depthwise .tri-{name}").bounding_box() for name in ("torch", "keras")
        )
        assert (torch["y"] == keras["y"]) is beside
        assert (torch["x"] < keras["x"]) is beside


@pytest.mark.parametrize("path", TRIPTYCHS)
def test_every_program_has_the_whole_width_of_a_phone(reader, path):
    """Below what both read, too."""
    page = reader(path, PHONE)
    narrow = page.evaluate(
        """[...document.querySelectorAll(".tri-row > .tri-column")]
           .filter(column => column.offsetWidth < column.parentElement.clientWidth)
           .map(column => column.parentElement.id + " " + column.className)"""
    )
    assert narrow == []


@pytest.mark.parametrize("path", TRIPTYCHS)
def test_no_line_of_code_is_cut_off_on_a_desk(reader, path):
    page = reader(path)
    cut = page.evaluate(
        """[...document.querySelectorAll(".tri-excerpt pre")]
           .filter(pre => pre.scrollWidth > pre.clientWidth).map(pre => pre.textContent)"""
    )
    assert cut == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_strip_says_where_the_reader_is(reader, width):
    page = reader(MBCONV, width)
    here = page.locator(".tri-flow [aria-current]")
    expect(here).to_contain_text("Block")
    page.locator(".tri-flow a", has_text="depthwise").click()
    expect(here).to_contain_text("depthwise")
    assert page.get_by_role("navigation", name="Steps").count() == 1
    strip, heading = (
        page.locator(place).bounding_box() for place in (".tri-flow", "#depthwise h2")
    )
    assert strip["y"] >= 0  # it stays on the screen
    assert heading["y"] >= strip["y"] + strip["height"] - 1  # and covers no heading
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(here).to_contain_text("skip")
    expect(here).to_be_in_viewport()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_lies_on_the_strip(reader, width):
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
        """[...document.querySelectorAll(".tri-flow a")].filter(link => {
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


# ------------------------------------------------------------------ the explorer


def table_of(page) -> list[list[str]]:
    """The table as it is written."""
    lines = page.locator(".explorer-table tbody tr").all()
    return [[cell.strip() for cell in line.locator("td").all_inner_texts()] for line in lines]


def test_the_columns_are_those_of_table_1(reader):
    page = reader(EXPLORER)
    heads = page.locator(".explorer-table thead th").all_inner_texts()
    assert [head.strip() for head in heads] == list(COLUMNS)


def test_every_released_network(reader):
    page = reader(EXPLORER)
    for shown in released():
        page.get_by_role("button", name=shown.name, exact=True).click()
        assert table_of(page) == [list(row.cells) for row in shown.rows]
        assert page.url.endswith(f"#{shown.name}")
        cards = page.locator(".explorer-cards > div").all_inner_texts()
        assert [[line for line in card.split("\n") if line] for card in cards] == [
            list(card) for card in shown.cards
        ]


@pytest.mark.parametrize("phi", [0, 4.8, 12])
def test_a_link_to_a_phi(reader, phi):
    page = reader(f"{EXPLORER}#phi={phi}")
    scaling = compound_scaling(phi)
    network = resolve(width=scaling.width, depth=scaling.depth, resolution=scaling.resolution)
    assert table_of(page) == [list(row.cells) for row in rows(network)]
    expect(page.locator(".explorer-slider output")).to_have_text(f"{phi:.2f}")


def test_a_link_to_a_network_and_from_one_to_another(reader):
    page = reader(f"{EXPLORER}#B4")
    button = page.get_by_role("button", name="B4", exact=True)
    expect(button).to_have_attribute("aria-pressed", "true")
    page.evaluate("location.hash = '#l2'")
    expect(page.locator(".explorer")).to_have_attribute("data-shown", "l2")
    expect(button).to_have_attribute("aria-pressed", "false")


def test_the_slider_by_keyboard(reader):
    page = reader(EXPLORER)
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#phi=0.05")
    page.keyboard.press("End")
    assert page.url.endswith("#phi=12")
    expect(slider).to_have_attribute("aria-valuetext", "φ = 12.00")
    page.keyboard.press("Home")
    assert page.url.endswith("#phi=0")


def test_what_differs_from_b0_is_marked(reader):
    page = reader(f"{EXPLORER}#B1")  # deeper and larger, no wider
    marked = page.locator(".explorer-table tbody tr").nth(2).locator("td.changed")
    assert marked.all_inner_texts() == ["120×120", "3"]
    page = reader(EXPLORER)
    assert page.locator("td.changed").count() == 0


def test_what_no_rule_scales(reader):
    """Xception has no place on the slider, which stays, and is compared with no B0."""
    page = reader(f"{EXPLORER}#B4")
    slider, place = page.get_by_role("slider"), page.locator(".explorer")
    before = slider.input_value()
    coloured = page.locator(".explorer-remark b")
    expect(coloured).to_be_visible()
    page.get_by_role("button", name="Xception", exact=True).click()
    expect(place).to_have_attribute("data-shown", "xception")
    assert slider.input_value() == before
    assert page.locator("td.changed").count() == 0
    expect(coloured).to_be_hidden()
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(place).to_have_attribute("data-shown", re.compile("^phi="))
    expect(coloured).to_be_visible()


def test_bars_stand_in_line_with_their_stages(reader):
    page = reader(f"{EXPLORER}#B4")
    lines, bars = (
        [item.bounding_box() for item in page.locator(place).all()]
        for place in (".explorer-table tbody tr", ".explorer-bar")
    )
    assert len(lines) == len(bars) == 9
    for line, bar in zip(lines, bars, strict=True):
        assert abs(line["y"] + line["height"] / 2 - bar["y"] - bar["height"] / 2) < 3
    page.locator(".explorer-bar").nth(6).hover()
    expect(page.locator(".explorer-table tr.here td").first).to_have_text("7")
    page.get_by_label("share of the network").check()
    assert all("%" in text for text in page.locator(".explorer-bar span").all_inner_texts())


def test_without_scripts_there_is_b0(reader):
    page = reader(EXPLORER, javascript=False)
    assert table_of(page) == [list(row.cells) for row in released()[0].rows]


@pytest.mark.parametrize("path", [MBCONV, f"{EXPLORER}#B7"])
def test_from_files_without_a_server(reader, site, path):
    page = reader()
    page.goto(f"{site.as_uri()}/{path}")
    if path.startswith(EXPLORER):
        expect(page.locator(".explorer")).to_have_attribute("data-shown", "b7")
    else:
        page.locator("#expand em.con-t").first.hover()
        assert page.locator("#expand .tri-keras .con-t.lit").count() > 0


def test_the_search_finds_a_page(reader):
    page = reader("index.html")
    page.get_by_placeholder("Search").fill("depthwise")
    page.keyboard.press("Enter")
    expect(page.locator("#search-results li").first).to_be_visible()
