"""What a person is told: the text of a failed test, and its page."""

import copy
import json
import re
import shlex
from typing import get_args

import numpy as np
import pytest

from efficientnet_rosetta.common.guard.finding import Apart, Finding
from efficientnet_rosetta.common.guard.fixture import ParityError
from efficientnet_rosetta.common.guard.judge import judge
from efficientnet_rosetta.common.guard.kind import KindName
from efficientnet_rosetta.common.guard.message import ADVICE, LINES, message
from efficientnet_rosetta.common.guard.program import Given
from efficientnet_rosetta.common.guard.recognise import program_of
from efficientnet_rosetta.common.guard.report import html, index

from .fixtures import fixture_of, images, session

NAMES = ("mine", "<theirs>")


def of(**fields):
    """A finding of two functions."""
    return Finding(NAMES, ("function", "function"), ("float64", "float32"), **fields)


def models():
    """A network of PyTorch's, and the same with another activation in its second part."""
    import torch

    torch.manual_seed(0)
    layers = []
    for channels in (3, 4, 4):
        layers += [torch.nn.Conv2d(channels, 4, 3, padding=1), torch.nn.ReLU()]
    first = torch.nn.Sequential(*layers)
    second = copy.deepcopy(first)
    second[3] = torch.nn.LeakyReLU(0.1)
    return first, second


@pytest.fixture(scope="module")
def parted():
    """A finding with a place, a kind and a value to go on from."""
    first, second = (program_of(m, n) for m, n in zip(models(), NAMES, strict=True))
    return judge(first, second, Given.of(images(side=16)))


# ------------------------------------------------------------------ the text


def test_the_most_important_things_come_first(parted):
    first, *others = message(parted, "pytest X", "out/x.html").splitlines()
    error = re.escape(f"{parted.error:.1e}")
    assert re.match(rf"mine and <theirs> differ: output by {error} standard deviations, wh", first)
    said = "\n".join(others)
    assert "mine: torch.nn.Module, run in float64" in said
    assert "first place: 3.relu (3.leaky_relu in the second) differs by" in said
    assert "before it: 2.convolution agrees" in said
    assert "it is a jump" in said
    assert "likely: activation" in said
    assert others[-2:] == ["  run only the rest again: pytest X", "  report: out/x.html"]


def test_every_kind_that_can_be_named_comes_with_what_to_do():
    assert set(ADVICE) == set(get_args(KindName)) - {"unknown"}


def test_an_agreement_says_nothing():
    assert message(of(outputs=(Apart("y", 1e-13, 1e-11),))) == ""


def test_what_cannot_be_compared_is_one_line():
    said = message(of(unfit="mine is random"))
    assert said == "mine and <theirs> cannot be compared: mine is random"


def test_what_rounding_may_explain_is_not_called_a_difference():
    said = message(of(outputs=(Apart("y", 1e-3, 1e-11, "y", (1,), 1e-2),)))
    assert said.startswith("nothing can be said of mine and <theirs>: y differs by 1.0e-03")
    assert "rounding alone may move it by 1.0e-02" in said


def test_whole_numbers_have_no_deviations():
    said = message(of(outputs=(Apart("classes", 1 / 3, 0.0),)))
    assert said.startswith("mine and <theirs> differ: classes has other whole numbers in 33.3% of")


def test_only_outputs_that_differ_are_listed():
    outputs = tuple(Apart(f"y{number}", number * 1e-3, 5e-3) for number in range(30))
    lines = message(of(outputs=outputs)).splitlines()
    assert lines[0].startswith("mine and <theirs> differ: y29 by 2.9e-02")
    assert "  24 of 30 outputs differ:" in lines
    assert "    y6: by 6.0e-03 standard deviations, where 5.0e-03 are allowed" in lines
    assert "    and 16 more" in lines
    assert not any(" y5:" in line for line in lines)


def test_no_message_is_longer_than_its_limit():
    name = "layer." * 2000 + "\n\x1b[31m"
    found = of(
        outputs=tuple(Apart(f"{name}{number}", 1.0, 1e-9) for number in range(100)),
        tensors=tuple(f"{name}{number}" for number in range(100)),
        inputs=("float32 (1, 3, 8, 8)",) * 500,
    )
    lines = message(found, "pytest X", "out/x.html").splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) < 2000
    assert lines[-1] == "  report: out/x.html"
    assert "\x1b" not in "".join(lines)


def test_a_heat_map_is_no_text(parted):
    assert parted.divergence.heat is not None
    assert len(message(parted).splitlines()) <= 12


