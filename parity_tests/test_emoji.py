"""Folders of emoji, from small archives of the same form; and what their page says of its runs."""

import hashlib
import io
import json
import os
import re
import runpy
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
PROGRAM = runpy.run_path(str(ROOT / "examples" / "emoji.py"))
PAGE = runpy.run_path(str(ROOT / "docs" / "emoji.py"))
VENDORS = tuple(PROGRAM["SHA256"])
FEWEST, MOST = PROGRAM["FEWEST"], PROGRAM["MOST"]
# Of every sub-category: its category, how many emoji it has, and how many of them all vendors draw.
LISTED = {
    "animal-bug": ("Animals & Nature", FEWEST, FEWEST),
    "sky & weather": ("Travel & Places", MOST + 2, MOST + 1),
    "dishware": ("Food & Drink", FEWEST, FEWEST - 1),  # too few
    "arrow": ("Symbols", FEWEST, FEWEST),  # nothing that can be pointed at
}
MADE = {"animal-bug": FEWEST, "sky-and-weather": MOST}


def listed():
    """The list of emoji, the last first; what not all vendors draw is the last of its kind."""
    found = []
    for subcategory, (category, count, by_all) in LISTED.items():
        for number in range(count):
            found.append(
                {
                    "image": f"{len(found):x}-fe0f.png",
                    "category": category,
                    "subcategory": subcategory,
                    "sort_order": len(found),
                    **{f"has_img_{vendor}": True for vendor in VENDORS},
                    "has_img_facebook": number < by_all,
                }
            )
    return found[::-1]


def archive(vendor, path):
    """A vendor's archive: the list, its drawings, and a folder of others that are not taken."""

    def add(file, name, content):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))

    drawing = io.BytesIO()
    pixels = np.full((4, 4, 4), (200, VENDORS.index(vendor), 0, 255), np.uint8)
    pixels[0, 0] = 0  # transparent
    Image.fromarray(pixels).save(drawing, "PNG")
    with tarfile.open(path, "w:gz") as file:
        add(file, "package/package.json", b"{}")
        add(file, "package/emoji.json", json.dumps(listed()).encode())
        for emoji in listed():
            if emoji[f"has_img_{vendor}"]:
                for folder in (f"{vendor}/64", f"{vendor}/sheets"):
                    add(file, f"package/img/{folder}/{emoji['image']}", drawing.getvalue())
    return path


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A folder with the archives of all vendors."""
    folder = tmp_path_factory.mktemp("archives")
    for vendor in VENDORS:
        archive(vendor, folder / f"emoji-datasource-{vendor}-16.0.0.tgz")
    return folder


@pytest.fixture
def known(archives, monkeypatch):
    """Those archives are the ones that were published."""
    for vendor in VENDORS:
        content = (archives / f"emoji-datasource-{vendor}-16.0.0.tgz").read_bytes()
        monkeypatch.setitem(PROGRAM["SHA256"], vendor, hashlib.sha256(content).hexdigest())


def called(monkeypatch, *arguments):
    """Run the program: its exit status."""
    monkeypatch.setattr(sys, "argv", ["emoji.py", *map(str, arguments)])
    try:
        PROGRAM["main"]()
    except SystemExit as done:
        return done.code
    return 0


def npm(folder, monkeypatch, script):
    """A program npm, and no other on the path."""
    folder.mkdir()
    if script:
        (folder / "npm").write_text(f"#!{sys.executable}\n{script}")
        (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_three_vendors_to_train_on_and_one_to_validate_on(
    archives, known, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "emoji"
    assert called(monkeypatch, folder, "--from", archives) == 0
    images = FEWEST + MOST
    assert capsys.readouterr().out == (
        f"{3 * images} images by apple, google, facebook in {folder / 'train'}, "
        f"{images} by twitter in {folder / 'val'}, in 2 classes\n"
    )
    seen = {"train": ("apple", "google", "facebook"), "val": ("twitter",)}
    first = {"animal-bug": 0, "sky-and-weather": FEWEST}
    assert sorted(path.relative_to(folder) for path in folder.rglob("*.png")) == sorted(
        Path(part, label, f"{vendor}-{first[label] + number:x}-fe0f.png")
        for part, vendors in seen.items()
        for vendor in vendors
        for label, count in MADE.items()
        for number in range(count)
    )


def test_drawings_are_on_white(archives, known, tmp_path, monkeypatch):
    assert called(monkeypatch, tmp_path / "emoji", "--from", archives) == 0
    for path in (tmp_path / "emoji").rglob("*.png"):
        vendor = VENDORS.index(path.name.partition("-")[0])
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (4, 4))
            assert (image.getpixel((0, 0)), image.getpixel((1, 0))) == (
                (255, 255, 255),
                (200, vendor, 0),
            )


def test_npm_is_asked_for_that_version(archives, known, tmp_path, monkeypatch, capsys):
    npm(
        tmp_path / "bin",
        monkeypatch,
        "import pathlib, shutil, sys\n"
        "command, package, _ = sys.argv[1:]\n"
        "name, version = package.split('@')\n"
        f"source = pathlib.Path({str(archives)!r}, f'{{name}}-{{version}}.tgz')\n"
        "if command == 'pack': shutil.copy(source, '.')\n",
    )
    assert called(monkeypatch, tmp_path / "emoji") == 0
    found = capsys.readouterr()
    assert "npm pack emoji-datasource-apple@16.0.0\n" in found.err
    assert found.out.endswith("in 2 classes\n")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            None,
            "npm is not installed; run `npm pack emoji-datasource-apple@16.0.0` elsewhere and say "
            "--from DIR",
        ),
        (
            "import sys\nsys.exit('npm error code E1\\nnpm error: no network')",
            "`npm pack emoji-datasource-apple@16.0.0` failed (npm error: no network); run it "
            "elsewhere and say --from DIR",
        ),
        ("import sys\nsys.exit(3)", "(it does not say why)"),
        ("", "there is no such file"),  # npm makes nothing, and does not say so
    ],
)
def test_what_npm_does_not_get_is_said(tmp_path, monkeypatch, capsys, script, said):
    npm(tmp_path / "bin", monkeypatch, "pass" if script == "" else script)
    assert called(monkeypatch, tmp_path / "emoji") == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "emoji").exists()


def cut_off(path):
    """The first half of an archive is there."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (os.remove, "there is no such file; `npm pack emoji-datasource-google@16.0.0` makes it"),
        (cut_off, "; delete it and get it again"),
    ],
)
def test_an_archive_that_is_missing_or_damaged(
    archives, known, tmp_path, monkeypatch, capsys, spoil, said
):
    copy = tmp_path / "archives"
    copy.mkdir()
    for path in archives.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    spoiled = copy / "emoji-datasource-google-16.0.0.tgz"
    spoil(spoiled)
    assert called(monkeypatch, tmp_path / "emoji", "--from", copy) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{spoiled}: ")
    assert line.endswith(said)
    assert not (tmp_path / "emoji").exists()


