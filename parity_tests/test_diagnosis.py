"""A jump is told from a drift, and the command that is printed shows the piece again."""

import re
import shlex
from itertools import pairwise

import numpy as np
import pytest
from typer.testing import CliRunner

from efficientnet_rosetta.common.backends.align import ROUNDING
from efficientnet_rosetta.common.backends.comparison import (
    TOLERANCES,
    Comparison,
    Error,
    explained_in_float32,
)
from efficientnet_rosetta.common.cli import app
from efficientnet_rosetta.common.errors import RosettaError
from efficientnet_rosetta.common.parity.diagnosis import JUMP, growth
from parity_tests.support import BACKENDS, parity, small, wrong_epsilon


def comparison(*errors):
    found = tuple(Error(f"e{index}", error, error) for index, error in enumerate(errors))
    return Comparison("keras", TOLERANCES["float32"], found, None)


def test_a_jump_is_where_the_error_grows_the_most():
    found = growth(comparison(2e-7, 5e-7, 3e-2, 1e-1), "float32")
    assert (found.kind, found.endpoint, found.before, found.error) == ("jump", "e2", 5e-7, 3e-2)


def test_a_jump_below_the_tolerance_is_still_where_to_look():
    found = growth(comparison(2e-7, 4e-5, 9e-5, 3e-4), "float32")
    assert (found.kind, found.endpoint) == ("jump", "e1")


def test_a_drift_grows_bit_by_bit():
    found = growth(comparison(2e-7, 3e-6, 4e-5, 2e-4, 3e-4), "float32")
    assert (found.kind, found.endpoint, found.error) == ("drift", "e3", 2e-4)


def test_a_run_that_agrees_has_no_growth_to_speak_of():
    with pytest.raises(ValueError, match="keras agrees"):
        growth(comparison(2e-7, 3e-7), "float32")


def test_no_number_is_a_jump():
    found = growth(comparison(2e-7, float("inf"), float("inf")), "float32")
    assert (found.kind, found.endpoint) == ("jump", "e1")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_rounding_alone_is_far_from_a_jump(backend, dtype):
    run = parity(backend, small(size=96), dtype)
    floor = ROUNDING[dtype]
    errors = [floor, *(max(run.judged(error), floor) for error in run.errors)]
    ratios = [after / before for before, after in pairwise(errors)]
    assert max(ratios) < JUMP / 2


def test_the_operation_is_named_and_the_command_shows_it_again(monkeypatch):
    wrong_epsilon(monkeypatch)
    done = CliRunner().invoke(app, ["parity", "b0", "--size", "64"])
    assert done.exit_code == 1
    operation = "depthwise_bn (depthwise_bn in the second) is the first operation that differs"
    # What rounding explains of B0 at this size is more than of most networks, and less than this.
    assert re.search(r"of b0 \d\.\de-04, which its rounding explains", done.stdout)
    # In Keras, in the graph exported from it, and in the last line.
    assert done.stdout.count(operation) == 3
    grown = r"the error appears at once, from \S+e-0[67] to \S+e-03 at stages.5.blocks.1"
    assert re.search(grown, done.stdout)
    commands = re.findall("look closer: rosetta (.*)", done.stdout)
    assert commands == [
        "trace b0 stages.5.blocks.1 --run keras --size 64",
        "trace b0 stages.5.blocks.1 --run onnx-keras --size 64",
    ]
    for command in commands:
        again = CliRunner().invoke(app, shlex.split(command))
        assert again.exit_code == 1
        assert operation in again.stdout


def test_a_section_that_agrees_is_shown_operation_by_operation():
    arguments = ["trace", "b0", "stages.3.blocks.0", "--run", "onnx-torch", "--size", "64"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [line[0] for line in lines][:3] == ["expand_conv", "expand_bn", "silu"]
    assert len(lines) == 14
    assert all(float(line[-1]) < 1e-5 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stages.9.blocks.0", "--run", "keras"], "unknown endpoint 'stages.9.blocks.0'; choose"),
        (["reductions.1", "--run", "keras"], "unknown endpoint 'reductions.1'; choose from stem"),
        (["stem", "--run", "caffe"], "unknown run 'caffe'; choose from torch, keras, keras-tens"),
        (["stem", "--run", "keras", "--dtype", "half"], "unknown dtype 'half'"),
    ],
)
def test_what_cannot_be_traced_is_one_line(arguments, message):
    done = CliRunner().invoke(app, ["trace", "b0", *arguments])
    assert isinstance(done.exception, RosettaError)
    assert message in str(done.exception)


@pytest.mark.parametrize(("moved", "allowed"), [(1e-6, 1e-4), (1e-5, 2e-4), (1e-4, 1e-4)])
def test_float32_is_allowed_what_rounding_explains_unless_that_would_hide_mistakes(moved, allowed):
    logits = np.random.default_rng(0).normal(size=(2, 10))
    noisy = logits.copy()
    noisy[0, 0] += moved * logits.std()
    found = explained_in_float32({"logits": logits}, {"logits": noisy})
    assert found.limit == pytest.approx(allowed)
