"""What the search answers, by the built index and the program that browsers of readers run."""

from __future__ import annotations

import json

import pytest
import quickjs

from finding import WORDS, spellings

# What the program of the search asks of a browser; its results are read before it shows any.
BROWSER = """
const window = globalThis;
const document = { getElementById: () => null };
const localStorage = { setItem: () => undefined };
const SPHINX_HIGHLIGHT_ENABLED = false;
const _ = text => text;
const _ready = () => undefined;
const found = words => {
  const [asked, ...terms] = Search._parseQuery(words);
  return Search._performSearch(asked, ...terms).reverse();
};
"""
PROGRAMS = ("language_data.js", "searchtools.js")


@pytest.fixture(scope="module")
def search(site):
    """Asks for some words: pages with their anchors and scores, the best first."""
    context = quickjs.Context()
    context.eval(BROWSER)
    for program in PROGRAMS:
        context.eval((site / "_static" / program).read_text())
    context.eval((site / "searchindex.js").read_text())

    def ask(words: str) -> list[tuple[str, str]]:
        answer = json.loads(context.eval(f"JSON.stringify(found({json.dumps(words)}))"))
        return [(page, anchor) for page, _, anchor, *_ in answer]

    return ask


@pytest.mark.parametrize(
    ("words", "page", "anchor"),
    [
        ("noisy student", "use/weights", ""),
        ("drop connect", "read/stochastic_depth", ""),
        ("DropConnect", "read/stochastic_depth", ""),
        ("drop_path", "read/stochastic_depth", ""),
        ("receptive field", "use/features", "#receptive-field"),
        ("notop", "use/features", "#weights-without-a-classifier"),
        ("include_top", "use/features", "#weights-without-a-classifier"),
        ("fine-tune", "use/finetune", ""),
        ("Fine tuning", "use/finetune", ""),
        ("transfer learning", "use/finetune", ""),
        ("padding", "differ", ""),
        ("SAME padding", "differ", ""),
        ("onnx", "use/serve", ""),
        ("segmentation", "use/features", ""),
        ("silu", "read/swish", ""),
        ("convert", "use/convert", ""),
        ("pytest", "use/guard", ""),
        ("golden outputs", "use/guard", ""),
        ("EfficientNetV2", "read/v2", ""),
        ("Fused-MBConv", "read/v2", ""),
        ("progressive learning", "read/v2", ""),
        ("EfficientNet-Lite", "read/lite", ""),
        ("EdgeTPU", "read/lite", ""),
        ("paper map", "read/map", ""),
    ],
)
def test_words_lead_to_the_page_that_a_reader_wants_first(search, words, page, anchor):
    assert search(words)[0] == (page, anchor)


def test_every_word_that_is_entered_leads_to_its_place(search):
    """In every spelling."""
    wrong = {}
    for place, words in WORDS.items():
        page, _, anchor = place.partition("#")
        for word in spellings(words):
            first = search(word)[0]
            if first != (page, f"#{anchor}" if anchor else ""):
                wrong[word] = first
    assert wrong == {}


@pytest.mark.parametrize("words", ["depthwise", "weights", "network", "momentum", "drop path rate"])
def test_what_is_made_from_docstrings_comes_after_every_page(search, words):
    made = [page.startswith("reference/api/") for page, _ in search(words)]
    assert made == sorted(made)
    assert not made[0]
