"""What is built and installed: one package, which lives beside any other."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .environments import ROOT, Environment, built

PACKAGE = "efficientnet_rosetta"


@pytest.fixture(scope="module")
def names(wheel):
    """Every file of the wheel but its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_one_top_level_package(names):
    assert {name.split("/")[0] for name in names} == {PACKAGE}


@pytest.mark.parametrize("part", ["common", "torch_impl", "keras_impl", "parity_tests/mutations"])
def test_the_wheel_holds_every_module(part, names):
    """None is forgotten in the list of pyproject.toml, and each has the path of its file."""
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / part).rglob("*.py")}
    assert {f"{PACKAGE}/{file}" for file in files} <= names


def test_the_wheel_holds_data_and_not_the_tests(names):
    common = f"{PACKAGE}/common"
    data = {f"{common}/images/photograph.jpg", f"{common}/parity/report.html.j2"}
    data |= {f"{common}/parity/report.css", f"{common}/parity/drawings.html.j2"}
    data |= {f"{common}/guard/report.html.j2", f"{common}/guard/index.html.j2"}
    data |= {f"{common}/classes/imagenet.tsv.gz", f"{common}/classes/LICENSE.wordnet"}
    assert data | {f"{PACKAGE}/py.typed", f"{PACKAGE}/__main__.py"} <= names
    tests = {name for name in names if name.startswith(f"{PACKAGE}/parity_tests/")}
    assert tests == {name for name in tests if "/mutations/" in name}
    assert not any("/test_" in name or "conftest" in name for name in names)


def test_the_mistakes_need_nothing_of_the_tests():
    for path in (ROOT / "parity_tests" / "mutations").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level < 2:
                assert not (node.module or "").startswith("parity_tests"), path


def test_the_sdist_holds_docs_tests_and_constraints(tmp_path):
    sdist = built("sdist", tmp_path)
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    tracked = [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]
    hidden = {name for name in tracked if name.startswith(".")}
    assert set(tracked) - hidden <= held
    assert {"constraints.txt", "docs/index.md", "parity_tests/test_spec.py"} <= held


# ------------------------------------------------------------------ beside others


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The wheel, with what comparing needs."""
    return Environment(tmp_path_factory.mktemp("environment"), wheel, "onnx")


def other_wheel(folder):
    """Another distribution, whose top-level package is called `common`."""
    path = folder / "other-1.0-py3-none-any.whl"
    files = {
        "common/__init__.py": "OTHER = True\n",
        "common/spec.py": "raise ImportError('the wrong common')\n",
        "other-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n",
        "other-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "other-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, "other-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, content)
    return path


def test_beside_another_distribution_with_a_package_called_common(environment, tmp_path):
    other = str(other_wheel(tmp_path))
    environment.pip("install", "--no-deps", "--no-index", other)
    try:
        assert environment.succeeds("--version", cwd=tmp_path) == "rosetta 0.1.0\n"
        assert "5,288,548" in environment.succeeds("table", "b0", cwd=tmp_path)
        both = f"import common, {PACKAGE}.common.spec as spec; print(common.OTHER, spec.resolve())"
        done = environment.run("-c", both, cwd=tmp_path)
        assert done.stdout.startswith("True <EfficientNet-B0"), done.stderr
    finally:
        environment.pip("uninstall", "--yes", "other")
    # Uninstalling the other leaves ours whole.
    assert "5,288,548" in environment.succeeds("table", "b0", cwd=tmp_path)
    done = environment.run("-c", "import common", cwd=tmp_path)
    assert "ModuleNotFoundError" in done.stderr


def test_in_a_project_that_has_its_own_common(environment, tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").write_text("scale = 2.0\n")
    (tmp_path / "mine.py").write_text(
        "from common import scale\n\n"
        "def a(images):\n    return images.mean((2, 3)) * scale\n\n"
        "def b(images):\n    return images.mean((2, 3)) * scale\n\n"
        "def c(images):\n    return images.mean((2, 3)) * scale + 1\n"
    )
    assert "agrees" in environment.succeeds("compare", "mine:a", "mine:b", cwd=tmp_path)
    done = environment.rosetta("compare", "mine:a", "mine:c", cwd=tmp_path)
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout
    # Started in any way, and for commands that have nothing to do with the project.
    done = environment.run("-m", PACKAGE, "compare", "mine:a", "mine:b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "5,288,548" in environment.succeeds("table", "b0", cwd=tmp_path)


def test_python_m_is_the_command(environment, tmp_path):
    done = environment.run("-m", PACKAGE, "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "rosetta 0.1.0\n")


def test_python_m_works_in_a_bare_checkout(tmp_path):
    """Where only the dependencies are installed, and not this project."""
    program = (
        f"import runpy, sys; sys.argv = ['rosetta', 'table', 'b0']; sys.path[:0] = ['{ROOT}']; "
    )
    program += "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
    program += f"runpy.run_module('{PACKAGE}', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert "5,288,548" in done.stdout, done.stderr


def test_pytest_has_the_fixture(environment, tmp_path):
    """Nobody names the plugin: it comes with the package."""
    environment.add("pytest")
    (tmp_path / "test_mine.py").write_text(
        "import numpy as np\nX = np.arange(192.0).reshape(1, 3, 8, 8)\n\n"
        "def mean(x):\n    return x.mean((2, 3))\n\n"
        "def test_same(parity):\n    parity(mean, lambda x: mean(x), X)\n\n"
        "def test_other(parity):\n    parity(mean, lambda x: 2 * mean(x), X)\n"
    )
    done = environment.run("-m", "pytest", "--strict-markers", "--parity-report=out", cwd=tmp_path)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "mean and test_other.<locals>.<lambda> differ" in done.stdout
    assert (tmp_path / "out" / "index.html").is_file()
    done = environment.run("-m", "pytest", "--markers", cwd=tmp_path)
    assert "@pytest.mark.parity(tolerance, atol, layout" in done.stdout


def test_an_import_loads_no_numpy_and_no_framework(environment, tmp_path):
    program = f"import sys, {PACKAGE} as rosetta; assert 'numpy' not in sys.modules; "
    program += "rosetta.resolve('b4', num_classes=37); assert 'numpy' not in sys.modules; "
    program += "rosetta.inspect; assert not {'torch', 'keras'} & set(sys.modules); print('fine')"
    done = environment.run("-c", program, cwd=tmp_path)
    assert done.stdout == "fine\n", done.stderr


def test_the_command_is_in_the_place_of_scripts(environment):
    assert Path(environment.python.with_name("rosetta")).exists()
