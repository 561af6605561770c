"""Every situation of the table, made by the libraries; docs/reference/files.md shows them."""

import json
from pathlib import Path

import pytest

from parity_tests.situations.judge import judged
from parity_tests.situations.table import SITUATIONS
from tables import GENERATED

KEPT = Path(__file__).parents[2] / "docs" / "results" / "situations.json"
MARKED = [
    pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.slow else [])
    for one in SITUATIONS
]


@pytest.mark.parametrize("situation", MARKED)
def test_a_situation_ends_as_it_must(situation, tmp_path):
    judged(situation, tmp_path)


def test_there_are_many_and_each_has_a_name_and_a_description_of_its_own():
    assert len(SITUATIONS) >= 40
    assert len({one.name for one in SITUATIONS}) == len(SITUATIONS)
    assert len({(one.have, one.options_shown) for one in SITUATIONS}) == len(SITUATIONS)


def test_the_page_shows_what_became_of_each():
    """As it was kept by `python -m parity_tests.situations`, of the table as it is."""
    rows = json.loads(KEPT.read_text())["situations"]
    assert [row["name"] for row in rows] == [one.name for one in SITUATIONS]
    shown = GENERATED["situations"]()
    for row, one in zip(rows, SITUATIONS, strict=True):
        stated = {name: getattr(one, name) for name in ("have", "thread", "head", "to")}
        assert {name: row[name] for name in stated} == stated
        assert row["options"] == one.options_shown
        assert all(words in row["refusal"] for words in one.refused)
        assert bool(row["refusal"]) == bool(one.refused)
        assert one.have in shown
        if one.layout:
            assert (row["layout"], row["preset"]) == (one.layout, one.preset)
            assert row["classes"] == one.classes
            assert row["error"] < one.limit
            assert row["ending"].startswith(one.ending[0])
