"""The GitHub action: its steps, run the way a runner runs them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from efficientnet_rosetta import __version__
from efficientnet_rosetta.common.cli import action
from parity_tests.runner import ACTION, DEFAULTS, ROOT, STEPS, Runner

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)


# ------------------------------------------------------------------ what it compares


@pytest.mark.slow  # `make parity` does the same without the action
def test_networks_of_ours(runner):
    done = runner.step("Compare", presets="b0", options="--size 64\n--seed 1")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 agree" in done.stdout
    assert runner.outputs["verdict"] == "proved"
    found = json.loads((runner.report / "report.json").read_text())
    assert (found["agrees"], found["settings"]["seed"]) == (True, 1)
    assert (runner.report / "report.html").read_text().startswith("<!doctype html>")
    assert ElementTree.parse(runner.report / "junit.xml").getroot().tag == "testsuites"
    (row,) = re.findall(r"^\| b0 \| 64x64 \|.*\| agrees \|$", runner.summary, re.MULTILINE)
    logits = [run["endpoints"][-1]["largest"] for run in found["presets"][0]["runs"]]
    assert re.findall(r"\d\.\de-\d\d", row) == [f"{error:.1e}" for error in logits]


PROGRAMS = """
def mean(images):
    return images.mean((2, 3))

def shifted(images):
    return images.mean((2, 3)) + 1

def constant(images):
    return images.mean((2, 3)) * 0
"""


@pytest.mark.parametrize(
    ("other", "status", "verdict"),
    [
        pytest.param("mean", 0, "proved", marks=pytest.mark.slow),  # as of tests, below
        ("shifted", 1, "differs"),
        ("constant", 3, "undecided"),
    ],
)
def test_two_programs(runner, other, status, verdict):
    (runner.workspace / "mine.py").write_text(PROGRAMS)
    done = runner.step("Compare", compare=f"mine:mean 'mine:{other}'")
    assert done.returncode == status, done.stdout + done.stderr
    assert runner.outputs["verdict"] == verdict
    assert f"## Parity: {verdict}" in runner.summary
    assert (runner.report / "report.html").exists()
    assert ("**DIFFERS**" in runner.summary) == (verdict == "differs")


TESTS = """
import numpy as np
import pytest

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 8))

def test_same(parity):
    parity(mean, lambda images: images.mean((2, 3)), IMAGES)

def test_other(parity):
    parity(mean, shifted, IMAGES)

@pytest.mark.skip
def test_left_out(parity):
    pass
