"""The pages build without a warning, and what is wrong in them or in a source stops the build."""

from __future__ import annotations

import re
import shutil

import pytest

from check_site import HEAVIEST, Page, Site, check
from efficientnet_rosetta.common import architectures
from efficientnet_rosetta.common.counting import count, count_stages
from efficientnet_rosetta.common.spec import ALPHA, BETA, GAMMA, compound_scaling, resolve
from explored import PER_PHI, STEPS, at_phi, released, short
from explorer import curve_data, data
from katex import TexError, render
from parity_tests.site.conftest import ROOT, sphinx
from triptych import linked_papers

CONF = """
import sys
sys.path.insert(0, EXTENSIONS)
extensions = ["myst_parser", "katex", "sources", "triptych", "drawing_ext"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "katex"
"""
INDEX = """\
# Home

[a page](page.md), [a row](page.md#widen), [a source](../torch_impl/net.py),
{source}`torch_impl/net.py@Net`, [here](#more)

## More

{triptych-symbols}`x`

```{toctree}
page
```
"""
PAGE = r"""
# Page

::::::{triptych}
:torch: torch_impl/net.py
:keras: keras_impl/net.py
:concepts: n: width | n | how wide

:::::{triptych-row} Widen
:paper: section 1
:flow: widen | 1 to n
:code: widen

Text with {con}`a symbol <n>`.

::::{triptych-bites} It bites
Somewhere.
::::

And $\con{n}{n}^2$.
:::::

:::::{triptych-row} Both
:paper: Table 1
:spec: @width
Both read it.
:::::
::::::
"""
NET = """\
class Net:
    def __init__(self, width):
        # step: widen
        self.width = width

    def {use}(self, x):
        # step: widen
        return x * self.width
"""