def test_a_folder_that_is_used_is_left_alone(archives, known, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    for used in (tmp_path, tmp_path / "mine.txt"):
        assert called(monkeypatch, used, "--from", archives) == 2
        assert capsys.readouterr().err == (f"{used}: is not an empty folder; name another one\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# ------------------------------------------------------------------ the page


def test_the_page_is_what_its_results_say():
    page = (ROOT / "docs" / "explore" / "emoji.md").read_text()
    assert PAGE["filled"](page) == page
    for name in re.findall(r"\.\./pictures/(\w+\.png)", page):
        assert (ROOT / "docs" / "pictures" / name).exists(), name


def test_the_page_states_what_the_program_takes():
    page = " ".join((ROOT / "docs" / "explore" / "emoji.md").read_text().split())
    for value in (f"`{PROGRAM['VERSION']}`", f"at least {FEWEST} emoji", f"first {MOST} are"):
        assert value in page
    kept = PAGE["kept"]()
    assert kept["packages"].keys() == PROGRAM["SHA256"].keys()
    for part, vendors in (("train", set(VENDORS) - {PROGRAM["HELD_OUT"]}), ("val", ["twitter"])):
        for counts in kept["images"][part].values():
            assert counts.keys() == set(vendors)
            assert len(set(counts.values())) == 1
            assert FEWEST <= max(counts.values()) <= MOST


@pytest.mark.parametrize("backend", PAGE["BACKENDS"])
def test_fine_tuned_beats_scratch(backend):
    found, other = (
        PAGE["best"](f"{kind}-{backend}")["val_top1"] for kind in ("finetuned", "scratch")
    )
    assert found > other + 0.2
    assert found > PAGE["best"](PAGE["LONGER"])["val_top1"] + 0.2
    sizes = [sum(row.values()) for row in PAGE["kept"]()["images"]["val"].values()]
    assert other > max(sizes) / sum(sizes)  # to name the largest class always would be as good


@pytest.mark.parametrize("name", PAGE["RUNS"])
def test_what_is_confused_is_what_was_validated(name):
    """The best weights, asked again in PyTorch, name as many as the run found."""
    kept = PAGE["kept"]()
    counts = np.array(kept["confusion"][name])
    assert counts.sum(1).tolist() == [sum(row.values()) for row in kept["images"]["val"].values()]
    right = PAGE["best"](name)["val_top1"] * counts.sum()
    assert counts.trace() == pytest.approx(right, abs=2)  # rounding may turn one or two
