"""Claims and mistakes as a whole; each claim has a file of its own."""

import json
import math
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.architectures import PRESETS
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.parity import claims
from efficientnet_rosetta.parity_tests import mutations
from efficientnet_rosetta.parity_tests.mutations import MUTATIONS, Caught, Mutation, study
from efficientnet_rosetta.parity_tests.mutations.making import other_code
from efficientnet_rosetta.torch_impl.layers import Conv
from parity_tests.claiming import caught
from parity_tests.support import LARGEST, rosetta_process

TOO_LARGE = (LARGEST, "v2-xl")  # five copies in float64, twice, are more than 16 GiB


@pytest.mark.slow
@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in TOO_LARGE])
def test_every_claim_holds_for_every_preset(preset):
    """Each in a process of its own: what is left of smaller ones leaves B8 no room in 24 GiB."""
    done = rosetta_process("parity", preset, "--size", "64", "--full")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^(\d+) of \1 claims hold", done.stdout, re.MULTILINE), done.stdout


def test_a_claim_of_no_number_does_not_hold():
    assert not claims.Claim("x", "keras", float("nan"), 1.0, "").holds


# ------------------------------------------------------------------ mistakes


def test_there_are_enough_mistakes_and_default_initialisation_hides_some():
    assert len(MUTATIONS) >= 40
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS)
    (epsilon,) = [m for m in MUTATIONS if m.name.startswith("epsilon 1e-5")]
    found = caught(epsilon)
    assert not found.seen_by_shapes
    assert not found.seen_on_default_initialisation


def raised(error):
    """What `study` makes of a mistake whose code, after some change of ours, no longer fits."""

    def no_longer_fits(*arguments):
        raise error

    apply = other_code(Conv, "__init__", no_longer_fits)
    return study(Mutation("no longer fits", "initialisation", apply, size=math.inf))


def test_a_mistake_that_merely_raises_is_not_caught():
    """Neither where a claim must catch it, nor, if shapes did not raise it, where these must."""
    found = raised(ValueError("of something else"))
    assert (found.by, found.as_stated) == ("ValueError", False)
    shapes = raised(RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x4 and 3x5)"))
    assert (shapes.by, shapes.as_stated) == ("shapes", False)
    stopping = replace(found.mutation, by="shapes")
    assert replace(shapes, mutation=stopping).as_stated
    assert not replace(found, mutation=stopping).as_stated


@pytest.mark.parametrize(
    ("by", "size", "as_stated"),
    [
        ("forward", 3.0, True),
        ("forward", 29.0, True),
        ("forward", 0.31, True),
        ("forward", 31.0, False),
        ("forward", 0.29, False),
        ("forward", math.inf, False),
        ("gradients", 3.0, False),
        ("", 0.0, False),
    ],
)
def test_a_mistake_is_caught_by_what_must_catch_it_in_the_order_of_its_size(by, size, as_stated):
    mistake = Mutation("x", "forward", lambda stack: None, size=3)
    assert Caught(mistake, by, size, False, False).as_stated is as_stated


# ------------------------------------------------------------------ the command line


def test_parity_full_prints_claims_and_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "CLAIMS", (claims.initialisation,))
    arguments = [
        "parity",
        "v2-test",
        "--size",
        "64",
        "--full",
        "--json",
        str(tmp_path / "out.json"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "2 of 2 claims hold" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())["claims"]["v2-test"]
    assert [(claim["backend"], claim["holds"]) for claim in found] == [
        ("torch", True),
        ("keras", True),
    ]


def test_parity_full_fails_where_a_claim_is_broken(monkeypatch):
    broken = claims.Claim("gradients", "keras", 1.0, 1e-10, "stem.conv.weight")
    monkeypatch.setattr(claims, "CLAIMS", (lambda network, seed: iter([broken]),))
    done = CliRunner().invoke(app, ["parity", "v2-test", "--size", "64", "--full"])
    assert done.exit_code == 1
    assert "BROKEN  stem.conv.weight" in done.stdout
    assert "0 of 1 claims hold" in done.stdout


def test_mutants_prints_a_table():
    done = CliRunner().invoke(app, ["mutants", "--claim", "initialisation"])
    assert done.exit_code == 0, done.output
    assert "5 of 5 caught" in done.stdout
    done = CliRunner().invoke(app, ["mutants", "--claim", "nothing"])
    assert "unknown claim 'nothing'; choose from forward" in str(done.exception)


def test_mutants_fails_where_something_else_catches_a_mistake(monkeypatch):
    (other, *_) = [m for m in MUTATIONS if m.claim == "initialisation"]
    moved = replace(other, by="dropping, frequency")
    monkeypatch.setattr(mutations, "MUTATIONS", (moved,))
    done = CliRunner().invoke(app, ["mutants"])
    assert done.exit_code == 1
    assert "NOT by dropping, frequency at 2e+02" in done.stdout
    assert "0 of 1 caught" in done.stdout
