"""Checks built pages as files: links, anchors, assets, their weight, and that all is on one host.

python docs/_ext/check_site.py build/docs
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

CSS_URL = re.compile(r"url\(\s*(['\"]?)(.*?)\1\s*\)|@import\s+(['\"])(.*?)\3")
# Most of a highlighted source, and nothing that refers to anything or can be referred to.
PAINT = re.compile(r'<span class="[\w -]*">|</span>')
# A page with its style sheets and scripts, in bytes; pictures and fonts are not counted, drawings
# within the page included, nor is the index that only the page of the search asks for.
HEAVIEST = 350_000
WEIGHED = (".css", ".js")
NOT_WEIGHED = "searchindex.js"
DRAWING = re.compile(r"<svg.*?</svg>", re.DOTALL)
# Attributes with which a page loads something; of a link, the kinds that are loaded.
LOADS = {"src", "srcset", "poster", "data"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest"}


@dataclass
class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    text: str
    ids: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(PAINT.sub("", self.text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort the attributes of an element."""
        found = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        if "id" in found:
            self.ids[found["id"]] += 1
        if "style" in found:
            self.styles.append(found["style"])
        for name in LOADS & found.keys():
            values = found[name].split(",") if name == "srcset" else [found[name]]
            self.assets += [value.split()[0] for value in values if value.split()]
        for name in ("href", "xlink:href"):
            if name in found:
                kinds = set(found.get("rel", "").lower().split())
                loaded = tag in ("image", "use") or (tag == "link" and kinds & LOADED_LINKS)
                (self.assets if loaded else self.links).append(found[name])

    def handle_endtag(self, tag: str) -> None:
        """A style sheet inside the page ends."""
        if tag == "style":
            self.in_style = False

    def handle_data(self, data: str) -> None:
        """Keep style sheets inside the page."""
        if self.in_style:
            self.styles.append(data)


@dataclass
class Site:
    """A site as it was read: its files, and what stands in its pages and style sheets."""

    files: dict[str, int]  # their sizes in bytes
    pages: dict[str, Page]
    sheets: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Site:
        """Every file below a folder, under its path from there."""
        found = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        texts = {
            name: path.read_text(encoding="utf-8")
            for name, path in found.items()
            if name.endswith((".html", ".css"))
        }
        return cls(
            {name: path.stat().st_size for name, path in found.items()},
            {name: Page(text) for name, text in texts.items() if name.endswith(".html")},
            {name: text for name, text in texts.items() if name.endswith(".css")},
        )

    def wrong(self) -> list[str]:
        """Everything that is wrong with it, a line each."""
        lines = []
        for name, page in self.pages.items():
            twice = sorted(one for one, count in page.ids.items() if count > 1)
            lines += [f"{name}: the id {one!r} is there twice" for one in twice]
            links = [self._fault(name, target) for target in page.links if target != "#"]
            assets = [self._fault(name, target, loaded=True) for target in page.assets]
            styles = [fault for text in page.styles for fault in self._in_style(name, text)]
            lines += [f"{name}: {fault}" for fault in [*links, *assets, *styles] if fault]
            if (weight := self.weight(name)) > HEAVIEST:
                lines.append(f"{name}: weighs {weight:,} bytes, and may weigh {HEAVIEST:,}")
        for name, text in self.sheets.items():
            lines += [f"{name}: {fault}" for fault in self._in_style(name, text) if fault]
        return lines

    def weight(self, name: str) -> int:
        """Bytes of a page with its style sheets and scripts."""
        targets = (urlsplit(target) for target in self.pages[name].assets)
        paths = {_path(name, parts.path) for parts in targets if not parts.netloc}
        loaded = (path for path in paths if path.endswith(WEIGHED) and NOT_WEIGHED not in path)
        own = len(DRAWING.sub("", self.pages[name].text).encode())
        return own + sum(self.files.get(path, 0) for path in loaded)

    def _in_style(self, origin: str, text: str) -> list[str]:
        return [
            self._fault(origin, found[2] or found[4] or "", loaded=True)
            for found in CSS_URL.finditer(text)
        ]

    def _fault(self, origin: str, target: str, *, loaded: bool = False) -> str:
        """What is wrong with a reference, or nothing."""
        parts = urlsplit(target)
        if parts.scheme == "data":
            return ""
        if parts.scheme or parts.netloc:
            return f"loads {target} from another host" if loaded else ""
        path = origin
        if parts.path:
            path = _path(origin, parts.path)
            if path not in self.files:  # a folder, perhaps
                path = posixpath.normpath(posixpath.join(path, "index.html"))
        if path not in self.files:
            return f"{target} is not there"
        if parts.fragment and path in self.pages:
            anchors = self.pages[path].ids
            if unquote(parts.fragment) not in anchors and parts.fragment not in anchors:
                return f"{target} has no such anchor"
        return ""


def _path(origin: str, target: str) -> str:
    """What an address means that stands in a file."""
    base = "" if target.startswith("/") else posixpath.dirname(origin)
    return posixpath.normpath(posixpath.join(base, unquote(target).lstrip("/")))


def check(folder: Path) -> list[str]:
    """Everything that is wrong with the pages below a folder, a line each."""
    return Site.read(folder).wrong()


def main() -> int:
    """Check the site named on the command line."""
    site = Path(sys.argv[1])
    wrong = check(site) if (site / "index.html").is_file() else [f"{site}: no site"]
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
