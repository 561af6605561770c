"""The explorer of models in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from efficientnet_rosetta.common.spec import compound_scaling, resolve
from explored import COLUMNS, PER_PHI, STEPS, released, rows, short
from explorer import opened
from lines_of_code import Place
from parity_tests.site.browser import DESK, EXPLORER, PHONE, keep_picture, overflow, violations

pytestmark = pytest.mark.browser
STAGES = ".explorer-table > tbody > tr:not(.explorer-detail)"
BLOCKS = ".explorer-blocks > table > tbody > tr:not(.explorer-detail)"
OPERATIONS = ".explorer-operations tbody"


def cells(line) -> list[str]:
    return [re.sub(r"\s+", " ", cell).strip() for cell in line.locator("> td").all_inner_texts()]


def table_of(page) -> list[list[str]]:
    """The table as it is written."""
    return [cells(line) for line in page.locator(STAGES).all()]


def hash_of(page) -> str:
    return page.evaluate("location.hash.slice(1)")


def sight(field: int | None) -> str:
    return "all" if field is None else f"{field} px"


# ------------------------------------------------------------------ one network


def test_the_columns_are_those_of_table_1(reader):
    page = reader(EXPLORER)
    heads = page.locator(".explorer-table > thead th").all_inner_texts()
    assert [head.strip() for head in heads] == list(COLUMNS)


def test_every_released_network(reader):
    page = reader(EXPLORER)
    for shown in released():
        page.get_by_role("button", name=shown.name, exact=True).click()
        assert table_of(page) == [list(row.cells) for row in shown.rows]
        assert hash_of(page) == shown.key
        found = page.locator(".explorer-cards > div").all_inner_texts()
        assert [[line for line in card.split("\n") if line] for card in found] == [
            list(card) for card in shown.cards
        ]


@pytest.mark.parametrize("phi", [0, 4.8, 12])
def test_a_link_to_a_phi(reader, phi):
    page = reader(f"{EXPLORER}#phi={phi}")
    scaling = compound_scaling(phi)
    network = resolve(width=scaling.width, depth=scaling.depth, resolution=scaling.resolution)
    assert table_of(page) == [list(row.cells) for row in rows(network)]
    expect(page.locator(".explorer-slider output")).to_have_text(f"{phi:.2f}")
    expect(page.get_by_role("slider")).to_have_value(str(round(phi * PER_PHI)))
    assert page.locator(".explorer-open").count() == 0


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
    assert hash_of(page) == "phi=0.05"
    page.keyboard.press("End")
    assert hash_of(page) == "phi=12"
    expect(slider).to_have_attribute("aria-valuetext", "φ = 12.00")
    page.keyboard.press("Home")
    assert hash_of(page) == "phi=0"


def test_what_differs_from_b0_is_marked(reader):
    page = reader(f"{EXPLORER}#B1")  # deeper and larger, no wider
    marked = page.locator(STAGES).nth(2).locator("td.changed")
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


def test_bars_are_as_long_as_the_costs_are_large(reader):
    page = reader(f"{EXPLORER}#B4")
    shown = next(shown for shown in released() if shown.key == "b4")
    for column, of in ((6, "params"), (7, "macs")):
        bars = page.locator(f"{STAGES} > td:nth-child({column}) i").all()
        lengths = [bar.bounding_box()["width"] for bar in bars]
        costs = [getattr(row, of) for row in shown.rows]
        wanted = [max(1, max(lengths) * cost / max(costs)) for cost in costs]
        assert lengths == pytest.approx(wanted, abs=1)
    page.get_by_label("share of the network").check()
    assert all("%" in text for text in page.locator(".explorer-bar span").all_inner_texts())


def test_without_scripts_there_is_b0(reader):
    page = reader(EXPLORER, javascript=False)
    assert table_of(page) == [list(row.cells) for row in released()[0].rows]


def test_the_script_writes_numbers_as_python_does(reader):
    page = reader(EXPLORER)
    numbers = sorted(
        {cost for shown in released() for row in shown.rows for cost in (row.params, row.macs)}
        | {999, 1000, 1125, 999_500, 9_996_000, 1_500_000_000_000}
    )
    assert page.evaluate("numbers => numbers.map(short)", numbers) == list(map(short, numbers))


# ------------------------------------------------------------------ what is opened


@pytest.mark.parametrize(
    ("network", "stage", "block"),
    [("b0", 4, 1), ("b0", 9, 2), ("v2-s", 2, 2), ("lite0", 3, 2), ("xception", 4, 1)],
)
def test_an_opened_block_is_that_of_the_specification(reader, network, stage, block):
    page = reader(f"{EXPLORER}#{network}/stage-{stage}/block-{block}")
    found = opened()[network][stage]
    lines = [cells(line) for line in page.locator(BLOCKS).all()]
    assert [line[1:] for line in lines] == [
        [
            *(one.channels, one.size),
            "never" if one.dropped is None else f"{round(one.dropped, 4):g}",
            *(short(one.cost.trainable), short(one.cost.macs), sight(one.field)),
        ]
        for one in found
    ]
    for number, (line, one) in enumerate(zip(lines, found, strict=True), 1):
        assert line[0].startswith(f"Block {number}")
        assert one.role in line[0]
    groups = page.locator(OPERATIONS).all()
    for group, wanted in zip(groups, found[block - 1].groups, strict=True):
        expect(group.locator("th b")).to_have_text(f"{wanted.step.program}, {wanted.step.name}")
        links = [link.get_attribute("href") for link in group.locator("th a").all()]
        assert links == [address(place) for places in wanted.step.places for place in places]
        assert [cells(line) for line in group.locator("tr").all()[1:]] == [
            [
                *(line.label, line.channels, line.size),
                short(line.cost.trainable) if line.cost.trainable else "",
                short(line.cost.macs) if line.cost.macs else "",
                sight(line.field) if line.channels else "",
            ]
            for line in wanted.operations
        ]


def address(place: Place) -> str:
    return f"../source/{place.path}.html#L{place.first}"


def test_stages_and_blocks_open_and_close_by_keyboard(reader):
    page = reader(EXPLORER)
    stage = page.get_by_role("button", name="Stage 4 of B0", exact=True)
    expect(stage).to_have_attribute("aria-expanded", "false")
    stage.focus()
    page.keyboard.press("Enter")
    expect(stage).to_have_attribute("aria-expanded", "true")
    expect(stage).to_be_focused()
    assert hash_of(page) == "b0/stage-4"
    page.keyboard.press("Tab")
    block = page.get_by_role("button", name="Block 1 of stage 4 of B0", exact=True)
    expect(block).to_be_focused()
    page.keyboard.press("Space")
    assert hash_of(page) == "b0/stage-4/block-1"
    for button in (stage, block):
        controlled = button.get_attribute("aria-controls")
        expect(page.locator(f"#{controlled}")).to_be_visible()
    page.keyboard.press("Space")
    assert hash_of(page) == "b0/stage-4"
    expect(page.locator(".explorer-operations")).to_have_count(0)
    stage.click()
    assert hash_of(page) == "b0"
    expect(page.locator(".explorer-blocks")).to_have_count(0)


def test_another_network_opens_at_the_same_place(reader):
    page = reader(f"{EXPLORER}#b7/stage-3/block-5")
    page.get_by_role("button", name="B4", exact=True).click()  # has four blocks there
    assert hash_of(page) == "b4/stage-3"
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")  # has nothing to open
    assert hash_of(page).startswith("phi=")


def test_what_is_open_is_in_the_address(reader):
    page = reader(f"{EXPLORER}#v2-s/stage-3/block-2")
    expect(
        page.get_by_role("button", name="Block 2 of stage 3 of V2-S", exact=True)
    ).to_be_in_viewport()
    page.reload()
    expect(page.locator("#operations-0-3-2")).to_be_visible()
    page.evaluate("location.hash = '#B0/Stage-5'")
    expect(page.locator("#blocks-0-5")).to_be_visible()
    expect(page.locator(".explorer-operations")).to_have_count(0)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("b9", "b0"),
        ("b0/stage-44/block-2", "b0"),
        ("b0+b9", "b0"),
        ("b0+b0", "b0"),
        ("b0%2Bv2-s", "b0+v2-s"),
        ("b7+phi=6", "phi=6+b7"),  # what the slider builds is the first
        ("phi=1+phi=2", "phi=1"),
    ],
)
def test_an_address_that_asks_for_what_is_not_there(reader, asked, shown):
    page = reader(f"{EXPLORER}#{asked}")
    expect(page.locator(".explorer")).to_have_attribute("data-shown", shown)
    assert page.locator(".explorer-blocks").count() == 0


# ------------------------------------------------------------------ two networks


def side_by_side(page) -> list[tuple[str, ...]]:
    """The stages of both networks that stand in one line."""
    lines = page.locator(STAGES).all()
    buttons = (line.locator("> td > .explorer-open") for line in lines)
    return [tuple(button.get_attribute("id") for button in found.all()) for found in buttons]


def test_two_networks_side_by_side(reader):
    page = reader(EXPLORER)
    page.get_by_label("Compare with").select_option("v2-s")
    assert hash_of(page) == "b0+v2-s"
    pairs = [(f"stage-0-{number}", f"stage-1-{number}") for number in range(1, 8)]
    # Both end in a head, before which B0 has one stage more.
    assert side_by_side(page) == [*pairs, ("stage-0-8",), ("stage-0-9", "stage-1-8")]
    shown = {one.key: one for one in released()}
    first, second = shown["b0"].rows[3], shown["v2-s"].rows[3]
    assert cells(page.locator(STAGES).nth(3)) == [*first.cells, *second.cells]
    heads = page.locator(".explorer-table > thead > tr").first.locator("th").all_inner_texts()
    assert heads == ["B0", "V2-S"]
    assert page.locator(".explorer-sides h2").all_inner_texts() == ["B0", "V2-S"]


def test_what_differs_between_two_networks_is_marked(reader):
    page = reader(f"{EXPLORER}#b0+b1")
    marked = page.locator(STAGES).nth(2).locator("td.changed")
    assert marked.all_inner_texts() == ["112×112", "2", "120×120", "3"]
    expect(page.locator(".explorer-remark b")).to_be_visible()


def test_the_stage_beside_one_opens_with_it(reader):
    page = reader(f"{EXPLORER}#b0+v2-s")
    page.locator("#stage-1-8").click()
    assert hash_of(page) == "b0/stage-9+v2-s/stage-8"
    page.locator("#block-0-9-2").click()
    assert hash_of(page) == "b0/stage-9/block-2+v2-s/stage-8/block-2"
    page.reload()
    assert page.locator(OPERATIONS).count() == 2
    page.locator("#stage-0-8").click()  # which stands alone
    assert hash_of(page).startswith("b0/stage-8+")
    page.get_by_label("Compare with").select_option("")
    assert hash_of(page) == "b0/stage-8"
    page.get_by_label("Compare with").select_option("xception")
    assert hash_of(page) == "b0/stage-8+xception/stage-8"


# ------------------------------------------------------------------ screens and paper


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (PHONE, "dark"),
        pytest.param(PHONE, "light", marks=pytest.mark.slow),
        pytest.param(DESK, "dark", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("asked", ["b0/stage-4/block-2", "b0/stage-4/block-1+xception/stage-4"])
def test_what_is_open_fits_and_can_be_read_by_all(reader, width, scheme, asked):
    page = reader(f"{EXPLORER}#{asked}", width, scheme)
    expect(page.locator(".explorer-operations").first).to_be_visible()
    keep_picture(page, EXPLORER, f"{width}-{scheme}-{asked.count('+')}")
    assert overflow(page) <= 0
    page.evaluate("scrollTo(0, 0)")  # where the theme's own button to the top is away
    expect(page.locator(".show-back-to-top")).to_have_count(0)
    assert violations(page) == []


def test_on_paper_there_is_what_is_open(reader):
    page = reader(f"{EXPLORER}#b0/stage-4/block-1+v2-s/stage-4/block-1")
    page.emulate_media(media="print")
    expect(page.locator(".explorer-controls")).to_be_hidden()
    expect(page.locator(OPERATIONS).last).to_be_visible()


def test_the_page_is_small(site):
    assert (site / EXPLORER).stat().st_size <= 120_000


# ------------------------------------------------------------------ what is loaded later


def part_of(page) -> list[str]:
    """The parts that a page has loaded."""
    return page.evaluate("Object.keys(explorerParts)")


def test_a_part_is_loaded_when_it_is_first_asked_for(reader):
    page = reader(EXPLORER)
    page.get_by_role("button", name="B4", exact=True).click()
    page.get_by_label("Compare with").select_option("v2-s")
    assert part_of(page) == []
    page.locator("#stage-0-3").click()
    expect(page.locator("#blocks-0-3")).to_be_visible()
    assert part_of(page) == ["blocks"]
    page.get_by_role("slider").press("End")
    expect(page.locator(".explorer")).to_have_attribute("data-shown", "phi=12+v2-s")
    assert part_of(page) == ["blocks", "curve"]
    assert page.locator("head script[src*=explorer_]").count() == 2
    expect(page.locator(".explorer[aria-busy]")).to_have_count(0)


def test_parts_are_loaded_from_a_disk(reader, site):
    page = reader()
    page.goto((site / EXPLORER).as_uri() + "#phi=1+b0/stage-4/block-1")
    expect(page.locator(OPERATIONS).first).to_be_visible()
    assert sorted(part_of(page)) == ["blocks", "curve"]


def test_a_part_that_does_not_come(reader):
    """It is said, and asked for again at the next choice."""
    page = reader(EXPLORER)
    page.route("**/explorer_blocks.js*", lambda route: route.abort("aborted"))
    page.locator("#stage-0-4").click()
    expect(page.locator(".explorer-sides")).to_contain_text("could not be loaded")
    page.unroute("**/explorer_blocks.js*")
    page.locator("#stage-0-4").click()
    expect(page.locator("#blocks-0-4")).to_be_visible()
    expect(page.locator(".explorer-cards")).to_be_visible()


def test_the_whole_curve_is_there(reader):
    page = reader(EXPLORER)
    expect(page.get_by_role("slider")).to_have_attribute("max", str(STEPS))
    page.get_by_role("slider").fill(str(PER_PHI))
    assert hash_of(page) == "phi=1"
