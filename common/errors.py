"""The error that a person, not a programmer, is meant to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RosettaError(ValueError):
    """Bad input.  The message is one line: what is wrong, with which file, and what to do."""


class UnreadableImageError(RosettaError):
    """A file is no image, or is damaged: one to leave out, and not a reason to stop."""


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn a missing library into the line that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise RosettaError(
            f"this needs {error.name}, which is not installed; "
            f"run: pip install 'efficientnet-rosetta[{extra}]'"
        ) from None


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Report whatever a parser raises on a damaged file, which is anything at all, as one line."""
    try:
        yield
    except RosettaError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RosettaError(f"{path}: cannot be read as {what} ({reason[:200]})") from None
