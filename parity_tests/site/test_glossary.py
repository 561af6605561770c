"""Words of our own are defined, and linked where a page first has them."""

import re

import pytest

import first_met
from parity_tests.site.conftest import sphinx
from parity_tests.site.pages import DOCS, ROOT, named

GLOSSARY = (DOCS / "reference" / "glossary.md").read_text()
DEFINED = set(re.findall(r"(?m)^([a-z][\w -]*)\n  \S", GLOSSARY))
# Those that a newcomer to these pages cannot know, by whoever read all of them as one.
UNKNOWN = {
    *("calibrated weights", "canonical", "claim", "dialect", "drift", "endpoint", "family"),
    *("fingerprint", "jump", "layout", "mistake", "reduction", "role", "section", "spread"),
}
CONF = """
import sys
sys.path.insert(0, {path!r})
extensions = ["myst_parser", "first_met"]
"""
TERMS = "".join(f"{word}\n  What it is.\n\n" for word in first_met.WORDS)
PAGE = """\
# Dialect

The `dialect` of `a/dialect.py` stands here, and the dialect-free form.

| dialect |
|---|
| dialect |

```{container} tri-label
The dialect of a label
```

[The dialect of this](https://example.org) and **two Dialects** are met; a dialect is met again.

An endpoint is met before {term}`endpoint`. The {term}`word <layout>` is met before a layout.
"""


def test_every_word_is_defined():
    assert UNKNOWN | set(first_met.WORDS) <= DEFINED


def test_every_word_is_linked_from_some_page():
    linked = {re.sub(r".*<(.*)>", r"\1", text) for _, text in named("term")}
    assert linked | set(first_met.WORDS) >= DEFINED


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page, as it is built."""
    docs = tmp_path_factory.mktemp("words")
    (docs / "reference").mkdir()
    (docs / "conf.py").write_text(CONF.format(path=str(ROOT / "docs" / "_ext")))
    (docs / "index.md").write_text(f"{PAGE}\n```{{toctree}}\nreference/glossary\n```\n")
    glossary = f"# Words\n\nA dialect.\n\n```{{glossary}}\n{TERMS}```\n"
    (docs / "reference" / "glossary.md").write_text(glossary)
    done = sphinx(docs, docs / "out")
    assert (done.returncode, done.stderr) == (0, "")
    return docs / "out"


def test_a_word_is_linked_once_where_it_is_first_met_in_prose(built):
    page = (built / "index.html").read_text()
    links = re.findall(r'href="reference/glossary\.html#term-([\w-]+)"[^>]*>(.*?)</a>', page)
    assert [(term, re.sub("<.*?>", "", text)) for term, text in links] == [
        ("dialect", "Dialects"),
        ("endpoint", "endpoint"),
        ("endpoint", "endpoint"),  # which a writer asked for
        ("layout", "word"),
    ]
    assert "An <a" in page
    assert "<strong>two <a" in page


def test_the_glossary_does_not_link_to_itself(built):
    page = (built / "reference" / "glossary.html").read_text()
    assert "<p>A dialect.</p>" in page
