"""The result of a parity run as plain data, as a page to open, and as JUnit XML for CI services.

The last two are functions of the first, which the page holds as JSON as well.  The page is one
file that asks for nothing else, and needs no JavaScript.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from common import parity
from common.diagnosis import Diagnosis, sentences
from common.files import finite
from common.parity import Result, Settings

if TYPE_CHECKING:
    from common.claims import Claim

SCHEMA = 3
THUMBNAIL = 96  # pixels
TEMPLATE = Path(__file__).parent / "assets" / "report.html.j2"
SHADES = 8  # of either half of the colour scale
DECADES = 4  # below the tolerance, and up to an error of 1 above it
WIDTH, HEIGHT = 640, 300  # of a chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 54, 110, 14, 26  # its margins
LABEL_HEIGHT = 14
LOWEST = 1e-16


def scientific(value: float | None) -> str:
    """`1.3e-05` the way people write it."""
    if value is None:
        return "∞"  # infinite, or not a number
    if value == 0:
        return "0"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "\u2212")


def shade(error: float | None, tolerance: float) -> str:
    """The class of a cell: cool up to the tolerance, warm above, each on a logarithmic scale."""
    if error is None or not math.isfinite(error):
        return f"warm{SHADES - 1}"
    decades = math.log10(max(error, LOWEST) / tolerance)
    warm = error > tolerance
    share = decades / -math.log10(tolerance) if warm else 1 + decades / DECADES
    step = min(max(int(share * SHADES), 0), SHADES - 1)
    return f"{'warm' if warm else 'cool'}{step}"


def judged(run: dict, index: int) -> float | None:
    """The error of an endpoint that is held against the tolerance (see `common.compare`)."""
    endpoint, last = run["endpoints"][index], index in (-1, len(run["endpoints"]) - 1)
    return endpoint["largest" if last else run["tolerance"]["inside"]]


def worst(run: dict) -> float | None:
    """The largest of the judged errors; None if one is no number."""
    errors = [judged(run, index) for index in range(len(run["endpoints"]))]
    return None if None in errors else max(errors)


# ------------------------------------------------------------------ plain data


def content(
    results: Sequence[Result],
    settings: Settings,
    claims: Mapping[str, Sequence[Claim]],
    command: str,
) -> dict:
    """The content of a run, ready for JSON; `schema` grows when it changes.

    `claims` are those of `common.claims`, by preset, where they were checked.
    """
    held = all(claim.holds for found in claims.values() for claim in found)
    return finite(
        {
            "schema": SCHEMA,
            "agrees": held and all(result.agrees for result in results),
            "reference": f"{parity.REFERENCE} float64",
            "command": command,
            "environment": parity.environment(),
            "settings": {**asdict(settings), "image": settings.image.name},
            "inputs": _inputs(results, settings),
            "presets": [_preset(result) for result in results],
            "claims": {
                preset: [{**asdict(claim), "holds": claim.holds} for claim in found]
                for preset, found in claims.items()
            },
        }
    )


def _preset(result: Result) -> dict:
    network = result.network
    return {
        "preset": network.name,
        "resolution": network.resolution,
        "dialect": asdict(network.dialect),
        "parameters": result.count.trainable,
        "macs": result.count.macs,
        "seconds": round(result.seconds, 1),
        "agrees": result.agrees,
        "runs": [
            {
                "runner": run.runner,
                "tolerance": asdict(run.tolerance),
                "agrees": run.agrees,
                "top5_agreement": run.top5_agreement,
                "endpoints": [asdict(error) for error in run.errors],
                "diagnosis": _diagnosis(result.diagnoses.get(run.runner)),
            }
            for run in result.comparisons
        ],
    }


def _diagnosis(found: Diagnosis | None) -> dict | None:
    if found is None:
        return None
    operation = dict.fromkeys(("operation", "counterpart", "error", "after", "place", "heat"))
    if found.divergence is not None:
        operation = asdict(found.divergence)
    return {
        **asdict(found.growth),
        **{name: value for name, value in operation.items() if name != "error"},
        "operation_error": operation["error"],
        "sentences": sentences(found),
        "command": found.command,
    }


def _inputs(results: Sequence[Result], settings: Settings) -> list[dict]:
    """Every image, small, and how many runs have the same five best classes for it."""
    network = results[0].network
    found = []
    for index, image in enumerate(parity.parity_images(network, settings)):
        kind, number = divmod(index, settings.batch)
        name = ("photograph", "noise")[kind] + (f" {number + 1}" if settings.batch > 1 else "")
        equal = [run.top5[index] for result in results for run in result.comparisons if run.top5]
        found.append(
            {"name": name, "picture": _thumbnail(image), "equal": sum(equal), "runs": len(equal)}
        )
    return found


def _thumbnail(image: np.ndarray) -> str:
    """An image (C, H, W), from its darkest to its brightest value, as a data address."""
    from PIL import Image

    shown = image[np.arange(3) % len(image)].transpose(1, 2, 0)
    low, high = shown.min(), shown.max()
    pixels = Image.fromarray(((shown - low) / (high - low) * 255).astype(np.uint8))
    pixels.thumbnail((THUMBNAIL, THUMBNAIL))
    file = BytesIO()
    pixels.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


# ------------------------------------------------------------------ charts


@dataclass(frozen=True)
class Line:
    """A run that differs: its points on the chart, and the one where it does so first."""

    label: str
    points: str
    end: tuple[float, float]
    first: tuple[float, float]
    labelled: bool  # not where another label is


@dataclass(frozen=True)
class Chart:
    """What the template draws: coordinates only."""

    width: int
    height: int
    grid: list[tuple[float, str]]  # height and label
    ticks: list[tuple[float, str]]  # place and label
    tolerance: float
    band: str  # the runs that agree, as one polygon
    band_label: str
    lines: list[Line]
    left: int = LEFT
    right: int = WIDTH - RIGHT


def section(endpoint: str) -> str:
    """The part of a network that an endpoint is in: stem, stage 2 to 8, head, ...; or a flow."""
    first, *others = endpoint.split(".")
    return f"stage {others[0]}" if first == "stages" else first


def sections(run: dict) -> dict[str, float | None]:
    """The largest error of every section of the network."""
    found: dict[str, float | None] = {}
    for index, endpoint in enumerate(run["endpoints"]):
        name = section(endpoint["endpoint"])
        if name == "reductions":  # the value of the block before
            continue
        errors = (found.get(name, 0.0), judged(run, index))
        found[name] = None if None in errors else max(errors)
    return found


def charts(runs: Iterable[tuple[str, dict]]) -> list[Chart]:
    """One chart for all runs of an architecture, whose networks have the same sections."""
    alike: dict[tuple[str, ...], list[tuple[str, dict]]] = {}
    for label, run in runs:
        alike.setdefault(tuple(sections(run)), []).append((label, run))
    return [chart(some) for some in alike.values()]


def chart(runs: Sequence[tuple[str, dict]]) -> Chart:
    """The error along the network: a band for the runs that agree, a line for each other one."""
    rows = [(label, run, sections(run)) for label, run in runs]
    names = list(rows[0][2])
    tolerance = max(run["tolerance"]["limit"] for _, run, _ in rows)
    known = [error for _, _, errors in rows for error in errors.values() if error]
    low = math.floor(math.log10(max(min(known, default=tolerance), LOWEST)))
    high = max(0, math.ceil(math.log10(max(known, default=1.0))))

    def x(index: int) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * index / max(len(names) - 1, 1), 1)

    def y(error: float | None) -> float:
        power = high if error is None else math.log10(max(error, 10.0**low))
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - power) / (high - low), 1)

    agreeing = [errors for _, run, errors in rows if run["agrees"]]
    band = ""
    if agreeing:
        top = [f"{x(i)},{y(max(e[name] for e in agreeing))}" for i, name in enumerate(names)]
        bottom = [f"{x(i)},{y(min(e[name] for e in agreeing))}" for i, name in enumerate(names)]
        band = " ".join([*top, *reversed(bottom)])
    lines = []
    for label, run, errors in rows:
        if not run["agrees"]:
            points = [(x(index), y(errors[name])) for index, name in enumerate(names)]
            over = [
                index
                for index, name in enumerate(names)
                if errors[name] is None or errors[name] > run["tolerance"]["limit"]
            ]
            text = " ".join(f"{a},{b}" for a, b in points)
            near = [line for line in lines if abs(line.end[1] - points[-1][1]) < LABEL_HEIGHT]
            lines.append(Line(label, text, points[-1], points[over[0]], not near))
    powers = range(low, high + 1, max(1, (high - low) // 6))
    return Chart(
        WIDTH,
        HEIGHT,
        [(y(10.0**power), f"1e{power}".replace("-", "\u2212")) for power in powers],
        [(x(index), name.replace("stage ", "s")) for index, name in enumerate(names)],
        y(tolerance),
        band,
        f"{len(agreeing)} that agree{'s' if len(agreeing) == 1 else ''}",
        lines,
    )


# ------------------------------------------------------------------ the page


def html(found: dict) -> str:
    """One self-contained page from the data of `content`."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"scientific": scientific}
    runs = [(preset["preset"], run) for preset in found["presets"] for run in preset["runs"]]
    passing = [worst(run) for _, run in runs if run["agrees"]]
    claims = [claim for held in found["claims"].values() for claim in held]
    return environment.from_string(TEMPLATE.read_text()).render(
        found=found,
        runners=list(dict.fromkeys(run["runner"] for _, run in runs)),
        failed=sum(not run["agrees"] for _, run in runs),
        passed=len(passing),
        broken=sum(not claim["holds"] for claim in claims),
        claims=claims,
        largest=max(passing, default=None),
        tolerances=sorted({run["tolerance"]["limit"] for _, run in runs}),
        charts=charts((f"{preset} {run['runner']}", run) for preset, run in runs),
        widest=max(len("preset"), *(len(preset["preset"]) for preset in found["presets"])) + 1,
        chart_of=lambda preset, run: chart([(f"{preset} {run['runner']}", run)]),
        section=section,
        worst=worst,
        judged=judged,
        shade=shade,
        shades=range(SHADES),
        # A script element ends at "</": the only thing that JSON could do to a page.
        content=json.dumps(found, allow_nan=False).replace("</", "<\\/"),
    )


