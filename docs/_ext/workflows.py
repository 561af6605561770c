"""The workflows that pages show: each uses the action at the tag of this release.

Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from efficientnet_rosetta import __version__

ROOT = Path(__file__).parents[2]
ACTION = f"efficientnet-rosetta/efficientnet-rosetta@v{__version__}"
CHECKOUT = "actions/checkout@v7"
USES: Mapping[str, Mapping[str, str]] = {
    "presets": {"presets": "b0 b4", "options": "--full --size 64"},
    "compare": {
        "compare": "model.onnx port:predict",
        "install": "-r requirements.txt onnx onnxruntime",
    },
    "pytest": {"pytest": "tests/test_parity.py", "install": "-r requirements.txt"},
}


def workflow(inputs: Mapping[str, str]) -> str:
    """A workflow of one job that uses the action with some inputs, as YAML."""
    said = "".join(f"          {name}: {value}\n" for name, value in inputs.items())
    return (
        "name: Parity\n"
        "on: [push, pull_request]\n"
        "permissions:\n"
        "  contents: read\n"
        "jobs:\n"
        "  parity:\n"
        "    runs-on: ubuntu-latest\n"
        "    steps:\n"
        f"      - uses: {CHECKOUT}\n"
        f"      - uses: {ACTION}\n"
        f"        with:\n{said}"
    )


def shown(use: str) -> str:
    """One of `USES` as a page shows it."""
    return f"```yaml\n{workflow(USES[use])}```\n"


def action() -> dict[str, Any]:
    """What action.yml says."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


def named(part: str) -> Iterator[dict[str, str]]:
    """Every input, or output, of the action: its name, its default, and what it is."""
    for name, said in action()[part].items():
        default = f"`{said['default']}`" if said.get("default") else ""
        yield {"name": name, "default": default, "what": " ".join(said["description"].split())}
