"""The script that counts how damaged files end: what it finds, and that it would find more."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from efficientnet_rosetta.common.errors import FileError
from parity_tests.fuzz import cases
from parity_tests.fuzz.__main__ import fuzz
from parity_tests.fuzz.cases import CHANGED, CORRECT, FAULT, HOSTILE_NAME, REFUSED, Case, Sound
from parity_tests.fuzz.samples import SAMPLES

ROOT = Path(__file__).parents[1]
pytest.importorskip("resource", reason="limits of Unix")


QUICK = [name for name, sample in SAMPLES.items() if not (sample.large or sample.framework)]


def slow(name):
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return Sound(tmp_path_factory.mktemp("sound"), QUICK)


@pytest.mark.parametrize("name", [slow(name) for name in SAMPLES])
def test_sound_files_are_correct(name, sound):
    """Or the script would count refusals of files that nobody damaged."""
    sample, path = SAMPLES[name], sound.path(name)
    assert len(sound.values[name]) > 30
    for part in sample.parts:
        content = Path(f"{path}{part}").read_bytes()
        assert content
        if sample.members and not part.endswith("00001"):
            again = sample.joined(sample.members(content))
            assert dict(sample.members(again)) == dict(sample.members(content))
    case = Case(name, path, True, "nothing", sample.known)
    assert cases.tried(sound, case) == (CORRECT, "")


@pytest.fixture
def case(sound, tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(sound.path("npz").read_bytes())
    return Case("npz", path, True, "nothing", True)


def raising(error):
    def step(*arguments, **options):
        raise error

    return step


def spinning(*arguments, **options):
    while True:
        pass


def filling(*arguments, **options):
    np.ones(cases.ROOM + 2**26, np.uint8)
    raise FileError("x.npz", "is bad")


def dying(*arguments, **options):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGABRT)


def littering(path):
    (path.parent / ".x.tmp").write_text("left")
    raise FileError(path, "is bad")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (raising(ValueError("a mistake")), "inspect: ValueError: a mistake ("),
        (raising(MemoryError()), "inspect: MemoryError"),
        (raising(SystemExit(2)), "inspect: SystemExit: 2"),
        (spinning, "takes more than 1 s"),
        (filling, " MiB for a file of "),
        (dying, "ended by SIGABRT"),
        (littering, "leaves ['.x.tmp'] behind"),
    ],
)
def test_faults_are_found(step, said, sound, case, monkeypatch):
    monkeypatch.setattr(cases, "SECONDS", 1 if step is spinning else 20)
    monkeypatch.setattr(cases, "inspect", step)
    verdict, text = cases.tried(sound, case)
    assert verdict == FAULT
    assert said in text


def test_a_message_of_two_lines_is_a_fault(sound, case, monkeypatch):
    error = FileError("x", "is bad")
    error.args = ("x: is\nbad",)
    monkeypatch.setattr(cases, "port", raising(error))
    assert cases.tried(sound, case)[0] == FAULT


def test_values_that_changed_are_a_fault_where_a_checksum_could_tell(sound, case, monkeypatch):
    right = cases.read_all
    monkeypatch.setattr(
        cases, "read_all", lambda path, graph: {**right(path), next(iter(right(path))): b"other"}
    )
    verdict, text = cases.tried(sound, case)
    assert (verdict, "in spite of its checksum" in text) == (FAULT, True)
    behind = Case(case.format, case.path, False, "behind", False)
    assert cases.tried(sound, behind) == (CHANGED, "")


def test_a_case_is_the_same_one_again(sound, tmp_path):
    for number in range(20):
        one, two = (cases.made(sound, tmp_path / f"{n}-{number}", 5, number) for n in (1, 2))
        assert (one.format, one.what, one.trusted) == (two.format, two.what, two.trusted)
        if one.format != HOSTILE_NAME and one.path.is_file():
            assert one.path.read_bytes() == two.path.read_bytes()


def test_no_damage_gets_through():
    """100 small files; `python -m parity_tests.fuzz` makes as many as one likes.

    In a process without frameworks: what a case takes is measured from what there was before it.
    """
    program = [sys.executable, "-m", "parity_tests.fuzz", "--seed", "0", "--cases", "100"]
    done = subprocess.run([*program, "--formats", *QUICK], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    head, *_, last = (line.split() for line in done.stdout.splitlines())
    assert head == ["format", "cases", CORRECT, CHANGED, REFUSED, FAULT]
    assert last[0] == "all"
    found = dict(zip(head[1:], map(int, last[1:]), strict=True))
    assert (found["cases"], found[FAULT]) == (100, 0)
    assert found[REFUSED] > 40
    assert found[CORRECT] > 5
    assert found[CHANGED] > 5


def test_what_was_damaged_is_removed(tmp_path):
    counts, faults = fuzz(0, range(3), tmp_path, QUICK)
    assert (sum(counts.values()), faults) == (3, [])
    assert not list(tmp_path.glob("case-*"))


@pytest.mark.slow
def test_no_damage_gets_through_in_thousands(tmp_path):
    assert fuzz(1, range(3000), tmp_path)[1] == []


def test_the_script_keeps_the_file_of_one_case():
    program = [sys.executable, "-m", "parity_tests.fuzz", "--seed", "3", "--case", "4"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    place = Path(done.stdout.splitlines()[0])
    assert any(place.iterdir())
    for path in sorted(place.parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    place.parent.rmdir()
