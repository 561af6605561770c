"""Comparisons that failed, as a page to open, and the index of those of a session of pytest.

A page is one file that asks for nothing else, and needs no JavaScript; it holds its data as JSON.
"""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from efficientnet_rosetta import __version__

from .._util.result import plain
from ..backends.registry import KERAS, TORCH
from ..parity.charts import BOTTOM, HEIGHT, LEFT, LOWEST, RIGHT, TOP, WIDTH, Chart, Line
from ..parity.templates import template
from ..weights.metadata import SCHEMA, SCHEMA_KEY
from .finding import Finding
from .message import ADVICE, growth, headline, place

HERE = Path(__file__).parent
POINTS = 200  # of a chart, at most
# What the numbers depend on, where it was imported.
LIBRARIES = ("numpy", TORCH, KERAS, "tensorflow", "jax", "onnx", "onnxruntime")


def html(findings: Sequence[Finding], title: str, command: str | None = None) -> str:
    """One self-contained page of what was found, the worst first.

    `title` is what the page is about, such as the name of a test; `command` runs the rest of the
    first finding again, from where the two programs part.

    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    content = {
        SCHEMA_KEY: SCHEMA,
        "title": title,
        "command": command,
        "environment": environment(),
        "findings": [plain(found) for found in findings],
    }
    return template(HERE / "report.html.j2").render(
        title=title,
        command=command,
        findings=findings,
        failed=sum(not found.agree for found in findings),
        environment=content["environment"],
        headline=headline,
        place=place,
        growth=growth,
        advice=ADVICE,
        chart_of=chart,
        finite=finite,
        # Names are somebody else's: no markup in them is to be seen by a browser.
        content=json.dumps(content, allow_nan=False).replace("<", "\\u003c"),
    )


def index(rows: Sequence[Mapping[str, Any]]) -> str:
    """The index of a session: every comparison, with its test and, if it failed, its page."""
    return template(HERE / "index.html.j2").render(
        rows=sorted(rows, key=lambda row: row["agree"]),
        failed=sum(not row["agree"] for row in rows),
        environment=environment(),
    )


def environment() -> dict[str, str]:
    """Versions of this package, of Python, and of the libraries that are loaded."""
    found = {"efficientnet-rosetta": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        if name in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:  # under another name, as a build of its own
                found[name] = str(getattr(sys.modules[name], "__version__", "unknown"))
    return {**found, "platform": platform.platform()}


def finite(value: float | None) -> float | None:
    """A number, or None for what is infinite or no number."""
    return value if value is not None and math.isfinite(value) else None


def chart(found: Finding) -> Chart | None:
    """The error of the values that agree, and of the first that does not, along the programs.

    None where there are too few to draw.
    """
    errors = [max(error, LOWEST) for *_, error in found.pairs]
    parted = found.divergence is not None
    if found.divergence is not None:
        error = finite(found.divergence.error)
        errors.append(max(error if error is not None else 1.0, LOWEST))
    if len(errors) < 2:
        return None
    step = math.ceil(len(errors) / POINTS)
    drawn = [max(errors[start : start + step]) for start in range(0, len(errors), step)]
    low = math.floor(math.log10(min(drawn)))
    high = max(math.ceil(math.log10(max(drawn))), low + 1)

    def x(place: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * place / (len(drawn) - 1), 1)

    def y(error: float) -> float:
        share = (high - math.log10(error)) / (high - low)
        return round(TOP + (HEIGHT - TOP - BOTTOM) * min(max(share, 0.0), 1.0), 1)

    points = [(x(place), y(error)) for place, error in enumerate(drawn)]
    text = " ".join(f"{a},{b}" for a, b in points)
    label = "first place" if parted else ""
    powers = range(low, high + 1, max(1, (high - low) // 6))
    return Chart(
        WIDTH,
        HEIGHT,
        [(y(10.0**power), f"1e{power}".replace("-", "\u2212")) for power in powers],
        [(x(0), "inputs"), (x(len(drawn) - 1), "")],
        None,
        "",
        "",
        [Line(label, text, points[-1], points[-1], parted)],
    )
