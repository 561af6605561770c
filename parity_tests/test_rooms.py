"""The rooms of common/: imports run down, frameworks are named in registries only."""

import ast
import importlib
from pathlib import Path

import pytest

COMMON = Path(__file__).parents[1] / "common"
# A room knows those before it.  The networks are the files of common/ itself.
ROOMS = (
    *("networks", "classes", "weights", "images", "backends", "catalogue", "checkpoints"),
    *("training", "parity", "guard", "released", "cli"),
)
UTIL = "_util"  # below all of them, and above the errors and networks that it speaks of
FILES = sorted(COMMON.rglob("*.py"))
LARGEST = 470  # lines: about 450, and a few more where a cut would part what belongs together


def room_of(parts):
    """The room that a module is in, by its path below common."""
    return parts[0] if len(parts) > 1 and parts[0] in (*ROOMS, UTIL) else "networks"


def imported(path):
    """Modules of common that a file imports when it runs, as paths: not for its hints alone."""
    tree = ast.parse(path.read_text())
    hints = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    package = path.relative_to(COMMON).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in hints:
            base = package[: len(package) - node.level + 1]
            module = (*base, *(node.module or "").split(".")) if node.module else base
            for alias in node.names:
                inner = (*module, alias.name)
                is_module = (COMMON.joinpath(*inner)).with_suffix(".py").exists()
                yield inner if is_module else module


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(COMMON)))
def test_imports_run_down(path):
    mine = room_of(path.relative_to(COMMON).with_suffix("").parts)
    for module in imported(path):
        theirs = room_of(module)
        if UTIL not in (mine, theirs):
            assert ROOMS.index(theirs) <= ROOMS.index(mine), f"{mine} imports {'.'.join(module)}"
        elif mine == UTIL:
            assert theirs in (UTIL, "networks"), f"{mine} imports {'.'.join(module)}"


def test_no_imports_run_in_a_circle():
    arrows = {
        path.relative_to(COMMON).with_suffix("").parts: {
            module for module in imported(path) if module
        }
        for path in FILES
        if path.name != "__init__.py"
    }
    done, doing = set(), []

    def visit(module):
        assert module not in doing, " -> ".join(map(".".join, [*doing, module]))
        if module not in done and module in arrows:
            doing.append(module)
            for other in sorted(arrows[module]):
                visit(other)
            done.add(doing.pop())

    for module in arrows:
        visit(module)
    assert len(done) == len(arrows)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(COMMON)))
def test_frameworks_are_named_in_registries_only(path):
    registries = {
        "backends/registry.py",
        "checkpoints/formats/detect.py",
        "guard/recognise.py",
    }
    named = {
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in ("torch", "keras")
    }
    if path.relative_to(COMMON).as_posix() not in registries:
        assert not named


PACKAGES = ("common", "torch_impl", "keras_impl", "efficientnet_rosetta")
SOURCES = sorted(path for package in PACKAGES for path in (COMMON.parent / package).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(COMMON.parent)))
def test_files_are_short_and_functions_keep_their_names(path):
    source = path.read_text()
    assert len(source.splitlines()) <= LARGEST
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.level or "rosetta" in (node.module or "")):
            # A class of the specification may share its name with the layer that is built from it.
            renamed = [a.name for a in node.names if a.asname and a.name.islower()]
            assert not renamed, f"{path.name} imports {renamed} under another name"


def test_every_room_says_what_it_is_for():
    for package in ("", *(f".{room}" for room in (*ROOMS[1:], UTIL))):
        module = importlib.import_module(f"efficientnet_rosetta.common{package}")
        assert module.__doc__, package
