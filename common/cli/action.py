"""What the steps of action.yml do: `python action.py check`, `install` and `run`.

The inputs of the action come by way of the environment, as JSON, and are split into words here, so
that no shell ever reads them.  Only the standard library is imported, as the first two steps come
before anything is installed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

# Of Python: what the project's own workflow is tested with.
PYTHONS = ("3.11", "3.12", "3.13")
# What is installed where the caller names nothing, at the versions of constraints.txt.
TESTED = "torch,keras,onnx,guard"
DIFFERS, UNUSABLE, UNDECIDED = 1, 2, 3  # exit statuses, as those of `rosetta`
VERDICTS = {0: "proved", DIFFERS: "differs", UNDECIDED: "undecided"}
FAILED = "failed"  # nothing was compared: an input cannot be used, or a program broke
SHOWN = 20  # tests that did not pass, of which the summary of a job says more than the number

Mode = Literal["presets", "compare", "pytest"]
MODES: tuple[Mode, ...] = ("presets", "compare", "pytest")


class InputError(Exception):
    """An input of the action cannot be used."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of the action, in words."""

    mode: Mode
    words: tuple[str, ...]
    options: tuple[str, ...]
    install: tuple[str, ...]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Inputs:
        """Read them from the variable INPUTS.

        Raises:
            InputError: saying which input is wrong, and what to do.
        """
        said: dict[str, str] = json.loads(environment["INPUTS"])
        given: list[Mode] = [mode for mode in MODES if said[mode].strip()]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise InputError(f"give one of the inputs {', '.join(MODES)}; found {found}")
        if said["python"] not in PYTHONS:
            raise InputError(
                f"the input python is one of {', '.join(PYTHONS)}, with quotes around it; "
                f"found {said['python']!r}"
            )
        (mode,) = given
        return cls(
            mode,
            _words(mode, said),
            _words("options", said),
            _words("install", said),
        )


def _words(name: str, said: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(said[name]))
    except ValueError:
        raise InputError(f"the input {name} has a quote that is not closed") from None


# ------------------------------------------------------------------ the steps


def check(environment: Mapping[str, str]) -> int:
    """Find a wrong input before the minutes that installing takes."""
    Inputs.of(environment)
    return 0


def install(environment: Mapping[str, str]) -> int:
    """Make an environment of this package and what the caller names, or of the tested versions."""
    inputs, folder = Inputs.of(environment), _environment(environment)
    action = environment["GITHUB_ACTION_PATH"]
    if inputs.install:
        named = [f"{action}[guard]", *inputs.install]
    else:
        named = ["--constraint", str(Path(action) / "constraints.txt"), f"{action}[{TESTED}]"]
    # uv knows PyTorch's builds for CPUs, which are a tenth of the size of the others.
    backend = ["--torch-backend", "cpu"]
    for command in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        ["pip", "install", "--quiet", "--python", str(_python(folder)), *backend, *named],
    ):
        done = subprocess.run(["uv", *command], check=False)
        if done.returncode:
            return done.returncode
    return 0


def run(environment: Mapping[str, str]) -> int:
    """Compare, and tell the job the verdict and where the report is."""
    inputs = Inputs.of(environment)
    # One for each use: a job may have several, and a report of another would be kept with this.
    folder = Path(tempfile.mkdtemp(prefix="parity-", dir=environment["RUNNER_TEMP"]))
    _append(environment["GITHUB_OUTPUT"], f"report={folder}\nverdict={FAILED}\n")
    # Prints and imports as the user's own program would: from the folder that they work in.
    command = [str(_python(_environment(environment))), "-m", *_command(inputs, folder)]
    status = subprocess.run(command, check=False).returncode
    summary = _summary(inputs.mode, folder)
    if inputs.mode == "pytest" and status == 0 and not summary.passed:
        _tell("no test has passed, so nothing was compared")
        status = UNDECIDED
    verdict = VERDICTS.get(status, FAILED)
    _append(environment["GITHUB_OUTPUT"], f"verdict={verdict}\n")
    _append(environment["GITHUB_STEP_SUMMARY"], f"## Parity: {verdict}\n\n{summary.text}\n")
    return status if status >= 0 else 128 - status  # ended by a signal, as shells say it


def _command(inputs: Inputs, folder: Path) -> list[str]:
    """The module to run, and its arguments."""
    given = [*inputs.words, *inputs.options]
    junit = str(folder / "junit.xml")
    if inputs.mode == "pytest":
        return ["pytest", *given, "--parity-report", str(folder), "--junitxml", junit]
    files = ["--report", str(folder / "report.html"), "--json", str(folder / "report.json")]
    if inputs.mode == "compare":
        return ["efficientnet_rosetta", "compare", *given, *files]
    return ["efficientnet_rosetta", "parity", *given, *files, "--junit", junit]


def _environment(environment: Mapping[str, str]) -> Path:
    return Path(environment["RUNNER_TEMP"]) / "rosetta"


def _python(folder: Path) -> Path:
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def _append(path: str, text: str) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)


# ------------------------------------------------------------------ the summary of the job