@pytest.fixture
def small(tmp_path):
    """A site of two pages about two programs."""
    for path, text in {
        "docs/conf.py": CONF.replace("EXTENSIONS", repr(str(ROOT / "docs" / "_ext"))),
        "docs/index.md": INDEX.replace("{triptych-symbols}`x`", "```{triptych-symbols}\n```"),
        "docs/page.md": PAGE,
        "torch_impl/net.py": NET.format(use="forward"),
        "keras_impl/net.py": NET.format(use="__call__"),
        "common/spec.py": "width = 1\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "docs" / "_static").mkdir()
    return tmp_path


@pytest.fixture(scope="module")
def whole(site):
    """The site as the checker has read it."""
    return Site.read(site)


def test_the_whole_site(site, whole):
    """The fixture has built it strictly; nothing in it leads nowhere."""
    assert whole.wrong() == []
    pages = ("index", "read/mbconv", "read/xception", "explore/models")
    for page in (*pages, "reference/api/efficientnet_rosetta/torch_impl/index"):
        assert (site / f"{page}.html").is_file(), page
    assert not list(site.rglob("katex*.js"))  # equations are set when the pages are built
    for page in (site / "reference" / "api").rglob("*.html"):
        assert "Initialize internal Module" not in page.read_text()  # not ours: PyTorch's


def test_a_row_has_its_parts_in_their_order(small):
    done = sphinx(small / "docs", small / "out")
    assert (done.returncode, done.stderr) == (0, "")
    page = (small / "out" / "page.html").read_text()
    row = page[page.index('id="widen"') : page.index('id="both"')]
    parts = ("<h2>Widen", "section 1", "a symbol", "katex", "tri-torch", "tri-keras", "Pitfall")
    places = [row.index(part) for part in parts]
    assert places == sorted(places)
    assert row.count("con con-n") == 1 + 1 + 2 * 3  # the text, the equation, and both programs
    source = (small / "out" / "source" / "torch_impl" / "net.py.html").read_text()
    assert 'id="L4"' in source
    assert 'href="source/torch_impl/net.py.html#L4"' in row
    assert 'href="../../page.html#widen">Page: Widen</a>' in source  # and back
    assert "how wide" in (small / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("where", "leads"),
    [
        ("section 4, steps 1 and 2", ["section 4", "1905.11946"]),
        ("a line of Table 1, scaled", ["a line of Table 1", "1905.11946"]),
        ("section 5.2; arXiv 1710.05941", ["section 5.2", "1905.11946", "1710.05941"]),
        ("SENet, section 3.1", ["SENet", "1709.01507"]),
        ("not in the paper; released code", []),
    ],
)
def test_where_something_is_leads_to_its_paper(where, leads):
    text = linked_papers(where, "arXiv 1905.11946")
    found = [part for pair in re.findall(r"\[(.+?)\]\(\S+/([\d.]+)\)", text) for part in pair]
    assert [part for part in found if not part.startswith("arXiv")] == leads


@pytest.mark.parametrize(
    ("path", "before", "after", "message"),
    [
        ("docs/page.md", "{n}^2", "{n}^{2", "KaTeX parse error"),
        ("docs/page.md", "{n}^2", r"\nothing", "Undefined control sequence"),
        ("docs/page.md", "n: width", "n: width, depth", "symbol 'n': depth in no column"),
        ("docs/page.md", "symbol <n>", "symbol <m>", "no symbol 'm' on this page"),
        ("docs/page.md", r"\con{n}{n}", r"\con{k}{n}", "no symbol 'k' on this page"),
        ("docs/page.md", "n: width |", "m: width | m; n: width |", "symbol 'm' is in no text"),
        ("docs/page.md", "n: width", "n:", "not a symbol"),
        ("docs/page.md", ":paper: section 1\n", "", "does not say where in the paper"),
        ("docs/page.md", ":code: widen", ":code: widening", "no step 'widening'"),
        ("docs/page.md", "@width", "@depth", "no 'depth'"),
        ("docs/page.md", "# Page", "# Page\n\n{source}`common/gone.py`", "no such file"),
        ("docs/page.md", "# Page", "# Page\n\n[x](gone.md)", "reference target not found"),
        ("docs/page.md", "# Page", "# Page\n\n[x](#gone)", "reference target not found"),
        ("docs/page.md", "# Page", "# Page\n\n[x](../gone.py)", "reference target not found"),
        ("docs/page.md", "# Page", "# Page\n\n![x](gone.png)", "not readable"),
        ("docs/page.md", "And $", "```{drawing} nothing\nCaption.\n```\n\n$", "no drawing is"),
        ("docs/page.md", "And $", "```{drawing} expand\nCaption.\n```\n\n$", "no symbol 'C'"),
        ("docs/page.md", "And $", "```{drawing} expand\n```\n\n$", "Content block expected"),
        ("docs/page.md", "{triptych-bites}", "{triptych-bite}", "Unknown directive"),
        ("docs/index.md", "#widen", "#narrow", "local id not found"),
        ("docs/index.md", "page\n```", "```", "isn't included in any toctree"),
        (
            "torch_impl/net.py",
            "    # step: widen\n        return",
            "    return",
            "forward has none",
        ),
        ("torch_impl/net.py", "# step: widen", "# widen", "no step 'widen'; there are: none"),
        ("torch_impl/net.py", "class Net:", "class Net", "net.py:1: expected ':'"),
        ("torch_impl/net.py", "class Net:", "class Mesh:", "no 'Net'"),
    ],
)
def test_faults_stop_the_build(small, path, before, after, message):
    text = (small / path).read_text()
    assert before in text
    (small / path).write_text(text.replace(before, after))
    done = sphinx(small / "docs", small / "out")
    assert done.returncode != 0
    assert message in done.stderr


PIN = "{pin}`parity_tests/test_forward.py::test_any_size`"
EFFECT = "{fact}`effect.padding`"


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        (f"{EFFECT} {PIN}", []),
        (PIN, ["a measured effect, {fact}"]),
        (EFFECT, ["the test that holds it, {pin}"]),
        (f"{{fact}}`parameters.b0` {PIN}", ["a measured effect, {fact}"]),
        (
            "{mistake}`ReLU for swish`",
            ["a measured effect, {fact}", "the test that holds it, {pin}"],
        ),
        (f":refused:\n\n{PIN}", []),
        (":refused:\n\nNothing.", ["the test that holds it, {pin}"]),
    ],
)
def test_what_bites_names_its_effect_and_its_test(small, text, lacking):
    config, page = small / "docs" / "conf.py", small / "docs" / "page.md"
    config.write_text(config.read_text().replace('"drawing_ext"]', '"drawing_ext", "facts_ext"]'))
    page.write_text(page.read_text().replace("Somewhere.", text))
    (small / "parity_tests").mkdir()
    shutil.copy(ROOT / "parity_tests" / "test_forward.py", small / "parity_tests")
    done = sphinx(small / "docs", small / "out")
    found = [line for line in done.stderr.splitlines() if "what bites does not name" in line]
    assert [line.partition("does not name ")[2] for line in found] == lacking, done.stderr
    if not lacking:
        assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------ the checker