"""


@pytest.mark.parametrize(
    ("chosen", "status", "verdict", "row"),
    [
        ("same", 0, "proved", "1 | 0 | 0"),
        ("'same or other'", 1, "differs", "1 | 1 | 0"),
        ("left", 3, "undecided", "0 | 0 | 1"),
        ("nothing", 5, "failed", "0 | 0 | 0"),
    ],
)
def test_tests(runner, chosen, status, verdict, row):
    (runner.workspace / "test_pair.py").write_text(PROGRAMS + TESTS)
    done = runner.step("Compare", pytest="test_pair.py", options=f"-q -k {chosen}")
    assert done.returncode == status, done.stdout + done.stderr
    assert runner.outputs["verdict"] == verdict
    assert f"| tests passed | tests failed | tests skipped |\n| --- | --- | --- |\n| {row} |" in (
        runner.summary
    )
    assert ("`test_other`" in runner.summary) == (verdict == "differs")
    if verdict == "differs":
        assert "shifted differ" in runner.summary
        assert any("test_other" in page.name for page in runner.report.glob("*.html"))


def test_two_uses_in_a_job_have_a_report_each(runner):
    reports = []
    for _ in range(2):
        runner.step("Compare", presets="unknown")
        reports.append(runner.report)
    assert len(set(reports)) == 2
    assert all(report.is_dir() for report in reports)


def test_the_page_of_the_job_leads_to_the_report(runner):
    assert runner.step("Link the report").returncode == 0
    assert runner.summary == "[The whole report](https://example.org/artifact)\n"


# ------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "give one of the inputs presets, compare, pytest; found none of them"),
        ({"presets": " \n"}, "found none of them"),
        ({"presets": "b0", "pytest": "tests"}, "found presets and pytest"),
        ({"presets": "b0", "python": "3.1"}, "python is one of 3.11, 3.12, 3.13, with quotes"),
        ({"presets": "b0", "python": "3.12\n::stop::"}, r"found '3.12\n::stop::'"),
        ({"compare": "a.onnx 'b.onnx"}, "the input compare has a quote that is not closed"),
        ({"presets": "b0", "install": '"torch'}, "the input install has a quote that is not"),
    ],
)
def test_a_wrong_input_is_one_line_before_anything_is_installed(runner, inputs, said):
    done = runner.step("Check the inputs", **inputs)
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    assert line.startswith("::error title=efficientnet-rosetta::")
    assert said in line
    assert done.stderr == ""
    assert list(STEPS).index("Check the inputs") < list(STEPS).index("Install")


@pytest.mark.parametrize("mode", ["presets", "pytest"])
def test_nothing_in_an_input_is_run(runner, mode):
    evil = "b0; touch owned $(touch owned) `touch owned` && touch owned"
    assert runner.step("Check the inputs", **{mode: evil}).returncode == 0
    done = runner.step("Compare", **{mode: evil, "options": "| touch owned"})
    assert done.returncode in (2, 4)  # of `rosetta`, and of pytest
    assert runner.outputs["verdict"] == "failed"
    assert "the log of this step says why" in runner.summary or "| 0 | 0 | 0 |" in runner.summary
    assert list(runner.workspace.rglob("owned")) == []
    if mode == "presets":
        assert "unknown preset 'b0;'" in done.stderr


def test_no_expression_stands_in_a_script():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


def test_the_audit_of_workflows_finds_nothing(tmp_path):
    """Templates that others fill, permissions, credentials, actions that are not pinned."""
    zizmor = Path(sys.executable).with_name("zizmor")
    command = [zizmor, "--offline", "--quiet", "--no-progress", "--min-severity", "medium"]
    done = subprocess.run([*command, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    wrong = (ROOT / "action.yml").read_text().replace('\'"$PYTHON" -I', "'${{ inputs.python }}")
    (tmp_path / "action.yml").write_text(wrong)
    assert subprocess.run([*command, tmp_path], capture_output=True).returncode != 0


# ------------------------------------------------------------------ what it installs


@pytest.mark.parametrize(
    ("install", "named"),
    [
        ("", ["--constraint", f"{ROOT}/constraints.txt", f"{ROOT}[torch,keras,onnx,guard]"]),
        (
            "-r requirements.txt\n'torch==2.9.0'\n.",
            [f"{ROOT}[guard]", "-r", "requirements.txt", "torch==2.9.0", "."],
        ),
    ],
)
def test_it_installs_what_is_tested_or_what_is_named(runner, install, named):
    log = runner.temporary / "log"
    runner.program(
        runner.temporary / "bin" / "uv", f'for word in "$@"; do echo "$word" >> {log}; done'
    )
    assert runner.step("Install", presets="b0", install=install).returncode == 0
    words = log.read_text().splitlines()
    pip = words.index("pip")
    assert words[:pip] == ["venv", "--quiet", "--clear", "--python", sys.executable, words[pip - 1]]
    assert words[words.index("--torch-backend") :] == ["--torch-backend", "cpu", *named]


def test_a_failure_to_install_ends_the_job(runner):
    runner.program(runner.temporary / "bin" / "uv", "exit 7")
    assert runner.step("Install", presets="b0").returncode == 7


def test_what_it_installs_is_kept_by_what_it_depends_on():
    (cached,) = [step["with"] for name, step in STEPS.items() if "setup-uv" in name]
    assert cached["cache-suffix"] == "rosetta-${{ inputs.python }}"
    for file in ("constraints.txt", "pyproject.toml"):
        assert f"${{{{ github.action_path }}}}/{file}" in cached["cache-dependency-glob"].split(
            "\n"
        )
        assert (ROOT / file).exists()


def test_the_report_of_a_failure_is_kept():
    kept = STEPS["Keep the report"]
    assert kept["if"].startswith("${{ !cancelled() && ")
    assert kept["with"]["path"] == ACTION["outputs"]["report"]["value"]


# ------------------------------------------------------------------ its versions


def test_it_takes_the_versions_that_are_tested():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    tested = jobs["test"]["strategy"]["matrix"]["python"]
    assert list(action.PYTHONS) == tested == jobs["action"]["strategy"]["matrix"]["python"]
    assert DEFAULTS["python"] in tested
    assert re.findall(r'"([\d.]+)"', ACTION["inputs"]["python"]["description"]) == tested


def test_actions_have_one_version_everywhere():
    used = {}
    for path in (ROOT / "action.yml", *WORKFLOWS):
        for name, version in re.findall(r"uses: ([\w-]+/[\w-]+)@(.*)", path.read_text()):
            used.setdefault(name, set()).add(version)
    assert {"actions/setup-python", "astral-sh/setup-uv", "actions/upload-artifact"} <= set(used)
    for name, versions in used.items():
        (version,) = versions
        assert re.fullmatch(r"[0-9a-f]{40} # v[\d.]+", version), name


def test_the_lines_of_the_readme_use_it():
    (lines,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    flow = yaml.safe_load(lines)
    assert flow["permissions"] == {"contents": "read"}
    (job,) = flow["jobs"].values()
    (step,) = [step for step in job["steps"] if "efficientnet-rosetta" in step["uses"]]
    assert step["uses"].endswith(f"@v{__version__}")
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_the_script_needs_no_package(tmp_path):
    """Nothing is installed when it checks: it is run without site-packages, from a lone file."""
    lone = shutil.copy(action.__file__, tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", lone, "check"],
        env={"INPUTS": json.dumps({**DEFAULTS, "presets": "b0"})},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