@dataclass(frozen=True)
class Summary:
    """What the page of the job shows of a run, as Markdown, and how many tests passed."""

    text: str
    passed: int = 0


def _summary(mode: Mode, folder: Path) -> Summary:
    path = folder / ("junit.xml" if mode == "pytest" else "report.json")
    if not path.exists():
        return Summary("There is no result; the log of this step says why.")
    if mode == "pytest":
        return _of_tests(ElementTree.parse(path).getroot())
    found = json.loads(path.read_text(encoding="utf-8"))
    return Summary(_of_presets(found) if mode == "presets" else _of_programs(found))


def _of_presets(found: Mapping[str, Any]) -> str:
    """A row for each network and a column for each run of it; then where one differs."""
    runners = list(dict.fromkeys(run["runner"] for net in found["presets"] for run in net["runs"]))
    rows = []
    for net in found["presets"]:
        errors = {run["runner"]: run["endpoints"][-1]["largest"] for run in net["runs"]}
        cells = [_number(errors[runner]) if runner in errors else "" for runner in runners]
        rows.append([net["preset"], _shape(net["resolution"]), *cells, _said(net["agrees"])])
    table = _table(("preset", "pixels", *runners, "verdict"), rows)
    return (
        f"Largest error of the logits against {found['reference']}, in standard deviations of "
        f"these:\n\n{table}\n{_quoted(_differences(found))}"
    )


def _differences(found: Mapping[str, Any]) -> Iterator[str]:
    """What a report says of the runs that differ, and of the claims that do not hold."""
    for net in found["presets"]:
        for run in net["runs"]:
            for sentence in (run["diagnosis"] or {"sentences": []})["sentences"]:
                yield f"{run['runner']} of {net['preset']}: {sentence}"
    for preset, claims in found["claims"].items():
        for claim in claims:
            if not claim["holds"]:
                off = f"off by {_number(claim['size'])} where {_number(claim['limit'])} is allowed"
                yield f"{claim['backend']} of {preset}: {claim['name']} is {off}, {claim['what']}"


def _of_programs(found: Mapping[str, Any]) -> str:
    """A row for each output of two programs; then where they part, and the likely kind."""
    rows = [
        [
            output["output"],
            _shape(output["shape"]),
            _number(output["error"]),
            _number(output["allowed"]),
            _said(output["error"] is not None and output["error"] <= output["allowed"]),
        ]
        for output in found["outputs"]
    ]
    table = _table(("output", "shape", "error", "allowed", "verdict"), rows)
    pairs = zip(found["names"], found["kinds"], found["precisions"], strict=True)
    said = [f"{name}: {kind}, run in {precision}" for name, kind, precision in pairs]
    said.append(f"{found['verdict']['ending']}: {found['verdict']['why']}")
    if found["kind"]:
        said.append(f"likely: {found['kind']['name']}; {found['kind']['why']}")
    return f"Errors are in standard deviations of the output:\n\n{table}\n{_quoted(said)}"


def _of_tests(root: ElementTree.Element) -> Summary:
    """How many tests passed, and what the others said."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    told = []
    for case in root.iter("testcase"):
        ends = [(end, case.find(end)) for end in ("failure", "error", "skipped")]
        end, said = next((pair for pair in ends if pair[1] is not None), ("passed", None))
        counts["failed" if end in ("failure", "error") else end] += 1
        if said is not None and end != "skipped":
            lines = exception_in(said.text or said.get("message") or "").splitlines()
            told.append(f"`{_cell(case.get('name', ''))}`\n\n{_quoted(lines)}\n")
    rows = [[str(number) for number in counts.values()]]
    left = len(told) - SHOWN
    more = f"\nAnd {left} more, in the report.\n" if left > 0 else ""
    return Summary(
        f"{_table([f'tests {end}' for end in counts], rows)}\n{''.join(told[:SHOWN])}{more}",
        counts["passed"],
    )


def exception_in(told: str) -> str:
    """What a test failed with, out of what pytest tells: without the source and the values in it.

    The lines of an exception are marked with an E.
    """
    lines = [line[1:] for line in told.splitlines() if re.match(r"E\s", line)]
    text = textwrap.dedent("\n".join(lines)) if lines else told
    return re.sub(r"^[\w.]*ParityError: ", "", text)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    """Text that ends neither its cell nor its row."""
    return " ".join(text.split()).replace("|", "\\|")


def _quoted(lines: Sequence[str] | Iterator[str]) -> str:
    """Lines as they are; nothing where there are none."""
    text = "\n".join(lines)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}\n" if text else ""


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.1e}"


def _shape(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))


def _said(agrees: bool) -> str:
    return "agrees" if agrees else "**DIFFERS**"


def _tell(line: str) -> None:
    """Print a line as a command to the runner, which shows it on the page of the job as well."""
    print(f"::error title=efficientnet-rosetta::{line}", flush=True)  # noqa: T201


STEPS = {"check": check, "install": install, "run": run}


def main(step: str) -> int:
    """Do a step of the action."""
    try:
        return STEPS[step](os.environ)
    except InputError as error:
        _tell(str(error))
        return UNUSABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
