"""Names of files that are made for tests."""

from __future__ import annotations

import hashlib
import re

LONGEST = 100  # characters, of the 255 bytes that a file system takes
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def file_name(name: str) -> str:
    """A text, such as the name of a test with its parameters, as the name of a file on any system.

    What had to be changed ends in a part of its digest, so that no two texts share a file.
    """
    safe = UNSAFE.sub("-", name.replace("::", ".")).strip("-.")
    if safe == name.replace("::", ".") and len(safe) <= LONGEST:
        return safe
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{safe[:LONGEST]}-{digest}"
