"""A runner of GitHub's, as far as a step of the action can tell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step.get("name", step.get("uses")): step for step in ACTION["runs"]["steps"]}
DEFAULTS = {name: said["default"] for name, said in ACTION["inputs"].items()}
PLUGIN = "efficientnet_rosetta.common.guard.plugin"


class Runner:
    """A runner's folders and files, in which a step of the action is run."""

    def __init__(self, folder):
        self.temporary, self.workspace = folder / "temporary", folder / "workspace"
        self.said = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in (self.temporary, self.workspace):
            path.mkdir()
        for path in self.said.values():
            path.touch()
        self.program(self.temporary / "rosetta" / "bin" / "python", f'exec {sys.executable} "$@"')

    def program(self, path, script):
        """A program that is installed already, or stands in for one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def step(self, name, **inputs):
        """Run one step, with the variables that it is given and no other input."""
        values = {
            "${{ toJSON(inputs) }}": json.dumps({**DEFAULTS, **inputs}),
            "${{ steps.python.outputs.python-path }}": sys.executable,
            "${{ steps.keep.outputs.artifact-url }}": "https://example.org/artifact",
        }
        variables = {key: values[value] for key, value in STEPS[name]["env"].items()}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", STEPS[name]["run"]],
            env={
                **os.environ,
                **variables,
                **{name: str(path) for name, path in self.said.items()},
                "GITHUB_ACTION_PATH": str(ROOT),
                "RUNNER_TEMP": str(self.temporary),
                "PYTHONPATH": str(ROOT),
                # The plugin of this checkout, whatever is installed.
                "PYTEST_PLUGINS": PLUGIN,
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PATH": f"{self.temporary / 'bin'}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            cwd=self.workspace,
        )

    @property
    def outputs(self):
        """What the step has told the job: of a name that is said twice, the last."""
        lines = self.said["GITHUB_OUTPUT"].read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def report(self):
        return Path(self.outputs["report"])

    @property
    def summary(self):
        return self.said["GITHUB_STEP_SUMMARY"].read_text()
