"""The numbers of the pages: none is written by hand, and what pages claim in passing is so."""

import math
import re
import tomllib

import pytest
import torch

import facts
import minutes
from efficientnet_rosetta.common.network import Layer
from efficientnet_rosetta.common.spec import resolve
from generating import ROWS, STATED
from parity_tests.site.pages import PAGES, name
from receptive import feature_maps
from tables import GENERATED

# Written by programs, which tests of theirs hold to their results.
WRITTEN = {"claims.md", "what_went_wrong.md"}
# What is no measurement of ours: settings, scales of images, versions, a rule of the released code.
BY_HAND = {
    # Two versions, and the two that test_calibration.py asks.
    "decisions.md": {"3.6", "1.14", "0.15", "256"},
    "explore/training.md": {"8 %"},  # the recipe's smallest crop
    "train/data.md": {"5 %"},  # an option
    "train/evaluate.md": {"5 %", "25,000"},  # and how many images the paper held out
    "read/recipe.md": {"25,000"},
    "notes.md": {"1.0", "3 %", "2.4", "90 %", "255"},
    "read/scaling.md": {"90 %"},
    "read/v2.md": {"90 %"},
    "released.md": {"1e-4"},  # what the program allows
    # How many classes the lists of ImageNet's have, and a year.
    "use/predict.md": {"1,000", "1,001", "11,821", "21,841", "21,843", "2016"},
    "explore/emoji.md": {"2.0", "4.0"},  # of licences
    "use/port.md": {"3.6", "255"},
    "use/port_unusual.md": {"225"},  # a size, 7 * 32 + 1
}
# Code, what a program fills in, equations, roles, addresses, where in a paper something is, papers.
NO_PROSE = re.compile(
    r"^(```+).*?^\1`*$|^<!-- \w+ -->$.*?^<!-- end -->$|\$\$.*?\$\$"
    r"|\{[\w-]+\}`[^`]*`|`[^`]*`|\$[^$]*\$|\]\([^)]*\)"
    r"|^:paper:.*?$|\b[Ss]ections? \d[\d.]*|arXiv \d+\.\d+",
    re.DOTALL | re.MULTILINE,
)
LONG_NUMBER = re.compile(
    r"(?<![\w.])(?:\d+(?:\.\d+)?e[-+]?\d+|\d{1,3}(?:,\d{3})+|\d+\.\d+|\d{3,}(?!\w)|\d+ ?%)"
)


@pytest.mark.parametrize(
    "number", ["4.9e-04", "5e-13", "8.3e+05", "5,288,548", "0.67", "1.5x", "5.3M", "224", "24 %"]
)
def test_a_number_that_is_written_by_hand_is_found(number):
    prose = NO_PROSE.sub(
        "", f"It is {number} times {{fact}}`head.b0` of B0, $1.5$ or `2.5` in 3.\n"
    )
    assert LONG_NUMBER.findall(prose) == [number.rstrip("xM")]


def test_numbers_are_not_written_by_hand():
    """Any of three digits, with a point, or in percent: what is measured or counted is a fact."""
    found = {
        name(page): set(LONG_NUMBER.findall(NO_PROSE.sub("", page.read_text())))
        for page in PAGES
        if name(page) not in WRITTEN
    }
    assert {page: numbers for page, numbers in found.items() if numbers} == BY_HAND


def test_nothing_is_made_that_no_page_shows():
    """Neither a table or a curve, nor rows for one."""
    shown = {
        wanted.strip()
        for page in PAGES
        for wanted in re.findall(r"\{generated\} (.+)", page.read_text())
    }
    assert set(GENERATED) - shown == set()
    stated = tomllib.loads(STATED.read_text()).values()
    assert (
        set(ROWS) - {found["rows"] for found in stated if isinstance(found["rows"], str)} == set()
    )


# ------------------------------------------------------------------ what pages claim in passing


def test_a_softmax_too_many_leaves_what_the_pages_say():
    """The best that softmax makes of a probability of one."""
    certain = torch.nn.functional.one_hot(torch.tensor([3]), 1000).float()
    assert f"{certain.softmax(1)[0, 3].item():.4f}" == facts.fact("softmax twice")
    loss = torch.nn.functional.cross_entropy(certain, torch.tensor([3])).item()
    assert f"{loss:.1f}" == facts.fact("loss of softmax twice")
    assert facts.fact("loss of equal shares") == f"{math.log(1000):.1f}"


def test_receptive_fields_are_what_a_gradient_reaches():
    """One value of each map, as windows of ones see it along one axis."""
    network = resolve("b0")
    for reduction, stride, _, field in feature_maps(network):
        image = torch.zeros(1, 1, 2048, requires_grad=True)
        value = image
        for section in network.maps[
            : [part.reduction for part in network.maps].index(reduction) + 1
        ]:
            for layer in section.path:
                if isinstance(layer, Layer) and layer.kernel:
                    window = torch.ones(1, 1, layer.kernel)
                    value = torch.conv1d(value, window, stride=layer.stride) / layer.kernel
        value[..., value.shape[-1] // 2].sum().backward()
        assert int((image.grad > 0).sum()) == field
        assert stride == 2 ** int(reduction.removeprefix("reductions."))


def test_minutes_count_words_and_rows_and_no_options(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("word " * 400 + "\n:paper: Table 1\n" + "```{triptych-row}\n```\n" * 2)
    assert minutes.minutes_of(page) == 2 + 2
    found = dict(minutes.minutes())
    read = [int(value) for key, value in found.items() if key.startswith("read/")]
    assert int(found["all of read"]) == sum(read) > 11


def test_effects_are_those_of_the_mistakes():
    """Each costs something, and padding nothing where every map is odd."""
    found = facts.result("effects")
    assert found["logits"].pop("padding at 225") == 0
    assert min(found["logits"].values()) > 0.1
    assert found["xception"]["dialect"] > max(
        found["xception"]["epsilon"], found["xception"]["padding"]
    )
    assert min(found["xception"].values()) > 0.05
    assert len(set(map(round, (100 * value for value in found["weight"].values())))) == 3
    assert found["mean"]["Keras, in one step"] > 5 * found["mean"]["Keras, row by row"]
