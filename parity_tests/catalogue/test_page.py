"""The page of published checkpoints: all of them are on it, and its script finds what we find."""

import json
import re
from pathlib import Path

import pytest
import quickjs

import catalogue
from efficientnet_rosetta.common.catalogue.records import records
from efficientnet_rosetta.common.catalogue.search import EMPTY_WORDS, canonical, find
from efficientnet_rosetta.common.checkpoints.layouts import LAYOUTS, layout_of
from efficientnet_rosetta.common.network import DIALECTS

SCRIPT = Path(__file__).parents[2] / "docs" / "_static" / "weights.js"
PAGE = Path(__file__).parents[2] / "docs" / "use" / "weights.md"
NO_PAGE = "const document = { getElementById: () => null, querySelector: () => null };"
# Named by its layout in a command; what else a row could be ported to is in the same list.
COMMAND = re.compile(r"rosetta port NAME ported[./\w]+ --to ([\w-]+)(  # (.+))?")


def rows():
    """The reference, the words and the dialect of every row of the page."""
    for kind in catalogue.by_kind():
        for row in re.findall(r"<tr data-words.*?</tr>", catalogue.table(kind)):
            (name,) = re.findall(r"<code>(.*?)</code>", row)
            (words,) = re.findall(r'data-words="(.*?)"', row)
            dialect = re.findall(r'data-dialect="(.*?)"', row)
            yield name.replace("<wbr>", ""), words.split(), dialect


@pytest.fixture(scope="module")
def script():
    engine = quickjs.Context()
    engine.eval(NO_PAGE + SCRIPT.read_text())
    (known,) = re.findall(r">(.*)</script>", catalogue.spellings())
    engine.eval(f"const known = {known};")
    return engine


def test_every_record_is_a_row_of_the_page_once():
    named = [name for name, _, _ in rows()]
    assert sorted(named) == sorted(record.reference for record in records())
    text = PAGE.read_text()
    for kind in catalogue.by_kind():
        assert f"{{generated}} weights {kind}\n" in text


def test_a_row_has_a_dialect_if_a_command_takes_it():
    dialects = {name: dialect for name, _, dialect in rows()}
    for record in records():
        assert dialects[record.reference] == ([record.dialect] if not record.unported else [])


@pytest.mark.parametrize("kind", [kind for kind in catalogue.by_kind() if kind != catalogue.OTHER])
def test_there_is_a_command_for_each_layout_that_takes_the_weights(kind):
    blocks = re.findall(r'data-dialect="(.*?)">(.*?)</pre>', catalogue.commands(kind), re.DOTALL)
    shown = {
        dialect: {COMMAND.fullmatch(line)[1] for line in lines.splitlines()}
        for dialect, lines in blocks
    }
    for record in catalogue.by_kind()[kind]:
        if record.unported is None:
            targets = {
                name
                for name in {layout.name for layout in LAYOUTS if layout.forms}
                if (layout := layout_of(name, record.preset))
                and layout.forms
                and layout.runs(record.preset, DIALECTS[record.dialect])
            }
            assert targets <= shown[record.dialect], record.reference


@pytest.mark.parametrize(
    "words",
    [
        "noisy student b4",
        "NS b4",
        "v2 s 21k ft",
        "EfficientNetV2-S imagenet-21k",
        "edge tpu small",
        "Lite 3",
        "adv-prop b8",
        "xception no top",
        "keras.applications b0",
        "in12k",
    ],
)
def test_the_script_finds_what_the_command_finds(script, words):
    asked = json.loads(script.eval(f"JSON.stringify(canonicalWords({json.dumps(words)}, known))"))
    assert asked == [word for word in canonical(words) if word not in EMPTY_WORDS]
    found = {
        name
        for name, said, _ in rows()
        if all(
            script.eval(f"isSaid({json.dumps(word)}, {json.dumps(said)}, known)") for word in asked
        )
    }
    assert found == {record.reference for record in find(words)}


def test_the_script_spells_every_name_as_the_program_does(script):
    for record in records():
        text = f"{record.name} {record.training} {' '.join(record.aliases)}"
        found = json.loads(
            script.eval(f"JSON.stringify(canonicalWords({json.dumps(text)}, known))")
        )
        assert found == [word for word in canonical(text) if word not in EMPTY_WORDS], text


def test_what_is_wrong_of_a_checkpoint_is_on_the_page():
    listed = catalogue.findings().splitlines()
    findings = {finding for record in records() for finding in record.findings}
    assert len(listed) == len(findings)
    assert all(re.match(r"- `[\w-]+:[\w./-]+`", line) for line in listed)
