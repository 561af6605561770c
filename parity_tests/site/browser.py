"""The screens and pages of the tests in Chromium, and what they read from an open page."""

from __future__ import annotations

import json
import os
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DEADLINE = 120_000  # milliseconds that end a hang, however busy the machine is
expect.set_options(timeout=DEADLINE)
WIDTHS = (390, 820, 1440)
SCHEMES = ("light", "dark")
PHONE, TABLET, DESK = WIDTHS
LAPTOP = 1366
# The two looks in which every page is seen.
LOOKS = ((PHONE, "dark"), (DESK, "light"))
MBCONV, XCEPTION = "read/mbconv.html", "read/xception.html"
EXPLORER = "explore/models.html"
TRIPTYCHS = (
    MBCONV,
    XCEPTION,
    *(f"read/{name}.html" for name in ("table1", "scaling", "squeeze_and_excitation", "swish")),
    *(f"read/{name}.html" for name in ("stochastic_depth", "head", "recipe", "v2", "lite")),
)
# One page of every kind.
KINDS = (
    "index.html",
    MBCONV,
    EXPLORER,
    "what_went_wrong.html",
    "reference/api/efficientnet_rosetta/torch_impl/layers/index.html",
    "source/torch_impl/efficientnet.py.html",
)


class Quiet(SimpleHTTPRequestHandler):
    """A server that says nothing."""

    def log_message(self, *arguments: object) -> None:
        """Not even that."""


def pages_of(site) -> list[str]:
    """Every page but for the reference of the code and the sources, which are alike."""
    found = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    alike = ("source/", "reference/api/", "_")
    return [path for path in found if not path.startswith(alike)] + list(KINDS[-2:])


# ------------------------------------------------------------------ an open page


def overflow(page) -> int:
    """By how much a page is wider than its screen, whose width a phone would adapt to the page."""
    return page.evaluate("document.documentElement.scrollWidth") - page.viewport_size["width"]


# What keeps a page from being read, but for its width: texts of less than 13 pixels as they are
# shown (those of equations are KaTeX's own), programs and equations that are cut off, and pictures
# that are white in the dark.
UNREADABLE = """async isDark => {
  const faults = [], said = element => element.textContent.trim().slice(0, 60);
  for (const element of document.querySelectorAll("article *")) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    if (!element.checkVisibility() || element.closest(".katex, title, script, style")) continue;
    const svg = element.closest("svg");
    const scale = svg ? svg.getScreenCTM().a : 1;
    const size = scale * parseFloat(getComputedStyle(element).fontSize);
    if (0 < size && size < 12.99) faults.push(`${size.toFixed(1)} pixels: ${said(element)}`);
  }
  const programs = innerWidth < 480 ? ".highlight-python pre, .highlight-sh pre, " : "";
  for (const box of document.querySelectorAll(`${programs}.tri-excerpt pre, .math-block`)) {
    if (box.scrollWidth > box.clientWidth + 1) faults.push(`cut off: ${said(box)}`);
  }
  for (const image of isDark ? document.querySelectorAll("article img") : []) {
    await image.decode();
    const pen = new OffscreenCanvas(60, 60).getContext("2d");
    pen.drawImage(image, 0, 0, 60, 60);
    const { data } = pen.getImageData(0, 0, 60, 60);
    let white = 0;
    for (let i = 0; i < data.length; i += 4) {
      white += Math.min(data[i], data[i + 1], data[i + 2], data[i + 3]) > 245;
    }
    if (white > 0.3 * data.length / 4) faults.push(`white in the dark: ${image.src}`);
  }
  return faults;
}"""


def unreadable(page, scheme: str = "light") -> list[str]:
    """What keeps an open page from being read, a line each."""
    more = overflow(page)
    wide = [f"{more} pixels wider than the screen"] if more > 0 else []
    return wide + page.evaluate(UNREADABLE, scheme == "dark")


def show_both(page) -> None:
    """Both frameworks, of which a phone shows one at first; the pages after it do so, too."""
    page.get_by_role("button", name="Both", exact=True).click()


def keep_picture(page, path: str, of: str) -> None:
    """Keep what a page looks like where that is asked for: a test sees no ugliness."""
    if folder := os.environ.get("ROSETTA_PICTURES"):
        name = f"{path.removesuffix('.html').replace('/', '-')}-{of}.png"
        page.screenshot(path=ROOT / folder / name, full_page=True)


def colour(page, place: str, of: str = "backgroundColor") -> str:
    """How the first element of that kind is painted."""
    return page.locator(place).first.evaluate(f"element => getComputedStyle(element).{of}")


# Marks the texts whose contrast is measured: of those in the same colours, size and weight, the
# first that are in sight, as many as are asked for.  A few, as one may be half behind an edge.
SAMPLE = """most => {
  const grounds = new Map([[null, ""]]);
  const ground = element => {
    if (!grounds.has(element)) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(element);
      const own = `${backgroundColor} ${backgroundImage} ${opacity}`;
      const clear = own === "rgba(0, 0, 0, 0) none 1";
      const below = ground(element.parentElement);
      grounds.set(element, clear ? below : `${below} / ${own}`);
    }
    return grounds.get(element);
  };
  const isText = node => node.nodeType === Node.TEXT_NODE && node.data.trim();
  const alike = new Map();
  for (const element of document.body.querySelectorAll("*")) {
    if (![...element.childNodes].some(isText)) continue;
    const { left, right, width } = element.getBoundingClientRect();
    const beside = !width || right <= 0 || left >= innerWidth;
    if (beside || !element.checkVisibility({ visibilityProperty: true })) continue;
    const { color, fontSize, fontWeight } = getComputedStyle(element);
    const paint = `${color} ${fontSize} ${fontWeight} on ${ground(element)}`;
    const before = alike.get(paint) || 0;
    alike.set(paint, before + 1);
    if (before < most) element.dataset.sample = "";
  }
  axe.configure({ rules: [{ id: "color-contrast", selector: "[data-sample]" }] });
}"""
SAMPLES = 3
AXE = Axe()


def violations(page, every_text: bool = False) -> list[str]:
    """What axe finds on a page.

    Four fifths of its time go by while it measures the contrast of texts that are painted alike,
    such as the words of a program: unless every text is asked for, it measures some of each kind.
    """
    page.evaluate(AXE.axe_script)
    if not every_text:
        page.evaluate(SAMPLE, SAMPLES)
    options = json.dumps({"resultTypes": ["violations"]})
    found = page.evaluate(f"axe.run({options}).then(({{ violations }}) => violations)")
    return [
        f"{violation['id']}: {node['target']}: {node.get('failureSummary')}"
        for violation in found
        for node in violation["nodes"]
    ]
