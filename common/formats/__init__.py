"""Reading and writing checkpoint files as data: nothing in them is executed or followed."""

from common.formats.files import CHECKPOINT, Checkpoint, detect, format_of, index_of, read, write
from common.formats.stored import Stored

__all__ = [
    "CHECKPOINT",
    "Checkpoint",
    "Stored",
    "detect",
    "format_of",
    "index_of",
    "read",
    "write",
]
