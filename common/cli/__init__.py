"""The command line: it parses and prints, and calls what Python can call as well."""

from . import checkpoints, compare, describe, parity, train  # noqa: F401 - each registers its commands
from .command import app, main

__all__ = ["app", "main"]
