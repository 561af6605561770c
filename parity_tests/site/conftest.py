"""The site, built once, and a browser that opens it."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest
from playwright.sync_api import sync_playwright
from sphinx.cmd.build import build_main

from parity_tests.site.browser import DEADLINE, DESK, FLAGS, PHONE, Quiet

ROOT = Path(__file__).resolve().parents[2]


# A strict build, as `make docs` does it, without the colours that CI=true would bring.
STRICT = ("--no-color", "-q", "-E", "-W", "--keep-going", "-n", "-b", "html")


@dataclass(frozen=True)
class Built:
    """How a build ended, and what it said."""

    returncode: int
    stderr: str


def sphinx(source: Path, out: Path) -> Built:
    """Build a small site in this process, which has imported the extensions already."""
    said = io.StringIO()
    with (
        warnings.catch_warnings(),
        patch.object(sys, "path", list(sys.path)),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(said),
    ):
        # Its names that Sphinx will give up are for its authors to change.
        warnings.filterwarnings("ignore", module="myst_parser")
        code = build_main([*STRICT, str(source), str(out)])
    return Built(code, said.getvalue())


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The built pages: those that `make docs-test` has just built, or built here from a copy."""
    if "ROSETTA_SITE" in os.environ:
        return (ROOT / os.environ["ROSETTA_SITE"]).resolve()
    copy = tmp_path_factory.mktemp("site") / "room"
    left_out = shutil.ignore_patterns(".*", "build", "runs", "__pycache__", "*.egg-info", "api")
    shutil.copytree(ROOT, copy, ignore=left_out)
    command = [sys.executable, "-m", "sphinx", *STRICT, str(copy / "docs"), str(copy / "build")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy / "build"


@pytest.fixture(scope="session")
def address(site):
    """The site on a server of its own."""
    handler = functools.partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    """The browser, which must be there: these tests are asked for by name."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "needs Chromium (Debian: apt install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screen(chromium):
    """Readers' screens, each of which keeps the files that its pages have in common."""

    @functools.cache
    def opened(width, scheme, javascript):
        return chromium.new_context(
            viewport={"width": width, "height": 844 if width == PHONE else 900},
            color_scheme=scheme,
            is_mobile=width == PHONE,
            has_touch=width == PHONE,
            java_script_enabled=javascript,
            reduced_motion="reduce",
        )

    return opened


@pytest.fixture
def reader(screen, address):
    """Opens a page as a reader with a screen of some width has it; whatever goes wrong is kept.

    Nothing is remembered from one test to the next.
    """
    pages, wrong = [], []

    def asked(request):
        if not request.url.startswith((address, "data:", "file:")):
            wrong.append(f"asked for {request.url}")

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # the reader went on before it came
            wrong.append(f"failed: {request.url}")

    def open_page(path=None, width=DESK, scheme="light", javascript=True):
        page = screen(width, scheme, javascript).new_page()
        pages.append(page)
        page.set_default_timeout(DEADLINE)
        page.on("request", asked)
        page.on("console", lambda m: m.type in ("error", "warning") and wrong.append(m.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", failed)
        page.on("response", lambda r: r.status >= 400 and wrong.append(f"{r.status}: {r.url}"))
        if path is not None:
            page.goto(address + path)
        return page

    yield open_page
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
    assert wrong == []
