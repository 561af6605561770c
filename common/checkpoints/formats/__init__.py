"""Reading and writing checkpoint files as data: nothing in them is executed or followed."""

from .checkpoint import Checkpoint
from .detect import CHECKPOINT, detect, format_of, index_of
from .lazy import LazyTensor
from .readers import read
from .writers import write

__all__ = [
    "CHECKPOINT",
    "Checkpoint",
    "LazyTensor",
    "detect",
    "format_of",
    "index_of",
    "read",
    "write",
]
