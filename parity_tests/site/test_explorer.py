"""The explorer of models in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from efficientnet_rosetta.common.spec import compound_scaling, resolve
from explorer import COLUMNS, released, rows
from parity_tests.site.browser import EXPLORER

pytestmark = pytest.mark.browser


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
