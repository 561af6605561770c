"""The repository of docs/use/guard.md: it agrees, a commit breaks it, and CI says where."""

import json
import re
import sys
from importlib import metadata

import pytest
import yaml

from efficientnet_rosetta import __version__
from parity_tests.guard.guarded_pair import EXAMPLE, copied, played
from parity_tests.runner import ACTION, PLUGIN, ROOT
from parity_tests.site.pages import check_output

KEPT = json.loads((ROOT / "docs" / "results" / "guarded_pair.json").read_text())
FLOW = yaml.safe_load((EXAMPLE / ".github" / "workflows" / "parity.yml").read_text())
OURS = {"model_torch", "model_keras", "port", "conftest", "test_parity"}


def files():
    listed = (path for path in EXAMPLE.rglob("*") if path.is_file())
    return [p.relative_to(EXAMPLE).as_posix() for p in listed if "cache" not in str(p)]


def test_it_has_ten_files():
    assert len(files()) == 10


def test_its_models_agree(tmp_path, monkeypatch):
    """In this process, which has imported both frameworks already."""
    copied(tmp_path)
    monkeypatch.chdir(tmp_path)
    kept = set(sys.modules)
    counts = {}

    class Counting:
        def pytest_runtest_logreport(self, report):
            if report.when == "call" or report.skipped:
                counts[report.outcome] = counts.get(report.outcome, 0) + 1

    options = ["-q", "-p", PLUGIN, "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    status = pytest.main(options, plugins=[Counting()])
    for name in set(sys.modules) - kept:
        if name.rpartition(".")[2] in OURS:
            del sys.modules[name]
    assert (status, counts) == (0, {"passed": 4})


def test_a_commit_that_breaks_it_is_found_as_the_page_says(tmp_path):
    found = played(tmp_path)
    assert found["status"] == 1
    assert found["outputs"] == {"report": "parity", "verdict": "differs"}
    assert {"command", *found} == KEPT.keys()
    assert found["difference"] == KEPT["difference"]
    for name, message in KEPT["messages"].items():
        if message is None:
            assert found["messages"][name] is None
        else:
            check_output(message.splitlines(), found["messages"][name].splitlines())
            assert len(message.splitlines()) <= 40
    check_output(KEPT["summary"].splitlines(), found["summary"].splitlines())
    assert found["pages"] == KEPT["pages"]
    first = KEPT["messages"]["test_both_compute_the_same[32]"]
    assert "first place: stem" in first
    assert "likely: padding" in first
    assert KEPT["messages"]["test_both_compute_the_same[33]"] is None  # the paddings are the same
    # Golden outputs have no inside, so that no place and no kind can be said.
    golden = KEPT["messages"]["test_keras_keeps_to_the_golden_outputs"]
    assert "differ: output by" in golden
    assert not re.search("first place|likely", golden)


def test_its_versions_are_those_that_are_tested():
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert set((EXAMPLE / "requirements.txt").read_text().splitlines()) <= set(constraints)
    for job in FLOW["jobs"].values():
        named = job["steps"][-1]["with"]["install"].split()
        assert set(named) - {"-r", "requirements.txt"} <= set(constraints)
    assert metadata.version("keras") in (EXAMPLE / "requirements.txt").read_text()


def test_its_workflow_uses_the_action_of_this_release():
    assert FLOW["permissions"] == {"contents": "read"}
    own = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (checkout,) = set(re.findall(r"actions/checkout@\w+ # (v\d+)", own))
    names = []
    for job in FLOW["jobs"].values():
        first, last = job["steps"]
        assert first["uses"] == f"actions/checkout@{checkout}"
        assert last["uses"] == f"efficientnet-rosetta/efficientnet-rosetta@v{__version__}"
        assert set(last["with"]) <= set(ACTION["inputs"])
        names.append(last["with"].get("artifact"))
    assert len(set(names)) == len(names)


def test_our_own_workflow_runs_it_with_and_without_a_mistake():
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    job = flow["jobs"]["action"]
    uses = [use for use in job["strategy"]["matrix"]["use"] if "folder" in use]
    assert {use["verdict"] for use in uses} == {"proved", "differs"}
    assert {use["folder"] for use in uses} == {EXAMPLE.relative_to(ROOT).as_posix()}
    (script,) = [step["run"] for step in job["steps"] if step.get("run", "").startswith("sed ")]
    old, path = re.fullmatch(r"sed -i s/(.*)/.*/ (\S+)", script).groups()
    assert old in (ROOT / path).read_text()  # or nothing would be broken
