"""Plays the story that docs/use/guard.md tells of examples/guarded_pair, and keeps what was said.

    python -m parity_tests.guard.guarded_pair docs/results/guarded_pair.json

A commit that looks harmless makes the job fail; what it says then is what the page quotes.
"""

import difflib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from efficientnet_rosetta.common.cli.action import exception_in
from parity_tests.runner import ROOT, Runner

COMMAND = "python -m parity_tests.guard.guarded_pair docs/results/guarded_pair.json"
EXAMPLE = ROOT / "examples" / "guarded_pair"
FILE = "model_keras.py"
# Keras has a padding of its own that gives maps of the same sizes, in one line fewer.
RIGHT = """    x = layers.ZeroPadding2D(1)(x)
    return kind(kernel_size=3, strides=2, padding="valid", use_bias=False, **settings)(x)
"""
WRONG = """    return kind(kernel_size=3, strides=2, padding="same", use_bias=False, **settings)(x)
"""


def copied(folder: Path) -> None:
    """The repository as a clone has it."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=ignored)


def broken(folder: Path) -> str:
    """Commit the mistake, and return it as a difference between two files."""
    path = folder / FILE
    before = path.read_text()
    assert before.count(RIGHT) == 1
    after = before.replace(RIGHT, WRONG)
    path.write_text(after)
    names = f"a/{FILE}", f"b/{FILE}"
    lines = difflib.unified_diff(before.splitlines(True), after.splitlines(True), *names)
    return "".join(lines)


def played(folder: Path) -> dict[str, object]:
    """What the job says of that commit: its status, the messages of the tests, and its summary."""
    runner = Runner(folder)
    copied(runner.workspace)
    difference = broken(runner.workspace)
    done = runner.step("Compare", pytest="tests")
    report = str(runner.report)
    junit = ElementTree.parse(runner.report / "junit.xml").getroot()
    failures = {case.get("name"): case.find("failure") for case in junit.iter("testcase")}

    def said(text: str) -> str:
        return text.replace(report, "parity")

    return {
        "status": done.returncode,
        "difference": difference,
        "messages": {
            name: None if failure is None else said(exception_in(failure.text or ""))
            for name, failure in failures.items()
        },
        "outputs": {name: said(value) for name, value in runner.outputs.items()},
        "summary": said(runner.summary),
        "pages": sorted(page.name for page in runner.report.glob("*.html")),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = {"command": COMMAND, **played(Path(folder))}
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
