"""What torchvision needs before it is imported beside a CPU build of torch.

Its compiled operators are absent there, and the import stops at the two that it describes.
`python -m parity_tests.peers.operators PROGRAM ARGUMENT...` runs a program with them declared.
"""

from __future__ import annotations

import runpy
import sys

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def declare() -> None:
    """Declare the operators, unless torchvision brought them along."""
    if hasattr(torch.ops.torchvision, "nms"):
        return
    for name in ("nms", "qnms"):
        LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


if __name__ == "__main__":
    declare()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
