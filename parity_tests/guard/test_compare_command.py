"""`rosetta compare`: its options, what a function keeps to, and what is said where it does not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.guard.contract import CONTRACT

from .fixtures import ROOT

MODULE = """
import numpy as np

KERNEL = np.random.default_rng(0).normal(size=(3, 5))

def means(images):
    return images.mean((2, 3)) @ KERNEL.astype(images.dtype)

def other(images):
    return 1.01 * means(images)

def last(images):
    assert images.shape[3] == 3, "channels are not last"
    return images.mean((1, 2)) @ KERNEL.astype(images.dtype)

def either(images):
    return means(np.moveaxis(images, 3, 1) if images.shape[3] == 3 else images)

def two(x, y):
    return {"sum": x + y, "product": x * y}

def swapped(y, x):
    return {"sum": y + x, "product": 1.5 * (x * y)}

def importing(images):
    import beside

    return beside.means(images)

five = 5
text = "means"

def raising(images):
    raise KeyError("weights")

def nothing(images):
    return None

def words(images):
    return "cat"

def half(images):
    return means(images[: len(images) // 2])

def turned(images):
    return means(images).T

def whole(images):
    return np.round(1000 * means(images)).astype(int)

def writing(images):
    images *= 2
    return means(images)

def guessing(images):
    return means(images) + np.random.normal()

def constant(images):
    return KERNEL

def demanding(images, mask):
    return means(images)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where the functions are, and a batch for them."""
    (tmp_path / "mine.py").write_text(MODULE)
    random = np.random.default_rng(0)
    np.save(tmp_path / "batch.npy", random.random((4, 3, 8, 6)).astype(np.float32))
    np.savez(tmp_path / "two.npz", x=random.random((2, 7)), y=random.random((2, 7)))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def compare(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def on_batch(first, second, *options):
    return compare(f"mine:{first}", f"mine:{second}", "--input", "batch.npy", *options)


def refused(done):
    assert isinstance(done.exception, RosettaError), done.output
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_the_help_says_what_a_function_keeps_to():
    said = " ".join(CliRunner().invoke(app, ["compare", "--help"]).output.split())
    assert CONTRACT in said
    for option in ("input", "layout", "seed", "atol", "tolerance", "after", "report", "json"):
        assert f"--{option} " in said


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing", "mine:missing: cannot be imported (module 'mine' has no attribute 'missing')"),
        ("five", "mine:five: builtins.int is no program"),
        ("raising", "mine:raising: KeyError: 'weights'; a function is called with"),
        ("nothing", "mine:nothing returns nothing that could be compared; a function"),
        ("words", "mine:words returned builtins.str, which is no array of numbers"),
        ("half", "outputs of the shapes (2, 5) and (4, 5), which cannot be compared"),
        ("turned", "outputs of the shapes (5, 4) and (4, 5), which cannot be compared"),
        ("demanding", "missing 1 required positional argument: 'mask'; a function is called with"),
    ],
)
def test_what_a_function_does_not_keep_to_is_said(name, says):
    line = refused(on_batch(name, "means"))
    assert says in line
    if name not in ("missing", "five"):
        assert CONTRACT in line


def test_the_line_that_failed_is_named(folder):
    line = MODULE[: MODULE.index("raise KeyError")].count("\n") + 1
    assert refused(on_batch("means", "raising")).endswith(f"(at {folder / 'mine.py'}:{line})")


def test_a_function_may_import_what_lies_beside_it(folder):
    (folder / "beside.py").write_text(MODULE)
    before = list(sys.path)
    assert on_batch("means", "importing").exit_code == 0
    assert sys.path == before
    del sys.modules["beside"]


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("import os, warnings; os.write(2, b'a library'); warnings.warn('it')", 0, ""),
        (
            "raise SystemExit(0)",
            2,
            "rosetta: mine:means: cannot be imported (mine ends Python) (at mine.py:64)",
        ),
    ],
    ids=["talking", "a script"],
)
def test_what_a_module_does_when_it_is_imported(code, status, says, folder):
    (folder / "mine.py").write_text(f"{MODULE}\n{code}\n")
    command = [sys.executable, "-m", "efficientnet_rosetta", "compare", "mine:means", "mine:means"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip().replace(f"{folder}/", "")) == (status, says)


def test_weights_that_are_no_program_are_told_from_one(folder):
    np.savez(folder / "weights.npz", kernel=np.ones((3, 3)))
    line = refused(compare("mine:means", "weights.npz"))
    assert "give the model itself as module:name" in line


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("writing", "mine:writing writes into its inputs"),
        ("guessing", "mine:guessing is random"),
        ("constant", "the output of mine:constant does not depend on its inputs"),
    ],
)
def test_of_an_unfit_function_nothing_can_be_said(name, says):
    done = on_batch(name, name)
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-1].startswith("outputs not compared: ")
    assert says in done.stdout.splitlines()[-1]


def test_whole_numbers_beside_their_numbers_are_no_agreement():
    assert on_batch("means", "whole").exit_code == 1
    assert on_batch("whole", "whole").exit_code == 0


@pytest.mark.parametrize(
    ("second", "options", "status"),
    [
        ("last", (), 0),  # it takes no other order of axes, which is tried
        ("either", (), 0),
        ("either", ("--layout", "NCHW,NHWC"), 0),
        ("last", ("--layout", "NCHW,NHWC"), 0),
        ("other", ("--tolerance", "0.1"), 0),
        ("other", ("--atol", "0.1"), 0),
        ("other", ("--atol", "0.001"), 1),
        ("other", (), 1),
    ],
)
def test_options_of_images(second, options, status):
    done = on_batch("means", second, *options)
    assert done.exit_code == status, done.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--layout", "NCWH"), "layout is 'NCWH'; choose from NCHW, NHWC"),
        (("--layout", "NHWC"), "mine:means"),
        (("--atol", "0"), "atol is 0.0; it must be above 0"),
        (("--atol", "1", "--tolerance", "0.1"), "give a tolerance or an atol, not both"),
        (("--seed", "-1"), "seed is -1; it must be at least 0"),
        (("--report", "no/page.html"), "no/page.html"),
        (("--after", "a", "b"), "mine:means cannot be run from the middle"),
    ],
)
def test_bad_options_are_one_line(options, says):
    assert says in refused(on_batch("means", "last", *options))


def test_several_inputs_by_name_and_several_outputs(folder):
    done = compare("mine:two", "mine:swapped", "--input", "two.npz", "--json", "out.json")
    assert done.exit_code == 1, done.output
    assert "sum (2x7) agrees" in done.stdout
    assert "product (2x7) DIFFERS" in done.stdout
    found = json.loads((folder / "out.json").read_text())
    assert [output["output"] for output in found["outputs"]] == ["sum", "product"]
    assert found["output"] == "product"
    assert compare("mine:two", "mine:two", "--input", "two.npz").exit_code == 0


def test_a_page_is_written(folder):
    done = on_batch("means", "other", "--report", "page.html")
    assert done.exit_code == 1
    page = (folder / "page.html").read_text()
    assert "<html" in page
    assert "mine:other" in page
    assert not re.search(r"(src|href)=\"http", page)


def test_a_module_may_hold_a_model(folder):
    (folder / "mine.py").write_text(
        "import torch\n"
        "torch.manual_seed(0)\n"
        "model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())\n"
        "def function(images):\n"
        "    with torch.no_grad():\n"
        "        return model(torch.tensor(images, dtype=torch.float32)).numpy()\n"
        "def wrong(images):\n"
        "    return 1.001 * function(images)\n"
    )
    done = on_batch("model", "function")
    assert done.exit_code == 0, done.output
    assert "mine:model: torch.nn.Module, in float64" in done.stdout
    assert "mine:function: function, in float32" in done.stdout
    assert on_batch("model", "wrong").exit_code == 1


def test_the_page_says_what_a_function_keeps_to():
    page = Path(__file__).parents[2] / "docs" / "use" / "divergence.md"
    said = " ".join(page.read_text(encoding="utf-8").replace("\n> ", " ").split())
    assert f"{CONTRACT[0].upper()}{CONTRACT[1:]}." in said
