"""The box on the page of published checkpoints, in a browser."""

import pytest

from parity_tests.site.browser import DESK, PHONE, overflow

pytestmark = pytest.mark.browser
PAGE = "use/weights.html"


def left(page):
    """The references of the rows that a reader sees."""
    return page.locator("table.weights tr[data-words]:visible code").all_inner_texts()


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_box_leaves_the_rows_that_match(reader, width):
    page = reader(PAGE, width)
    whole = len(left(page))
    page.fill("#weights-words", "noisy-student B4")
    found = left(page)
    assert "timm:tf_efficientnet_b4.ns_jft_in1k" in found
    assert len(found) == 9
    assert page.inner_text(".weights-search p") == f"9 of {whole} checkpoints"
    assert page.locator("table.weights:visible").count() == 1
    assert (
        page.locator(".weights-commands").first.inner_text().startswith(f"rosetta port {found[0]} ")
    )
    assert overflow(page) <= 0
    page.fill("#weights-words", "")
    assert len(left(page)) == whole
    assert page.locator(".weights-commands").first.inner_text().startswith("rosetta port NAME ")


def test_without_a_script_everything_is_there(reader):
    page = reader(PAGE, javascript=False)
    assert page.locator("#weights-words").count() == 0
    assert len(left(page)) > 400
