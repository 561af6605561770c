"""Running `rosetta predict`."""

import json

from typer.testing import CliRunner

from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError


def predict(weights, *arguments, status=0, stdin=None):
    """What the command prints, on stdout and on stderr."""
    command = ["predict", *arguments, "--weights", weights]
    done = CliRunner().invoke(app, list(map(str, command)), input=stdin)
    assert done.exit_code == status, done.output + repr(done.exception)
    return done.stdout, done.stderr


def as_json(weights, *arguments, **options):
    """What it prints with --json."""
    return json.loads(predict(weights, *arguments, "--json", **options)[0])


def refused(weights, *arguments, stdin=None):
    """The line that it ends with."""
    command = ["predict", *arguments, "--weights", weights]
    done = CliRunner().invoke(app, list(map(str, command)), input=stdin)
    assert isinstance(done.exception, RosettaError), done.output + repr(done.exception)
    assert not done.stdout
    assert str(done.exception).isprintable()
    return str(done.exception)
