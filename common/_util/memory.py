"""Letting go of memory that nothing refers to any longer."""

from __future__ import annotations

import ctypes
import gc
import sys


def release() -> None:
    """Free what only cycles refer to, and hand it back to the system.

    Models keep cycles, and glibc keeps what was freed: after ten steps of EfficientNetV2-S in
    float64 in PyTorch, 0.9 GB of 1.4.
    """
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
