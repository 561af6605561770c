"""Writes docs/results/notebooks.json: how long a core works on each notebook of examples/.

python docs/notebooks.py
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

from notebooks import NAMES, RESULT  # noqa: E402
from parity_tests.notebooks import execute, kernel, read  # noqa: E402


def main() -> None:
    """Run each whole, in a Python of its own."""
    seconds = {name: seconds_of(name) for name in NAMES}
    found = {"command": "python docs/notebooks.py", "seconds": seconds}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def seconds_of(name: str) -> int:
    """Processor time, with that of processes which cells start: other work does not change it."""
    with tempfile.TemporaryDirectory() as folder, kernel(Path(folder)) as manager:
        execute(read(name), manager)
        used = psutil.Process(manager.provisioner.pid).cpu_times()
    return round(used.user + used.system + used.children_user + used.children_system)


if __name__ == "__main__":
    main()
