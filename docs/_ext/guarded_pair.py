"""The repository of examples/guarded_pair as docs/use/guard.md shows it, and what breaks it.

The files are read where they lie, and what is said is what a test has kept of its own run, in
docs/results/guarded_pair.json.  Nothing here knows Sphinx, so that tests use it too.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open

from facts import result
from generating import generated

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "guarded_pair"
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


@generated("guarded files")
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


@generated("guarded difference")
def difference() -> str:
    """The commit that breaks it."""
    return block(result("guarded_pair")["difference"], "diff")


@generated("guarded message")
def message() -> str:
    """What the test of both says of it."""
    return said(result("guarded_pair")["messages"][BROKEN])


@generated("guarded summary")
def summary() -> str:
    """What the page of the job shows, but for its heading, which would be one of the page."""
    heading, text = result("guarded_pair")["summary"].split("\n", 1)
    return f":::{{div}} said\n**{heading.lstrip('# ')}**\n{text}\n:::"
