"""The command line: it parses and prints, and calls what Python can call as well."""

from . import (  # noqa: F401 - each registers its commands
    checkpoints,
    compare,
    describe,
    evaluate,
    identify,
    parity,
    predict,
    train,
    weights,
)
from .command import app, main

__all__ = ["app", "main"]
