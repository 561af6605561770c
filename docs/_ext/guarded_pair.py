"""The repository of examples/guarded_pair as docs/use/guard.md shows it, and what breaks it.

The files are read where they lie, and what is said is what a test has kept of its own run, in
docs/results/guarded_pair.json.  Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "guarded_pair"
RESULTS = ROOT / "docs" / "results"
# In the order in which one would write them.
LANGUAGES = {
    "requirements.txt": "text",
    "pyproject.toml": "toml",
    "model_torch.py": "python",
    "model_keras.py": "python",
    "port.py": "python",
    "weights.safetensors": "text",
    "tests/conftest.py": "python",
    "tests/test_parity.py": "python",
    "tests/golden/classifier.safetensors": "text",
    ".github/workflows/parity.yml": "yaml",
}
TENSORS = ".safetensors"  # which are shown by what they hold
BROKEN = "test_both_compute_the_same[32]"


def files() -> str:
    """Every file whole, under its path."""
    return "\n\n".join(_file(path, language) for path, language in LANGUAGES.items())


def _file(path: str, language: str) -> str:
    file = EXAMPLE / path
    text = _tensors(file) if file.suffix == TENSORS else file.read_text(encoding="utf-8")
    return block(text, language, path)


def _tensors(file: Path) -> str:
    """What a file of tensors holds: names, types and shapes."""
    with safe_open(file, "numpy") as held:
        rows = [(name, held.get_slice(name)) for name in sorted(held.keys())]
    width = max(len(name) for name, _ in rows)
    return "".join(
        f"{name:<{width}}  {part.get_dtype():<4} {tuple(part.get_shape())}\n" for name, part in rows
    )


def block(text: str, language: str, caption: str = "") -> str:
    """Text as code, under a caption."""
    head = f":caption: {caption}\n" if caption else ""
    return f"````{{code-block}} {language}\n{head}\n{text.rstrip()}\n````"


def said(text: str) -> str:
    """Sentences of a program, whose lines may be long."""
    return f":::{{div}} said\n{block(text, 'text')}\n:::"


def kept() -> dict[str, Any]:
    """What a test has kept of the run of the broken repository."""
    found: dict[str, Any] = json.loads((RESULTS / "guarded_pair.json").read_text(encoding="utf-8"))
    return found


def difference() -> str:
    """The commit that breaks it."""
    return block(kept()["difference"], "diff")


def message() -> str:
    """What the test of both says of it."""
    return said(kept()["messages"][BROKEN])


def summary() -> str:
    """What the page of the job shows, but for its heading, which would be one of the page."""
    heading, text = kept()["summary"].split("\n", 1)
    return f":::{{div}} said\n**{heading.lstrip('# ')}**\n{text}\n:::"


# ------------------------------------------------------------------ what was measured of the guard

UNMEASURED = "This was not measured for this release."


def measured(name: str) -> dict[str, Any] | None:
    """A file of docs/results; None where it was not made."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def counts_of_kinds(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """For each source of mistakes: how many were played, and of how many the kind was named."""
    return [
        (source, str(part["played"]), str(part["right"]), f"{part['right'] / part['played']:.0%}")
        for source, part in found["sources"].items()
    ]


def rows_of_kinds(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """For each kind, over all sources: how many mistakes are of it, and what was named instead."""
    named: dict[str, Counter[str]] = {}
    for part in found["sources"].values():
        for kind, guesses in part["kinds"].items():
            named.setdefault(kind, Counter()).update(guesses)
    rows = []
    for kind, guesses in named.items():
        # A mistake may be of several kinds, of which any is right.
        others = ", ".join(
            f"{guess} ({count})" for guess, count in guesses.most_common() if guess != kind
        )
        rows.append((f"`{kind}`", str(guesses.total()), str(guesses[kind]), others))
    return rows


def rows_of_cost(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What the fixture takes over making and running both programs, the goal, and over running."""
    return [
        (
            row["pair"],
            row["what"],
            f"{row['ratio']:.2f}",
            f"{row['goal']:g}" if row["goal"] else "",
            f"{row['alone']:.2f}",
        )
        for row in found["rows"]
        if row["what"].startswith("the fixture")
    ]
