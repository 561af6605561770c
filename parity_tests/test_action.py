"""The GitHub action: its steps, run the way a runner runs them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step.get("name", step.get("uses")): step for step in ACTION["runs"]["steps"]}


@pytest.fixture
def runner(tmp_path):
    """A runner's folder for temporary files, in which the tool is installed already."""
    folder = tmp_path / "rosetta" / "bin"
    folder.mkdir(parents=True)
    command = folder / "rosetta"
    command.write_text(
        f"#!{sys.executable}\nimport sys\n"
        "from efficientnet_rosetta.common.cli import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    return tmp_path


def compare(runner, presets, options=""):
    environment = {"RUNNER_TEMP": str(runner), "PRESETS": presets, "OPTIONS": options}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", STEPS["Compare"]["run"]],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        cwd=runner,
    )


def test_it_compares_and_leaves_the_reports(runner):
    done = compare(runner, "b0", "--size 64 --seed 1")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 agree" in done.stdout
    found = json.loads((runner / "parity" / "report.json").read_text())
    assert (found["agrees"], found["settings"]["seed"]) == (True, 1)
    assert (runner / "parity" / "report.html").read_text().startswith("<!doctype html>")
    assert ElementTree.parse(runner / "parity" / "junit.xml").getroot().tag == "testsuites"


def test_the_job_fails_where_it_should_and_runs_nothing_from_an_input(runner):
    done = compare(runner, "b0; touch owned $(touch owned)")
    assert done.returncode == 2
    assert "unknown preset 'b0;'" in done.stderr
    assert not (runner / "owned").exists()
    assert list((runner / "parity").iterdir()) == []


def test_it_installs_what_is_tested_and_keeps_the_report_of_a_failure():
    assert '--constraint "$GITHUB_ACTION_PATH/constraints.txt"' in STEPS["Install"]["run"]
    assert '"$GITHUB_ACTION_PATH[torch,keras,onnx]"' in STEPS["Install"]["run"]
    assert STEPS["Keep the report"]["if"] == "${{ !cancelled() }}"
    used = " ".join(step.get("run", "") for step in ACTION["runs"]["steps"])
    assert "${{" not in used


def test_the_lines_of_the_readme_use_it():
    (lines,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(lines.splitlines()) == 8
    (job,) = yaml.safe_load(lines)["jobs"].values()
    (step,) = [step for step in job["steps"] if "efficientnet-rosetta" in step["uses"]]
    assert set(step["with"]) <= set(ACTION["inputs"])
