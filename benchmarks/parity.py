"""What Lite, V2 and Xception add to `make parity`, as ratios of its wall time.

    python benchmarks/parity.py [TURNS]     (2 by default; three quarters of a minute a network)

Both commands are run in turn, each in a process of its own, imports included.  Absolute times mean
nothing beyond the machine they were measured on.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from efficientnet_rosetta.common.architectures import ARCHITECTURES
from efficientnet_rosetta.common.parity.check import DEFAULT_PRESETS

BEFORE = ("efficientnet", "xception")  # what there was before the later networks


def main() -> None:
    """Run both in turn, and print the seconds of each and the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("turns", nargs="?", type=int, default=2)
    turns = parser.parse_args().turns
    older = {name for family in BEFORE for name in ARCHITECTURES[family].presets}
    without = [name for name in DEFAULT_PRESETS if name in older]
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(turns):
        seconds["without"].append(timed(without))
        seconds["with"].append(timed(DEFAULT_PRESETS))
    for name, found in seconds.items():
        print(f"{name:<9}", "  ".join(f"{one:.0f} s" for one in found))
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print(f"ratio     {medians['with'] / medians['without']:.2f}")


def timed(presets: list[str] | tuple[str, ...]) -> float:
    """Wall seconds of `rosetta parity` on these presets."""
    command = [sys.executable, "-m", "efficientnet_rosetta", "parity", *presets]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
