"""Writes the two pictures of the README: a page of the site, and a report of a run that fails.

make docs
python docs/screenshots.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Page, sync_playwright

from efficientnet_rosetta.common.parity import report
from efficientnet_rosetta.common.parity import run as parity
from efficientnet_rosetta.common.spec import resolve

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for parity_tests, which is not installed

from parity_tests.support import wrong_epsilon  # noqa: E402

PAGE = ROOT / "build" / "docs" / "index.html"
PICTURES = ROOT / "docs" / "pictures"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]
PRESETS, WRONG, SIDE = ("b0", "b1", "b2"), "b1", 224  # the one that is run with a mistake


def main() -> None:
    """Take both pictures."""
    with sync_playwright() as playwright, TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 600})
        triptych(page)
        file = Path(folder) / "report.html"
        file.write_text(failing_report())
        page.set_viewport_size({"width": 1120, "height": 720})
        page.goto(file.as_uri())
        page.screenshot(path=PICTURES / "report.png")
        browser.close()


def triptych(page: Page) -> None:
    """The row of the first page, with a symbol lit."""
    page.goto(PAGE.as_uri())
    page.locator(".tri-paper em.con-s").first.hover()
    page.screenshot(path=PICTURES / "triptych.png")


def failing_report() -> str:
    """The page of a run in which Keras has another epsilon in one batch norm of one network."""
    settings, results = parity.Settings(), []
    for preset in PRESETS:
        with pytest.MonkeyPatch.context() as patch:
            if preset == WRONG:
                wrong_epsilon(patch)
            results.append(parity.run(resolve(preset, resolution=SIDE), settings))
    command = f"rosetta parity {' '.join(PRESETS)} --size {SIDE} --report report.html"
    return report.html(report.content(results, settings, {}, command))


if __name__ == "__main__":
    main()
