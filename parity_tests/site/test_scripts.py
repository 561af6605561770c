"""The scripts of the pages, as they are written."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "docs/_static"
DECLARED = re.compile(r"^(?:async )?(?:const|let|class|function\*?) (\w+)", re.MULTILINE)


def shared_names(scripts: Mapping[str, str]) -> dict[str, list[str]]:
    """The names that several scripts declare, with the scripts.

    Scripts of a page have their outermost names in common, and the second to declare one of them
    does not run at all.
    """
    owners = defaultdict(list)
    for script, text in scripts.items():
        for name in DECLARED.findall(text):
            owners[name].append(script)
    return {name: found for name, found in owners.items() if len(found) > 1}


def test_no_two_scripts_declare_the_same_name():
    """Whichever of them a page loads together."""
    scripts = {path.name: path.read_text(encoding="utf-8") for path in SCRIPTS.glob("*.js")}
    assert len(scripts) > 5
    assert shared_names(scripts) == {}


def test_a_name_that_two_scripts_declare_is_found():
    scripts = {"a.js": "const short = 1;\n", "b.js": "function short() {}\nlet other;\n"}
    assert shared_names(scripts) == {"short": ["a.js", "b.js"]}
