"""Runs every situation with its proof, and keeps what became of each for docs/use/port.md.

`python -m parity_tests.situations` takes about ten minutes, and stops at the first situation that
does not end as the table says.
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

from parity_tests.situations.judge import Situation, judged, proof
from parity_tests.situations.table import GROUPS

RESULT = Path(__file__).parents[2] / "docs" / "results" / "situations.json"
LIBRARIES = (
    *("torch", "torchvision", "timm", "efficientnet_pytorch", "transformers"),
    *("segmentation-models-pytorch", "keras", "tf_keras", "tensorflow", "keras-hub"),
    *("efficientnet", "onnx", "tf2onnx", "lightning"),
)


def row(group: str, situation: Situation) -> dict[str, Any]:
    """What the page shows of a situation."""
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


def main() -> None:
    """Run them all, and write the result."""
    rows = []
    for group, situations in GROUPS.items():
        for situation in situations:
            sys.stderr.write(f"{situation.name}\n")
            rows.append(row(group, situation))
    content = {
        "command": "python -m parity_tests.situations",
        "versions": {name: version(name) for name in LIBRARIES},
        "situations": rows,
    }
    RESULT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
