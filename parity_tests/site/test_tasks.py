"""One page a task: it begins with what is needed, and ends with what one sees."""

import re

import pytest

import facts
import installing
from parity_tests.site.pages import DOCS, blocks
from parity_tests.site.test_pages import LONG, RUN
from tables import GENERATED

TASKS = [
    f"use/{task}"
    for task in (
        "install",
        "convert",
        "identify",
        "finetune",
        "predict",
        "features",
        "serve",
        "guard",
        "add_network",
    )
]


@pytest.mark.parametrize("task", TASKS)
def test_it_begins_with_what_is_needed_and_ends_with_what_one_sees(task):
    text = (DOCS / f"{task}.md").read_text()
    first, *sections = re.split(r"(?m)^## ", text)
    assert "at the end of\nthis page" in first.lower() or "at the end of this page" in first.lower()
    assert "**What you need:**" in first
    assert sections[-1].startswith("What you see at the end\n")


@pytest.mark.parametrize("task", TASKS)
def test_it_is_run_by_default_and_home_leads_to_it(task):
    page = DOCS / f"{task}.md"
    assert any(block.language in RUN for block in blocks(page))
    assert f"{task}.md" not in LONG
    home = (DOCS / "index.md").read_text().partition("## What do you want to do?")[2]
    assert f"]({task}.md)" in home


def test_sizes_and_minutes_are_those_that_were_measured(monkeypatch):
    found = {
        "megabytes": {"core": 135, "torch": 865, "all": 3094, "dev": 4849},
        "seconds": {"core": 9, "all": 271},
    }
    monkeypatch.setattr(installing, "result", {"installed": found}.__getitem__)
    ways = GENERATED["ways to install"]().splitlines()[2:]
    rows = [line.split(" | ")[1:] for line in ways]
    assert rows == [
        ["[the wheel alone](#the-wheel-alone)", "135 MB", "1 |"],
        ["[with extras](#with-extras)", "3.2 GB", "5 |"],
        ["[a checkout](#a-checkout)", "5.0 GB", "more than 5 |"],
    ]
    extras = GENERATED["sizes of extras"]().splitlines()[2:]
    assert [line.split(" | ")[1] for line in extras] == ["865 MB |", "3.1 GB |", "4.8 GB |"]


def test_the_ways_to_install_are_sections_of_the_page():
    page = (DOCS / "use" / "install.md").read_text().lower()
    for _, section in installing.WAYS.values():
        assert f"\n## {section}\n" in page
    assert installing.WAYS.keys() <= facts.result("installed")["megabytes"].keys()
