"""The fixture `parity` of pytest: two programs of a test's own are to compute the same.

It is registered for every session of pytest in which this package is installed, and so imports
nothing but pytest and the standard library until a test asks for it.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from .fixture import Parity

REPORT, UPDATE, AFTER, CALL = (
    "--parity-report",
    "--parity-update",
    "--parity-after",
    "--parity-call",
)
MARK = (
    "parity(tolerance, atol, layout, layouts, seed, batch, size): how the comparisons of a test "
    "are made, where they do not say it themselves"
)
PROPERTY = "parity"  # of a test's report: what became of a comparison, as JSON


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the fixture is told by the command line."""
    group = parser.getgroup("parity", "comparing programs of two frameworks")
    group.addoption(
        REPORT,
        metavar="DIR",
        help="Write a report of every comparison that fails into this folder, and an index of all.",
    )
    group.addoption(
        UPDATE,
        action="store_true",
        help="Write what the first program of a comparison computes as its golden outputs.",
    )
    group.addoption(
        AFTER,
        nargs=2,
        metavar=("FIRST", "SECOND"),
        help="Start both programs behind these values, one of each, from the first's value.",
    )
    group.addoption(
        CALL,
        type=int,
        default=1,
        metavar="N",
        help=f"The comparison of the test that {AFTER} is about. Default: its first.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, and see that reports can be written before any test is run.

    Raises:
        pytest.UsageError: they cannot.
    """
    config.addinivalue_line("markers", MARK)
    found = _report(config)
    if found is None or hasattr(config, "workerinput"):  # a worker of xdist
        return
    if find_spec("jinja2") is None:
        raise pytest.UsageError(
            f"{REPORT} needs jinja2, which is not installed; run: pip install jinja2"
        )
    folder = Path(found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"{REPORT}: {folder} cannot be made ({error.strerror})") from error
    config.pluginmanager.register(_Index(folder), "parity-index")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist, which may run in another folder, where pages are written."""
    node.workerinput[REPORT] = _report(node.config)


def _report(config: pytest.Config) -> str | None:
    """The folder for pages, from the root; None if there is none."""
    if hasattr(config, "workerinput"):
        return cast("str | None", config.workerinput[REPORT])
    folder = config.getoption(REPORT)
    return None if folder is None else str((config.invocation_params.dir / folder).resolve())


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """Hold programs to compute the same: `parity(first, second, inputs)`."""
    from .fixture import Asked, Parity

    config = request.config
    report, after = _report(config), config.getoption(AFTER)
    asked = Asked(
        report=None if report is None else Path(report),
        update=config.getoption(UPDATE),
        after=None if after is None else (after[0], after[1]),
        call=config.getoption(CALL),
    )
    marks: dict[str, Any] = {}
    for mark in request.node.iter_markers("parity"):  # the closest first
        if mark.args:
            raise pytest.UsageError(f"the mark parity takes its arguments by name: {MARK}")
        marks = {**mark.kwargs, **marks}

    def note(became: dict[str, Any]) -> None:
        request.node.user_properties.append((PROPERTY, json.dumps(became)))

    return Parity(_test(request), request.path, asked, marks, note)


def _test(request: pytest.FixtureRequest) -> str:
    """The name of a test from the folder on in which pytest was started, where it can be run.

    The names of pytest itself begin at a root that may be another folder.
    """
    name: str = request.node.nodeid
    try:
        path = os.path.relpath(request.path, request.config.invocation_params.dir)
    except ValueError:  # on another drive
        return name
    return f"{Path(path).as_posix()}::{name.partition('::')[2]}"


class _Index:
    """Gathers what became of every comparison of a session, its workers' included."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.found: dict[tuple[str, str, int], dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the comparisons of a test, each of whose phases tells of all so far."""
        for name, value in report.user_properties:
            if name == PROPERTY:
                became = json.loads(str(value))
                key = report.nodeid, became["what"], became["call"]
                self.found[key] = {"test": report.nodeid, **became}

    def pytest_sessionfinish(self) -> None:
        """Write the index, if there was anything to compare."""
        if self.found:
            from .report import index

            rows = [self.found[key] for key in sorted(self.found)]
            (self.folder / "index.html").write_text(index(rows), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where the index is."""
        if self.found:
            failed = sum(not row["agree"] for row in self.found.values())
            count = len(self.found)
            terminalreporter.write_line(
                f"parity: {failed} of {count} comparison{'s' if count > 1 else ''} failed; "
                f"report: {self.folder / 'index.html'}"
            )
