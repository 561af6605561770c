"""Checks built pages as files: links, anchors, assets, and that nothing is asked of another host.

python docs/_ext/check_site.py build/docs
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

CSS_URL = re.compile(r"url\(\s*(['\"]?)(.*?)\1\s*\)|@import\s+(['\"])(.*?)\3")
# Attributes with which a page loads something; of a link, the kinds that are loaded.
LOADS = {"src", "srcset", "poster", "data"}
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest"}


@dataclass
class Page(HTMLParser):
    """What a page refers to, and what can be referred to in it."""

    path: Path
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    assets: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort the attributes of an element."""
        found = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        if "id" in found:
            self.ids.append(found["id"])
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


def check(site: Path) -> list[str]:
    """Everything that is wrong with the pages below a folder, a line each."""
    site = site.resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    wrong: list[str] = []

    def local(origin: Path, target: str, *, loaded: bool) -> None:
        name = origin.relative_to(site)
        parts = urlsplit(target)
        if parts.scheme == "data":
            return
        if parts.scheme or parts.netloc:
            if loaded:
                wrong.append(f"{name}: loads {target} from another host")
            return
        path = origin
        if parts.path:
            base = site if parts.path.startswith("/") else origin.parent
            path = (base / unquote(parts.path).lstrip("/")).resolve()
            if path.is_dir():
                path /= "index.html"
        if not path.is_file() or not path.is_relative_to(site):
            wrong.append(f"{name}: {target} is not there")
        elif parts.fragment and path in pages:
            anchors = pages[path].ids
            if unquote(parts.fragment) not in anchors and parts.fragment not in anchors:
                wrong.append(f"{name}: {target} has no such anchor")

    def style(origin: Path, text: str) -> None:
        for match in CSS_URL.finditer(text):
            local(origin, match[2] or match[4] or "", loaded=True)

    for path, page in pages.items():
        for name in sorted({name for name in page.ids if page.ids.count(name) > 1}):
            wrong.append(f"{path.relative_to(site)}: the id {name!r} is there twice")
        for target in page.links:
            if target != "#":
                local(path, target, loaded=False)
        for target in page.assets:
            local(path, target, loaded=True)
        for text in page.styles:
            style(path, text)
    for path in sorted(site.rglob("*.css")):
        style(path, path.read_text(encoding="utf-8"))
    return wrong


def main() -> int:
    """Check the site named on the command line."""
    site = Path(sys.argv[1])
    wrong = check(site) if (site / "index.html").is_file() else [f"{site}: no site"]
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
