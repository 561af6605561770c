"""Emoji as four vendors draw them, as folders of images: three to train on, one to validate on.

Usage: python examples/emoji.py FOLDER [--from DIR]

The drawings come from npm's packages emoji-datasource-apple, -google, -facebook and -twitter, which
`npm pack` downloads (340 MB), or which DIR already has.  Their licences differ, and two of them do
not allow every use: docs/explore/emoji.md has them.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

VERSION = "16.0.0"
# Of the archives of that version, as `npm pack` writes them.
SHA256 = {
    "apple": "b34d1665e136f163b0d4433318df151895b785186e8c729b2211b43017945075",
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "facebook": "017038cf5a4e7fcf03dd9133cbed43d4c281c4b3ce7b927c7160261b92b8821e",
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
}
HELD_OUT = "twitter"
# What can be pointed at.  Flags and symbols look the same from all vendors, and faces differ from
# one class to the next by an eyebrow.
CATEGORIES = ("Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects")
FEWEST, MOST = 16, 24  # emoji of a class
PIXELS = 64  # the side of a drawing


class UnusableError(Exception):
    """What cannot be used, and what to do about it, in one line."""


def main() -> None:
    """Write the folders that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where train/ and val/ go")
    parser.add_argument("--from", type=Path, metavar="DIR", dest="source", help="has the archives")
    given = parser.parse_args()
    try:
        print(made(given.folder, given.source))
    except (UnusableError, OSError) as error:
        parser.exit(2, f"{error}\n")


def made(folder: Path, source: Path | None) -> str:
    """Write the folders, and say in a line what there is now.

    Raises:
        UnusableError: the folder has files already, or the archives cannot be had.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UnusableError(f"{folder}: is not an empty folder; name another one")
    with tempfile.TemporaryDirectory() as temporary:
        archives = {
            vendor: checked(
                packed(vendor, Path(temporary)) if source is None else found(vendor, source), digest
            )
            for vendor, digest in SHA256.items()
        }
        counts = write(folder, archives)
    classes = len(list((folder / "val").iterdir()))
    others = [vendor for vendor in SHA256 if vendor != HELD_OUT]
    return (
        f"{sum(counts[vendor] for vendor in others)} images by {', '.join(others)} in "
        f"{folder / 'train'}, {counts[HELD_OUT]} by {HELD_OUT} in {folder / 'val'}, "
        f"in {classes} classes"
    )


# ------------------------------------------------------------------ the archives


def package(vendor: str) -> str:
    """The name of a vendor's package."""
    return f"emoji-datasource-{vendor}"


def found(vendor: str, folder: Path) -> Path:
    """The archive of a vendor in a folder.

    Raises:
        UnusableError: it is not there.
    """
    path = folder / f"{package(vendor)}-{VERSION}.tgz"
    if not path.is_file():
        raise UnusableError(
            f"{path}: there is no such file; `npm pack {package(vendor)}@{VERSION}` makes it"
        )
    return path


def packed(vendor: str, folder: Path) -> Path:
    """The archive of a vendor, after npm has put it into a folder.

    Raises:
        UnusableError: npm is not installed, or does not get it.
    """
    npm = shutil.which("npm")
    command = f"npm pack {package(vendor)}@{VERSION}"
    if npm is None:
        raise UnusableError(f"npm is not installed; run `{command}` elsewhere and say --from DIR")
    print(command, file=sys.stderr)
    done = subprocess.run(
        [npm, *command.split()[1:], "--silent"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it does not say why"]
        raise UnusableError(f"`{command}` failed ({said[-1]}); run it elsewhere and say --from DIR")
    return found(vendor, folder)


def checked(path: Path, digest: str) -> Path:
    """The archive, if it is the one that was published.

    Raises:
        UnusableError: it is another one, or only a part of it.
    """
    with path.open("rb") as file:
        computed = hashlib.file_digest(file, "sha256").hexdigest()
    if computed != digest:
        raise UnusableError(
            f"{path}: its SHA-256 is {computed[:12]}... and not {digest[:12]}...; "
            "delete it and get it again"
        )
    return path


# ------------------------------------------------------------------ the folders


def write(folder: Path, archives: Mapping[str, Path]) -> dict[str, int]:
    """Write train/class/vendor-code.png and val/class/vendor-code.png; returns images by vendor."""
    chosen = None
    counts = {}
    for vendor, path in archives.items():
        with tarfile.open(path) as archive:
            if chosen is None:  # the list is the same in all packages
                chosen = classes(json.load(_member(archive, "package/emoji.json")), archives)
            names = {name: label for label, images in chosen.items() for name in images}
            part = folder / ("val" if vendor == HELD_OUT else "train")
            counts[vendor] = 0
            for name, drawing in _drawings(archive, f"package/img/{vendor}/{PIXELS}/", names):
                target = part / names[name] / f"{vendor}-{name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                on_white(drawing).save(target)
                counts[vendor] += 1
    return counts


def classes(emoji: list[dict[str, Any]], vendors: Mapping[str, object]) -> dict[str, list[str]]:
    """The files of each class, in the order of the list: sub-categories large enough, cut to MOST.

    Only what all vendors draw themselves counts, so that each has the same emoji.
    """
    found = defaultdict(list)
    for one in sorted(emoji, key=lambda one: one["sort_order"]):
        if one["category"] in CATEGORIES and all(one[f"has_img_{name}"] for name in vendors):
            found[one["subcategory"].replace(" & ", "-and-")].append(one["image"])
    return {name: files[:MOST] for name, files in found.items() if len(files) >= FEWEST}


def on_white(drawing: Image.Image) -> Image.Image:
    """The drawing on a white page: decoders put what is transparent on black, and outlines go."""
    drawing = drawing.convert("RGBA")
    page = Image.new("RGBA", drawing.size, "white")
    return Image.alpha_composite(page, drawing).convert("RGB")


def _drawings(
    archive: tarfile.TarFile, folder: str, names: Mapping[str, str]
) -> Iterator[tuple[str, Image.Image]]:
    """Those of a folder that are named, in the archive's order: to seek back is to read again."""
    for member in archive:
        parent, _, name = member.name.rpartition("/")
        if f"{parent}/" == folder and name in names:
            with Image.open(io.BytesIO(_member(archive, member).read())) as drawing:
                yield name, drawing


def _member(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> Any:
    file = archive.extractfile(member)
    assert file is not None  # it is a file in the archive whose hash was checked
    return file


if __name__ == "__main__":
    main()
