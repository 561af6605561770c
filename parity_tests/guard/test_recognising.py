"""What kind of program an object or a name is, and functions as programs."""

import functools
import sys
import textwrap

import numpy as np
import pytest

from efficientnet_rosetta.common.errors import FileError, RosettaError, UsageError
from efficientnet_rosetta.common.guard.program import (
    FLOAT32,
    FLOAT64,
    NHWC,
    Given,
    UnfitError,
    run_widest,
)
from efficientnet_rosetta.common.guard.recognise import program_of
from efficientnet_rosetta.common.weights.canonical import save
from parity_tests.support import small, weights_of

IMAGES = np.random.default_rng(0).normal(size=(2, 3, 8, 9)).astype(np.float32)
GIVEN = Given.of(IMAGES)


@pytest.mark.parametrize(
    ("function", "precision"),
    [
        (lambda x: x.mean((2, 3)) / 3, FLOAT64),
        (lambda x: x.mean((2, 3)).astype(np.float32), FLOAT32),
        (lambda x: x.mean((2, 3), np.float32).astype(np.float64), FLOAT32),
        (lambda x: (x > 0).any((2, 3)), FLOAT64),
    ],
)
def test_a_function_runs_in_float64_if_its_digits_say_so(function, precision):
    found = run_widest(program_of(function), GIVEN)
    assert found[0] == precision
    assert found[1]["output"].shape == (2, 3)


def test_what_a_function_is_given_and_returns():
    seen = []

    def several(images, scale=1.0):
        seen.append(images.shape)
        return [images[..., 0], None, {"a": 3, "b": [1.5, 2.5]}]

    last = Given.of(IMAGES.transpose(0, 2, 3, 1), NHWC)
    found = program_of(several).run(last)
    program_of(several, layout=NHWC).run(GIVEN)
    assert seen == [(2, 3, 8, 9), (2, 8, 9, 3)]
    assert list(found) == ["output 0", "output 2.a", "output 2.b"]
    assert found["output 2.b"].tolist() == [1.5, 2.5]
    partly = program_of(functools.partial(several, scale=2))
    assert list(partly.run(GIVEN)) == list(found)
    # A trace has no whole numbers.
    assert [step.name for step in partly.trace(GIVEN)] == ["output 0", "output 2.b"]


def writing(images):
    images[:] = 0
    return images


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: "cat", RosettaError, "returned builtins.str, which is no array of numbers; a f"),
        (lambda: 1, RosettaError, "TypeError: .* takes 0 positional arguments"),
        (writing, UnfitError, "writing writes into its inputs; have it copy them first"),
    ],
)
def test_a_function_that_breaks_the_contract_is_told_it(function, error, message):
    with pytest.raises(error, match=message):
        program_of(function).run(GIVEN)


MODULE = """
    import numpy as np
    import helper

    def plain(images):
        return images.mean((2, 3)) * helper.FACTOR

    class Holder:
        model = staticmethod(plain)

    number = 3
"""


def test_a_name_of_a_module_where_the_user_stands(tmp_path, monkeypatch):
    (tmp_path / "mine_of_guard.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "helper.py").write_text("FACTOR = 2")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    for name in ("mine_of_guard:plain", "mine_of_guard:Holder.model"):
        program = program_of(name)
        assert program.name == name
        assert np.allclose(program.run(GIVEN)["output"], IMAGES.mean((2, 3)) * 2)
    assert sys.path == before
    with pytest.raises(FileError, match="mine_of_guard:none: cannot be imported"):
        program_of("mine_of_guard:none")
    with pytest.raises(RosettaError, match=r"mine_of_guard:number: builtins\.int is no program; g"):
        program_of("mine_of_guard:number")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (3, r"builtins\.int is no program; give a model of PyTorch or Keras"),
        (np.ndarray, "the class ndarray is no program"),
        ("nowhere.pth", r"nowhere\.pth: no such file"),
        ("timm/efficientnet_none", "no such file|efficientnet_none"),
    ],
)
def test_what_is_no_program_is_one_line(what, message):
    with pytest.raises(RosettaError, match=message) as caught:
        program_of(what)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_is_run_in_both_precisions_and_from_the_middle(tmp_path):
    network = small(size=32)
    save(tmp_path / "net.safetensors", network, weights_of(network))
    program = program_of(tmp_path / "net.safetensors")
    (images,) = program.inputs
    assert images.shape == (None, 3, 32, 32)
    given = Given.of(np.random.default_rng(0).normal(size=(1, 3, 32, 32)))
    precision, wide = run_widest(program, given)
    narrow = program.run(given)
    assert precision == FLOAT64
    assert (wide["logits"].dtype, narrow["logits"].dtype) == (np.float64, np.float32)
    assert 0 < np.abs(wide["logits"] - narrow["logits"]).max() < 1e-3 * wide["logits"].std()
    whole = program.trace(given, FLOAT64)
    assert np.array_equal(whole[-1].value, wide["logits"])
    ends = [step for step in whole if program.goes_on_from(step.name)]
    middle = ends[len(ends) // 2]
    again = program.trace(given, FLOAT64, {middle.name: middle.value})
    place = [step.name for step in whole].index(middle.name)
    assert [step.name for step in again] == [step.name for step in whole[place + 1 :]]
    assert np.array_equal(again[-1].value, wide["logits"])
    with pytest.raises(UsageError, match=r"cannot be run from 'stem\.nothing'; choose from stem, "):
        program.trace(given, FLOAT64, {"stem.nothing": middle.value})
    with pytest.raises(RosettaError, match=r"takes the shape \(\?, 3, \?, \?\) as images"):
        program.run(Given.of(IMAGES[:, :2]))
