"""The fixture `parity` of pytest: two programs of a test's own are to compute the same.

It is registered for every session of pytest in which this package is installed, and so imports
nothing but pytest until a test asks for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .fixture import Parity

REPORT, UPDATE = "--parity-report", "--parity-update"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the fixture is told by the command line."""
    group = parser.getgroup("parity", "comparing programs of two frameworks")
    group.addoption(
        REPORT,
        type=Path,
        metavar="DIR",
        help="Write a report of every comparison that fails into this folder.",
    )
    group.addoption(
        UPDATE,
        action="store_true",
        help="Write what the first program of each comparison computes as its golden outputs.",
    )


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """Hold programs to compute the same: `parity(first, second, inputs)`."""
    from .fixture import Parity

    config = request.config
    return Parity(request.node.nodeid, config.getoption(REPORT), config.getoption(UPDATE))
