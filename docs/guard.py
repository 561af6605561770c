"""Plays mistakes in one of two programs, and counts how often the guard names their kind.

python docs/guard.py [SOURCE...]

Mistakes of parity_tests/mutations that inference shows are made in our networks in PyTorch, which
are held against ours in Keras.  Others are made in networks of others, which are held against the
right ones in PyTorch and in ONNX.  What every mistake is was written down beside it before.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for parity_tests, which is not installed

from efficientnet_rosetta.common.backends.registry import get_backend  # noqa: E402
from parity_tests.guard import ours, planted  # noqa: E402
from parity_tests.guard.playing import Play, Played, play  # noqa: E402

RESULT = Path(__file__).parent / "results" / "kinds.json"
SOURCES: dict[str, Callable[[], list[Play]]] = {
    "others in PyTorch": planted.plays,
    "others in ONNX": lambda: planted.plays("ONNX"),
    "ours": ours.plays,
}


def main(sources: Sequence[str]) -> None:
    """Play the mistakes of some sources, all by default, and keep what was said of them."""
    found = json.loads(RESULT.read_text())["sources"] if RESULT.exists() else {}
    for source in sources or SOURCES:
        found[source] = _of(SOURCES[source]())
        result = {
            "schema": 1,
            "command": "python docs/guard.py",
            "versions": get_backend("torch").versions() | get_backend("keras").versions(),
            "sources": {name: found[name] for name in SOURCES if name in found},
        }
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


def _of(plays: Sequence[Play]) -> dict[str, Any]:
    played = [play(one) for one in plays]
    return {
        "played": len(played),
        "right": sum(one.right for one in played),
        "kinds": dict(_by_kind(played)),
        "mistakes": [one.row for one in played],
    }


def _by_kind(played: list[Played]) -> Iterator[tuple[str, dict[str, int]]]:
    """For every kind that mistakes are of: how many, by the kind that was named."""
    kinds = dict.fromkeys(one.play.kinds[0] for one in played)
    for kind in kinds:
        yield kind, dict(Counter(one.guessed for one in played if one.play.kinds[0] == kind))


if __name__ == "__main__":
    main(sys.argv[1:])
