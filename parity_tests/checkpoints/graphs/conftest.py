"""Exports take seconds: each is made once for all tests that look at it."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from parity_tests.checkpoints.graphs.exporters import EXPORTERS


@dataclass
class Exports:
    """Files by the names of their exporters, made when they are asked for."""

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Path:
        if name not in self.made:
            suffix = ".tflite" if name.startswith("tflite") else ".onnx"
            self.made[name] = EXPORTERS[name](self.folder / f"{name}{suffix}")
        return self.made[name]


@pytest.fixture(scope="package")
def exports(tmp_path_factory):
    """What `EXPORTERS` makes."""
    return Exports(tmp_path_factory.mktemp("exports"))
