"""The result of a parity run as plain data, and as a page to open.

The page is a function of the data, which it holds as JSON as well.  It is one file that asks for
nothing else, and needs no JavaScript.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .._util.result import plain
from ..backends.registry import REFERENCE
from ..weights.metadata import SCHEMA, SCHEMA_KEY
from .charts import SHADES, chart, charts, judged, section, shade, worst
from .claims import Claim
from .diagnosis import Diagnosis, sentences
from .run import NetworkResult, Settings, environment, parity_images
from .templates import template

THUMBNAIL = 96  # pixels
TEMPLATE = Path(__file__).with_name("report.html.j2")


# ------------------------------------------------------------------ plain data


def content(
    results: Sequence[NetworkResult],
    settings: Settings,
    claims: Mapping[str, Sequence[Claim]],
    command: str,
) -> dict[str, Any]:
    """The content of a run, ready for JSON; `schema` grows when it changes.

    `claims` are those of `claims.py`, by preset, where they were checked.
    """
    held = all(claim.holds for found in claims.values() for claim in found)
    found: dict[str, Any] = plain(
        {
            SCHEMA_KEY: SCHEMA,
            "agrees": held and all(result.agrees for result in results),
            "reference": f"{REFERENCE} float64",
            "command": command,
            "environment": environment(),
            "settings": {**asdict(settings), "image": settings.image.name},
            "inputs": _inputs(results, settings),
            "presets": [_preset(result) for result in results],
            "claims": {
                preset: [{**asdict(claim), "holds": claim.holds} for claim in found]
                for preset, found in claims.items()
            },
        }
    )
    return found


def _preset(result: NetworkResult) -> dict[str, Any]:
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


def _diagnosis(found: Diagnosis | None) -> dict[str, Any] | None:
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


def _inputs(results: Sequence[NetworkResult], settings: Settings) -> list[dict[str, Any]]:
    """Every image, small, and how many runs have the same five best classes for it."""
    network = results[0].network
    found = []
    for index, image in enumerate(parity_images(network, settings)):
        kind, number = divmod(index, settings.batch)
        name = ("photograph", "noise")[kind] + (f" {number + 1}" if settings.batch > 1 else "")
        equal = [run.top5[index] for result in results for run in result.comparisons if run.top5]
        found.append(
            {"name": name, "picture": _thumbnail(image), "equal": sum(equal), "runs": len(equal)}
        )
    return found


def _thumbnail(image: np.ndarray) -> str:
    """An image (C, H, W), from its darkest to its brightest value, as a data address."""
    shown = image[np.arange(3) % len(image)].transpose(1, 2, 0)
    low, high = shown.min(), shown.max()
    pixels = Image.fromarray(((shown - low) / (high - low) * 255).astype(np.uint8))
    pixels.thumbnail((THUMBNAIL, THUMBNAIL))
    file = BytesIO()
    pixels.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


# ------------------------------------------------------------------ the page


def html(found: dict[str, Any]) -> str:
    """One self-contained page from the data of `content`."""
    runs = [(preset["preset"], run) for preset in found["presets"] for run in preset["runs"]]
    passing = [error for _, run in runs if run["agrees"] and (error := worst(run)) is not None]
    claims = [claim for held in found["claims"].values() for claim in held]
    return template(TEMPLATE).render(
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