@pytest.fixture
def pages(tmp_path):
    """A site of plain files without a fault."""
    (tmp_path / "a.css").write_text("@font-face { src: url(font.woff2); }")
    (tmp_path / "font.woff2").write_bytes(b"")
    (tmp_path / "image.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="a.css?v=1"><h1 id="top">x</h1><img src="image.png">'
        '<a href="#top">x</a><a href="index.html#top">x</a><a href="https://example.org/">x</a>'
        '<div style="background: url(data:image/png;base64,xx)"></div>'
    )
    assert check(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ('<a href="#gone">', "#gone has no such anchor"),
        ('<a href="index.html#gone">', "index.html#gone has no such anchor"),
        ('<a href="gone.html">', "gone.html is not there"),
        ('<a href="../outside.html">', "../outside.html is not there"),
        ('<p id="top">', "the id 'top' is there twice"),
        ('<img src="gone.png">', "gone.png is not there"),
        ('<img srcset="image.png 1x, gone.png 2x">', "gone.png is not there"),
        ('<link rel="stylesheet" href="gone.css">', "gone.css is not there"),
        ('<script src="https://example.org/x.js"></script>', "loads https://example.org/x.js"),
        ('<link rel="icon" href="//example.org/x.svg">', "loads //example.org/x.svg"),
        ('<span class="k"><a href="gone.html">x</a></span>', "gone.html is not there"),
        ('<span id="top">', "the id 'top' is there twice"),
        ("<style>@import 'gone.css';</style>", "gone.css is not there"),
        ("<style>p { background: url('https://example.org/x') }</style>", "loads https://"),
        ('<p style="background: url(gone.png)">', "gone.png is not there"),
    ],
)
def test_the_checker_finds(pages, added, message):
    page = pages / "index.html"
    page.write_text(page.read_text() + added)
    (found,) = check(pages)
    assert message in found


def test_the_checker_reads_style_sheets(pages):
    (pages / "font.woff2").unlink()
    (found,) = check(pages)
    assert found == "a.css: font.woff2 is not there"


def test_the_checker_weighs_a_page_with_what_it_loads(pages):
    """Style sheets and scripts, and no pictures."""
    (pages / "image.png").write_bytes(b" " * HEAVIEST)
    assert check(pages) == []
    site = Site.read(pages)
    (pages / "a.css").write_text(" " * (HEAVIEST - site.files["index.html"]))
    assert check(pages) == []
    (pages / "a.css").write_text(" " * (HEAVIEST - site.files["index.html"] + 1))
    (found,) = check(pages)
    assert found.startswith("index.html: weighs 350,001 bytes")


def test_the_checker_finds_what_is_missing_in_the_real_site(whole):
    page = "read/mbconv.html"
    renamed = whole.pages[page].text.replace('id="expand"', 'id="widen"')
    files = {name: size for name, size in whole.files.items() if name != "_static/site.css"}
    less = Site(files, {**whole.pages, page: Page(renamed)}, whole.sheets)
    found = less.wrong()
    assert any("site.css" in line and "is not there" in line for line in found)
    assert any("#expand has no such anchor" in line for line in found)


# ------------------------------------------------------------------ equations


def test_equations():
    html = render(r"\con{t}{t} C")
    assert 'class="enclosing con con-t"' in html
    assert "<math" in html
    assert "katex-display" in render("x", display=True)
    for bad in (r"\frac{1}", "x_{", r"\unknown", r"\href{javascript:1}{x}"):
        with pytest.raises(TexError, match="KaTeX"):
            render(bad)


