"""Four blocks are enough where the loop is tested, and not the network.

    python -m parity_tests.loops.short PROGRAM ARGUMENT...

runs a program in which Table 1 is that short, and torchvision can be imported.  Most of the time of
a short training is that of tracing its layers.
"""

from __future__ import annotations

import runpy
import sys

from efficientnet_rosetta.common import spec
from parity_tests.peers.operators import declare

# Its first stage has no expansion; its second, of two blocks, has a stride and a shortcut.
WHOLE = spec.TABLE_1
SHORT = (*WHOLE[:2], WHOLE[-1])


def shorten() -> None:
    """Make the networks of this process that short."""
    spec.TABLE_1 = SHORT


if __name__ == "__main__":
    declare()
    shorten()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
