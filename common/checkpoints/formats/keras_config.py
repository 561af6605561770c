"""What Keras writes of a model beside its weights: JSON, of which nothing is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..._util.files import is_file
from .protobuf_wire import Message, WireError

LIMIT = 2**25  # bytes; that of B7 has 2^19
METADATA_FILE = "keras_metadata.pb"  # of a SavedModel of Keras 2
NODES, NODE_PATH, NODE_METADATA = 1, 3, 5  # fields of its messages
ROOT = b"root"


def parsed(content: str | bytes) -> Mapping[str, Any] | None:
    """A configuration as data; None where it is no dictionary in JSON."""
    if len(content) > LIMIT:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def of_saved_model(folder: Path) -> Mapping[str, Any] | None:
    """The configuration that Keras 2 keeps in a SavedModel; None where there is none to be read."""
    path = folder / METADATA_FILE
    try:
        if path.is_symlink() or not is_file(path) or path.stat().st_size > LIMIT:
            return None
        for content in Message(path.read_bytes()).contents(NODES):
            node = Message(content)
            if node.contents(NODE_PATH) == [ROOT]:
                return parsed(b"".join(node.contents(NODE_METADATA)))
    except (OSError, WireError):
        return None
    return None