def test_katex_comes_with_its_licence():
    folder = ROOT / "docs" / "_static" / "katex"
    for vendored in (folder, ROOT / "docs" / "_ext" / "vendored" / "katex"):
        assert "The MIT License" in (vendored / "LICENSE").read_text()
    fonts = {path.name for path in (folder / "fonts").iterdir()}
    style = (folder / "katex.min.css").read_text()
    assert all(f"fonts/{name}" in style for name in fonts)


# ------------------------------------------------------------------ the explorer's numbers


def test_the_explorer_has_every_network_and_the_curve():
    found = data()
    keys = [shown["key"] for shown in found["released"]]
    assert keys == list(architectures.PRESETS)
    assert found["slider"] == {"steps": STEPS, "per_phi": PER_PHI}
    assert [shown["phi"] for shown in curve_data()["networks"]] == [
        round(step / PER_PHI, 2) for step in range(STEPS + 1)
    ]


@pytest.mark.parametrize("shown", released(), ids=lambda shown: shown.key)
def test_a_network_of_the_explorer_is_that_of_the_specification(shown):
    network = architectures.resolve(shown.key)
    costs = count_stages(network)
    assert sum(row.params for row in shown.rows) == count(network).trainable
    assert sum(row.macs for row in shown.rows) == count(network).macs
    for row in shown.rows:
        maps = [section for section in network.maps if section.stage == row.stage]
        assert (row.params, row.macs) == (costs[row.stage].trainable, costs[row.stage].macs)
        assert row.resolution == "×".join(map(str, maps[0].input_size))
        assert row.channels == maps[0].out_channels
        assert row.layers == len(maps)


def test_table_1():
    """The paper's own, for B0."""
    table = [(row.resolution, row.channels, row.layers) for row in released()[0].rows]
    assert table == [
        ("224×224", 32, 1),
        ("112×112", 16, 1),
        ("112×112", 24, 2),
        ("56×56", 40, 2),
        ("28×28", 80, 3),
        ("14×14", 112, 3),
        ("14×14", 192, 4),
        ("7×7", 320, 1),
        ("7×7", 1280, 1),
    ]


def test_figure_5():
    """Xception's own table, of the maps that each part takes in."""
    table = [(row.resolution, row.channels, row.layers) for row in released()[-1].rows]
    assert table == [
        ("299×299", 32, 1),
        ("149×149", 64, 1),
        ("147×147", 128, 1),
        ("74×74", 256, 1),
        ("37×37", 728, 1),
        ("19×19", 728, 8),
        ("19×19", 1024, 1),
        ("10×10", 1536, 1),
        ("10×10", 2048, 1),
    ]


def test_what_no_rule_scales_has_no_phi():
    shown = released()[-1]
    assert (shown.name, shown.phi) == ("Xception", None)
    headings = [heading for heading, *_ in shown.cards]
    assert headings == ["Width", "Middle blocks", "Resolution", "Parameters", "MACs"]
    assert "φ" not in "".join(map("".join, shown.cards))


def test_the_cards_say_which_phi_a_coefficient_would_need():
    b4 = next(shown for shown in released() if shown.key == "b4")
    alone = {heading: text.rpartition(" ")[2] for heading, _, text in b4.cards[:3]}
    assert alone == {"Depth d": "3.22", "Width w": "3.53", "Resolution r": "3.78"}
    assert b4.cards[5] == ("Predicted cost", "×10.2", "d·w²·r²; really ×11.4")


def test_the_predicted_cost_of_a_phi():
    shown = at_phi(4.8)
    scaling = compound_scaling(4.8)
    network = resolve(width=scaling.width, depth=scaling.depth, resolution=scaling.resolution)
    ratio = count(network).macs / count(resolve()).macs
    predicted = (ALPHA * BETA**2 * GAMMA**2) ** 4.8
    assert shown.cards[5][1:] == (f"×{predicted:.1f}", f"d·w²·r²; really ×{ratio:.1f}")


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (999, "999"), (1392, "1.39K"), (46_785_600, "46.8M"), (9_999_499, "10.0M")],
)
def test_short_numbers(value, written):
    assert short(value) == written