# ------------------------------------------------------------------ only the rest


def test_the_command_runs_only_the_rest(tmp_path):
    first, second = models()
    with pytest.raises(ParityError) as raised:
        fixture_of(tmp_path)(first, second, images(side=16), names=NAMES)
    test = "test_mine.py::test_they_agree"
    command = f"pytest {test} --parity-after 2.convolution 2.convolution"
    assert f"run only the rest again: {command}" in str(raised.value)
    parity = fixture_of(tmp_path, after=("2.convolution", "2.convolution"))
    with pytest.raises(ParityError) as again:
        parity(first, second, images(side=16), names=NAMES)
    assert "first place: 3.relu" in str(again.value)
    # Behind the mistake both go on from the first's value, and agree.
    parity = fixture_of(tmp_path, after=("3.relu", "3.leaky_relu"))
    assert all(one.agree for one in parity(first, second, images(side=16)))


def test_the_command_is_about_one_comparison_of_a_test(tmp_path):
    first, second = models()
    parity = fixture_of(tmp_path)
    parity(first, first, images(side=16))
    with pytest.raises(
        ParityError, match=r"--parity-after 2\.convolution 2\.convolution --parity-call 2"
    ):
        parity(first, second, images(side=16))
    parity = fixture_of(tmp_path, after=("3.relu", "3.leaky_relu"), call=2)
    parity(np.square, np.square, images(side=16))  # which has no such value
    parity(first, second, images(side=16))


def test_a_place_that_is_not_there_is_said(tmp_path):
    first, second = models()
    parity = fixture_of(tmp_path, after=("nowhere", "2.convolution"))
    with pytest.raises(ParityError, match="has no value 'nowhere'"):
        parity(first, second, images(side=16))


@pytest.mark.slow
def test_the_command_can_be_copied(tmp_path):
    """Also where pytest takes another folder for the root than the one that it was started in."""
    (tmp_path / "pytest.ini").write_text("")
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_mine.py").write_text(
        "import pytest, torch\n"
        "from efficientnet_rosetta.parity_tests.guard.test_message import images, models\n\n"
        "@pytest.mark.parametrize('what', ['it\\'s', 'a b'])\n"
        "def test_it(parity, what):\n    parity(*models(), images(side=16))\n"
    )
    (line, _) = re.findall(r"run only the rest again: (pytest .*)", session(folder).stdout)
    done = session(folder, *shlex.split(line)[1:])
    assert "1 failed" in done.stdout
    assert "first place: 3.relu" in done.stdout


# ------------------------------------------------------------------ the page


def test_a_page_shows_what_was_found(parted):
    page = html([parted], "test_mine.py::test[<b>]", "pytest 'a b'")
    assert "test_mine.py::test[&lt;b&gt;]" in page
    assert "&lt;theirs&gt;" in page
    assert "<theirs>" not in page
    assert "pytest &#39;a b&#39;" in page
    assert page.count("<svg") == 2  # the picture of the error, and its way along the programs
    assert "likely: <b>activation</b>" in page
    for step, other, _ in parted.pairs:
        assert f"<td>{step}</td><td>{other}</td>" in page
    found = json.loads(re.search(r'id="report">(.*)</script>', page)[1])
    assert found["findings"][0]["names"] == list(NAMES)
    assert "torch" in found["environment"]


def test_a_page_asks_for_nothing_else(parted):
    page = html([parted], "x")
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    "found",
    [
        of(unfit="mine is random"),
        of(outputs=(Apart("y", float("inf"), 1e-11),)),
        of(outputs=(Apart("y", 0.0, 0.0),)),
    ],
    ids=["unfit", "infinite", "whole numbers"],
)
def test_a_page_of_little(found):
    page = html([found], "x")
    assert "mine and &lt;theirs&gt;" in page
    assert "∞" in page or "inf" not in page


def test_an_index_of_tests():
    rows = [
        {
            "test": "a.py::b[<i>]",
            "call": 1,
            "agree": True,
            "programs": ["p"],
            "says": "",
            "page": None,
        },
        {
            "test": "a.py::c",
            "call": 2,
            "agree": False,
            "programs": ["p", "q"],
            "says": "p < q",
            "page": "c d.html",
        },
    ]
    page = index([{"what": "outputs", "call": 2, **row} for row in rows])
    assert 'href="c%20d.html"' in page
    assert page.index("a.py::c") < page.index("a.py::b")
    assert "&lt;i&gt;" in page
    assert "p &lt; q" in page
