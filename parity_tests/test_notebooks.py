"""The notebooks of `examples/` run from the first cell to the last, and are fit for a stranger."""

import ast
import re
import sys

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient.exceptions import CellExecutionError

import notebooks as listed
from parity_tests.notebooks import ROOT, execute, kernel, pictures, printed, read

# Both files of a port are run in a process of their own, which has to import the frameworks again.
HERE = """\
from unittest.mock import patch
from efficientnet_rosetta.common.checkpoints.run_files import run_here
patch("efficientnet_rosetta.common.checkpoints.port.compare_runs", run_here).start()
"""
BEFORE = {"bring_your_checkpoint": HERE}
SHORTER = {"train_both": ("STEPS = 40", "STEPS = 3")}
# What cells print, besides what they assert themselves.
SAID = {
    "read_mbconv": {
        "block": r"(?s).*expand_ratio +6\n.*",
        "build": r"proved: .*\n.*: \d\.\de-1[345] standard deviations\n",
        "mistakes": r"(?s).*\nSAME_LOWER for SAME_UPPER\n.*",
        "broken": r"differs: add\S* is the first .*\n.*: missing operation\n",
        "mine": r"differs: \S+ \(stages\.2\.blocks\.0\.hardtanh in the second\) .*\n",
    },
    "bring_your_checkpoint": {
        "inspect": r"(?s).*: +lite0 with 1000 classes\n.*: +state_dict module\n.*",
        "port": r"(?s)247 tensors .*\nproved: the weights are the same .*\n",
        "models": r".*: \de-0[67] standard deviations\n|.*: \d\.\de-0[67] standard deviations\n",
        "words": r"PyTorch +(espresso \d\d\.\d%), cup .*\nKeras +\1, cup .*\n",
    },
    "train_both": {
        "sgd": r".*: \d\.\de-1\d\n",
        "rmsprop": r".*: (\d\.\de-1\d|0\.0e\+00) \d\.\de-0[12]\n",
    },
}
DRAWN = {
    "read_mbconv": ["values", "broken", "mine"],
    "bring_your_checkpoint": ["picture"],
    "train_both": ["data", "sgd", "rmsprop"],
}
# Modules that a first cell may install, and the packages that they are in.
NAMED = {"matplotlib": "matplotlib", "sklearn": "scikit-learn"}
NOTEBOOKS = pytest.mark.parametrize("name", listed.NAMES)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """One for all of them: most of the time goes into importing the frameworks."""
    with kernel(tmp_path_factory.mktemp("notebooks")) as manager:
        yield manager


@pytest.mark.parametrize(
    "name",
    [
        "read_mbconv",
        "train_both",
        # What it calls is run by default on other files.
        pytest.param("bring_your_checkpoint", marks=pytest.mark.slow),
    ],
)
def test_it_runs(name, python):
    notebook = read(name)
    if name in SHORTER:
        long, short = SHORTER[name]
        (cell,) = [cell for cell in notebook.cells if long in cell.source]
        cell.source = cell.source.replace(long, short)
    execute(notebook, python, BEFORE.get(name, ""))
    said = printed(notebook)
    for cell, pattern in SAID[name].items():
        assert re.fullmatch(pattern, said[cell]), said[cell]
    assert [cell for cell, drawn in pictures(notebook).items() if drawn] == DRAWN[name]


def test_a_cell_that_fails_is_noticed(python):
    notebook = read("train_both")
    notebook.cells = [nbformat.v4.new_code_cell("assert 'np' not in dir(), 'forgotten'; 1 / 0")]
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook, python)


def test_all_are_listed():
    assert sorted(path.stem for path in (ROOT / "examples").glob("*.ipynb")) == sorted(listed.NAMES)
    page = (ROOT / "docs" / "use" / "notebooks.md").read_text()
    for name in listed.NAMES:
        assert f"## {listed.title(name)}\n" in page


@NOTEBOOKS
def test_the_file_is_as_jupyter_writes_it_without_outputs(name):
    """So that a commit shows what was changed by hand, and nothing else."""
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert (listed.EXAMPLES / f"{name}.ipynb").read_text() == nbformat.writes(notebook) + "\n"


@NOTEBOOKS
def test_a_stranger_is_told_what_is_needed_and_what_is_seen(name):
    cells = read(name).cells
    assert cells[0].source.startswith("# ")
    assert "**What you need:**" in cells[0].source
    assert cells[-1].source.startswith("## What you see\n")
    for cell in cells[1:]:
        if cell.cell_type == "markdown":
            assert re.search(r"[.?]\)?$", cell.source), cell.source


@NOTEBOOKS
def test_the_first_cell_installs_this_release_where_it_is_missing(name):
    first = next(cell for cell in read(name).cells if cell.cell_type == "code").source
    assert re.findall(r"efficientnet-rosetta\[([\w,]+)\] @ (\S+)\"", first) == [
        ("torch,keras", listed.PACKAGE)
    ]
    assert 'find_spec("efficientnet_rosetta") is None:\n    %pip install' in first
    pins = set((ROOT / "constraints.txt").read_text().splitlines())
    assert set(re.findall(r"\S+==\S+", first)) <= pins


@NOTEBOOKS
def test_whatever_it_imports_is_installed(name):
    """By its first cell, or as something that the package itself needs, or by Jupyter."""
    code = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    tree = ast.parse("\n".join(TransformerManager().transform_cell(cell) for cell in code))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    packages = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    brought = {"torch", "tensorflow", "keras", "numpy", "efficientnet_rosetta", "IPython"}
    assert packages - brought == {module for module, name in NAMED.items() if name in code[0]}


@NOTEBOOKS
def test_it_opens_from_the_repository_at_this_release(name):
    place = listed.address(name).removeprefix("https://colab.research.google.com/github/")
    owner, repository, blob, version, *path = place.split("/")
    assert f"{owner}/{repository}" in listed.REPOSITORY
    assert (blob, listed.PACKAGE.rpartition("@")[2]) == ("blob", version)
    assert (ROOT / "/".join(path)).is_file()


def test_a_notebook_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="there is no notebook 'read_xception'"):
        listed.address("read_xception")
