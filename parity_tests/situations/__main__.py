"""Runs situations with their proof, and keeps what became of each for docs/reference/files.md.

`python -m parity_tests.situations` runs all of them, in a quarter of an hour;
`python -m parity_tests.situations NAME...` only those whose names begin so, and keeps the others.
One that does not end as the table says is printed and not kept, and the exit status is 1.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from efficientnet_rosetta.common.errors import RosettaError
from parity_tests.situations.judge import Situation, judged, proof
from parity_tests.situations.table import GROUPS

RESULT = Path(__file__).parents[2] / "docs" / "results" / "situations.json"
LIBRARIES = (
    *("torch", "torchvision", "timm", "efficientnet_pytorch", "transformers"),
    *("segmentation-models-pytorch", "keras", "tf_keras", "tensorflow", "keras-hub"),
    *("efficientnet", "onnx", "tf2onnx", "lightning"),
)


def row(group: str, situation: Situation) -> dict[str, Any]:
    """What the page shows of a situation.

    Raises:
        AssertionError: it does not end as the table says.
        RosettaError: a file is refused that must not be.
    """
    with TemporaryDirectory() as folder:
        found = judged(situation, Path(folder), proof)
    return {
        "name": situation.name,
        "group": group,
        "have": situation.have,
        "thread": situation.thread,
        "head": situation.head,
        "to": situation.to,
        "options": situation.options_shown,
        **asdict(found),
    }


def keep(rows: dict[str, dict[str, Any]]) -> None:
    """Write what is known, in the order of the table."""
    names = [situation.name for situations in GROUPS.values() for situation in situations]
    content = {
        "command": "python -m parity_tests.situations",
        "versions": {name: version(name) for name in LIBRARIES},
        "situations": [rows[name] for name in names if name in rows],
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


def main() -> int:
    """Run those that are named, or all; each is kept as soon as it is known."""
    wanted = tuple(sys.argv[1:]) or ("",)
    kept = json.loads(RESULT.read_text())["situations"] if RESULT.exists() else []
    rows = {one["name"]: one for one in kept}
    failed = False
    for group, situations in GROUPS.items():
        for situation in situations:
            if not situation.name.startswith(wanted):
                continue
            rows.pop(situation.name, None)
            try:
                rows[situation.name] = row(group, situation)
            except (AssertionError, RosettaError) as error:
                sys.stderr.write(f"{situation.name}: {error!r}\n")
                failed = True
            keep(rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
