"""The hashes of files: what a library states of one, and what a file has."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from .._util.files import opened
from .location import Digest

BLOCK = 1 << 20  # bytes


def digest_of(path: str | Path, algorithm: str = "sha256") -> str:
    """The hash of a file, in hexadecimal digits.

    Raises:
        FileError: it cannot be read.
    """
    found = hashlib.new(algorithm, usedforsecurity=False)
    with opened(path) as file:
        while block := file.read(BLOCK):
            found.update(block)
    return found.hexdigest()


def differs(path: str | Path, stated: Digest) -> str | None:
    """In what way a file's hash is another than is stated; None where it is the same.

    Raises:
        FileError: it cannot be read.
    """
    has, wanted = digest_of(path, stated.algorithm), stated.value.lower()
    if has == wanted or (stated.is_prefix and wanted and has.startswith(wanted)):
        return None
    begins = " one that begins with" if stated.is_prefix else ""
    return f"has the {stated.algorithm} {has}, not{begins} {wanted} as its library states"


def remember(note: Path, path: Path) -> None:
    """Write down the hash of a file that has just arrived, and of which none is stated."""
    note.write_text(digest_of(path) + "\n", encoding="ascii")


def remembered(note: Path) -> Digest | None:
    """The hash that a file had when it arrived; None where nobody wrote it down."""
    try:
        found = note.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return Digest("sha256", found) if re.fullmatch("[0-9a-f]{64}", found) else None
