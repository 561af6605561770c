"""The parity report: what it says, that it holds all it needs, and that a browser likes it."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.parity import charts, claims, junit, report
from efficientnet_rosetta.common.weights.metadata import SCHEMA
from parity_tests.support import wrong_epsilon

# What keeps a browser in a container from asking for anything by itself.
CHROMIUM = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
HOSTILE = '</script><script>alert("x")</script>'


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run in which Keras differs and a claim is broken, in all three forms."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        wrong_epsilon(patch)
        broken = claims.Claim("gradients", "keras", 1.0, 1e-10, HOSTILE)
        holding = claims.Claim("forward", "keras", 1e-13, 1e-11, "head")
        patch.setattr(claims, "CLAIMS", (lambda network, seed: iter([holding, broken]),))
        files = {"--report": "out.html", "--json": "out.json", "--junit": "out.xml"}
        options = [text for name, file in files.items() for text in (name, str(folder / file))]
        arguments = ["parity", "b0", "--size", "64", "--full", *options]
        patch.setattr("sys.argv", ["rosetta", *arguments])
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    return folder


@pytest.fixture(scope="module")
def found(written):
    return json.loads((written / "out.json").read_text())


def test_the_data_holds_the_diagnosis_and_the_inputs(found):
    assert (found["schema"], found["agrees"]) == (SCHEMA, False)
    runs = {run["runner"]: run for run in found["presets"][0]["runs"]}
    assert runs["torch"]["diagnosis"] is None
    diagnosis = runs["keras"]["diagnosis"]
    assert (diagnosis["kind"], diagnosis["endpoint"]) == ("jump", "stages.5.blocks.1")
    assert diagnosis["operation"] == "depthwise_bn"
    assert len(diagnosis["heat"]) == len(diagnosis["heat"][0]) == 4  # of a map of 4 x 4
    assert diagnosis["command"] == "rosetta trace b0 stages.5.blocks.1 --run keras --size 64"
    assert [image["name"] for image in found["inputs"]] == ["photograph", "noise"]
    assert all(image["runs"] == 4 for image in found["inputs"])
    assert found["command"].startswith("rosetta parity b0 --size 64 --full --report ")


def test_the_page_holds_the_same_data(written, found):
    page = (written / "out.html").read_text()
    (held,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', page)
    assert json.loads(held) == found


class Page(HTMLParser):
    """Every address that a page would fetch, every script that it would run, and its ids."""

    def __init__(self):
        super().__init__()
        self.addresses, self.scripts, self.ids, self.cells = [], [], [], []
        self.cell = False

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "script":
            self.scripts.append(attributes.get("type"))
        if tag == "td":
            self.cells.append("")
            self.cell = True

    def handle_endtag(self, tag):
        if tag == "td":
            self.cell = False

    def handle_data(self, data):
        if self.cell:
            self.cells[-1] += data


def test_the_page_needs_nothing_but_itself(written):
    text = (written / "out.html").read_text()
    page = Page()
    page.feed(text)
    assert page.addresses
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.scripts == ["application/json"]  # which nothing runs
    assert not re.search(r"url\((?!data:)|@import|@font-face", text)
    assert len(page.ids) == len(set(page.ids))
    assert HOSTILE not in text


def test_the_page_says_pass_and_fail_in_words_and_numbers(written, found):
    page = Page()
    page.feed((written / "out.html").read_text())
    cells = [" ".join(cell.split()) for cell in page.cells]
    runs = {run["runner"]: run for run in found["presets"][0]["runs"]}
    assert cells[:4] == [
        f"✓ {charts.scientific(report.worst(runs['torch']))}",
        f"✗ {charts.scientific(report.worst(runs['keras']))} at stage 5",
        f"✓ {charts.scientific(report.worst(runs['onnx-torch']))}",
        f"✗ {charts.scientific(report.worst(runs['onnx-keras']))} at stage 5",
    ]


def test_junit_has_a_case_for_every_run_and_claim(written):
    (suite,) = ElementTree.parse(written / "out.xml").getroot()
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("b0", "6", "3")
    failures = {case.get("name"): case.find("failure") for case in suite}
    assert failures["torch"] is failures["forward, keras"] is None
    assert "depthwise_bn" in failures["keras"].text
    assert "rosetta trace b0 stages.5.blocks.1 --run keras" in failures["keras"].text
    assert failures["gradients, keras"].get("message").startswith("off by 1.0e0, limit 1.0e\u2212")


def test_no_two_cases_of_a_preset_have_one_name():
    """The claim about the forward pass is checked in two dialects."""
    claim = {"name": "forward", "backend": "keras", "holds": True}
    found = {
        "presets": [{"preset": "b0", "seconds": 1.0, "runs": []}],
        "claims": {"b0": [{**claim, "dialect": name} for name in ("tensorflow", "pytorch")]},
    }
    (suite,) = ElementTree.fromstring(junit.junit(found))
    names = [case.get("name") for case in suite]
    assert names == ["forward, tensorflow, keras", "forward, pytorch, keras"]


# ------------------------------------------------------------------ numbers, colours and lines


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (1e-12, "cool0"),
        (0.99e-4, "cool7"),
        (1e-4, "cool7"),
        (1.01e-4, "warm0"),
        (1.0, "warm7"),
        (50.0, "warm7"),
        (0.0, "cool0"),
        (None, "warm7"),
    ],
)
def test_the_colour_scale_changes_at_the_tolerance(error, expected):
    assert charts.shade(error, 1e-4) == expected


def test_shades_follow_the_error():
    shades = [charts.shade(10.0**-power, 1e-4) for power in range(8, -1, -1)]
    assert shades == [
        "cool0",
        "cool2",
        "cool4",
        "cool6",
        "cool7",
        "warm2",
        "warm4",
        "warm6",
        "warm7",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(1.34e-5, "1.3e\u22125"), (0.0, "0"), (None, "∞"), (2.0, "2.0e0")]
)
def test_numbers_are_short(value, text):
    assert charts.scientific(value) == text


def run(agrees, *errors):
    names = ["stem", "stages.2.blocks.0", "reductions.1", "logits"]
    return {
        "runner": "keras",
        "agrees": agrees,
        "tolerance": {"limit": 1e-4, "inside": "rms"},
        "endpoints": [
            {"endpoint": name, "largest": error, "rms": error}
            for name, error in zip(names, errors, strict=True)
        ],
    }


def test_runs_that_agree_are_a_band_and_others_lines():
    agreeing = [
        ("b0", run(True, 1e-7, 1e-6, 1e-6, 1e-5)),
        ("b1", run(True, 2e-7, 1e-6, 1e-6, 3e-5)),
    ]
    chart = charts.chart([*agreeing, ("b2", run(False, 1e-7, 1e-2, 1e-2, None))])
    assert [label for _, label in chart.ticks] == ["stem", "s2", "logits"]
    assert len(chart.band.split()) == 6
    (line,) = chart.lines
    assert line.first[0] == chart.ticks[1][0]
    assert line.end[1] == chart.grid[-1][0]  # what is no number is drawn at the top
    assert chart.grid[0][0] > chart.tolerance > chart.grid[-1][0]
    assert charts.chart(agreeing[:1]).lines == []


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "plain"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(written, chromium, width, scheme, javascript):
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        java_script_enabled=javascript,
    )
    page = context.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(Path(written / "out.html").as_uri())
    away = [url for url in requests if not url.startswith(("file:", "data:"))]
    assert (away, complaints) == ([], [])
    assert page.locator("h1").inner_text() == "Parity report"
    assert page.locator("details[open] .cause").first.is_visible()
    if javascript:  # to measure, not to read
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    context.close()