# ------------------------------------------------------------------ JUnit


def junit(found: dict) -> str:
    """JUnit XML: a suite for each preset, a case for each run and claim."""
    suites = ElementTree.Element("testsuites", name="rosetta parity")
    for preset in found["presets"]:
        claims = found["claims"].get(preset["preset"], [])
        cases = [_run_case(run) for run in preset["runs"]] + [_claim_case(c) for c in claims]
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=preset["preset"],
            tests=str(len(cases)),
            failures=str(sum(message is not None for _, message in cases)),
            errors="0",
            skipped="0",
            time=str(preset["seconds"]),
        )
        for name, message in cases:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"rosetta.parity.{preset['preset']}", name=name
            )
            if message is not None:
                failure = ElementTree.SubElement(case, "failure", message=message.splitlines()[0])
                failure.text = message
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, "unicode", xml_declaration=True) + "\n"


def _run_case(run: dict) -> tuple[str, str | None]:
    if run["agrees"]:
        return run["runner"], None
    said = f"error {scientific(worst(run))}, tolerance {scientific(run['tolerance']['limit'])}"
    diagnosis = run["diagnosis"]
    lines = [said] if diagnosis is None else [said, *diagnosis["sentences"], diagnosis["command"]]
    return run["runner"], "\n".join(lines)


def _claim_case(claim: dict) -> tuple[str, str | None]:
    name = f"{claim['name']}, {claim['backend']}"
    if claim["holds"]:
        return name, None
    off = f"off by {scientific(claim['size'])}, limit {scientific(claim['limit'])}"
    return name, f"{off}: {claim['what']}"
