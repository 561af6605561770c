"""Golden outputs: written by one program, and what others are held to where it is not installed."""

import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from efficientnet_rosetta.common.guard.fixture import ParityError
from efficientnet_rosetta.common.guard.golden import digest
from efficientnet_rosetta.common.guard.program import NHWC, Given

from .fixtures import fixture_of, images, means


def also_means(x):
    return (x * x).sum((2, 3)) / (x.shape[2] * x.shape[3])


def wrong(x):
    return means(x) * 1.001


@pytest.fixture
def written(tmp_path):
    """A folder whose golden outputs `mine` are those of `means`."""
    parity = fixture_of(tmp_path, update=True)
    parity(means, parity.golden("mine"), images())
    return tmp_path


def path_of(folder):
    return folder / "golden" / "mine.safetensors"


def said_by(folder, program, *inputs, **asked):
    parity = fixture_of(folder, "test_mine.py::test_theirs", **asked)
    with pytest.raises(ParityError) as raised:
        parity(program, parity.golden("mine"), *inputs)
    return str(raised.value)


def test_another_program_is_held_to_them(written):
    parity = fixture_of(written)
    (found,) = parity(also_means, parity.golden("mine"), images())
    assert found.agree
    assert found.kinds[1] == "golden outputs of means, function"
    said = said_by(written, wrong, images())
    assert said.startswith("wrong and the golden outputs mine differ: output by 7.8e-03 ")


def test_they_are_between_other_programs(written):
    parity = fixture_of(written)
    assert all(one.agree for one in parity(means, also_means, parity.golden("mine"), images()))
    with pytest.raises(ParityError, match="means and wrong differ"):
        parity(means, parity.golden("mine"), wrong, images())


def test_their_inputs_are_taken_where_the_test_has_none(written):
    parity = fixture_of(written)
    (found,) = parity(also_means, parity.golden("mine"))
    assert found.inputs == ("float32 (2, 3, 8, 8)",)


def test_rounding_was_measured_when_they_were_written(written):
    """So that what is allowed does not depend on the program that is held to them."""
    with safe_open(path_of(written), "numpy") as file:
        said = json.loads(file.metadata()["golden"])
    (inputs,) = said["inputs"]
    assert said["precision"] == "float64"
    assert 0 < inputs["moved"]["output"] < 1e-10


def test_any_reader_of_safetensors_reads_them(written):
    found = load_file(path_of(written))
    assert set(found) == {"0.inputs.0", "0.outputs.float32.output", "0.outputs.float64.output"}
    np.testing.assert_array_equal(found["0.inputs.0"], images())
    wide = means(images().astype(np.float64))
    np.testing.assert_array_equal(found["0.outputs.float64.output"], wide)


def test_the_same_outputs_make_the_same_bytes(written):
    before = path_of(written).read_bytes()
    parity = fixture_of(written, update=True)
    parity(means, parity.golden("mine"), images())
    assert path_of(written).read_bytes() == before


def test_dictionaries_and_whole_numbers(tmp_path):
    given = {"tokens": np.arange(6).reshape(2, 3), "mask": np.ones((2, 3), bool)}

    def program(tokens, mask):
        return {"mean": (tokens * 0.5 * mask).mean(1), "best": tokens.argmax(1), "mask": ~mask}

    for update in (True, False):
        parity = fixture_of(tmp_path, update=update)
        (found,) = parity(program, parity.golden("mine"), given)
        assert [one.output for one in found.outputs] == ["mean", "best", "mask"]


# ------------------------------------------------------------------ what is stale, or missing


def test_missing(tmp_path):
    said = said_by(tmp_path, means, images())
    assert "golden/mine.safetensors: there are no golden outputs here" in said
    assert said.endswith("run pytest with --parity-update where the first program is")


def test_of_other_inputs(written):
    assert "was computed from other inputs" in said_by(written, means, images(seed=1))
    assert "--parity-update" in said_by(written, means, images(side=9))


def test_of_another_version(written):
    tensors = load_file(path_of(written))
    with safe_open(path_of(written), "numpy") as file:
        metadata = file.metadata()
    save_file(tensors, path_of(written), {**metadata, "schema": "99"})
    said = said_by(written, means, images())
    assert "has golden outputs of version 99" in said
    assert "--parity-update" in said


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\x80" * 100])
def test_damaged(written, content):
    path_of(written).write_bytes(content)
    assert "--parity-update" in said_by(written, means, images())


@pytest.mark.parametrize("said", [None, "", "[]", "{}", "3"])
def test_damaged_metadata(written, said):
    with safe_open(path_of(written), "numpy") as file:
        metadata = file.metadata()
    changed = {**metadata, "golden": said} if said is not None else {"format": metadata["format"]}
    changed["schema"] = metadata["schema"]
    save_file(load_file(path_of(written)), path_of(written), changed)
    assert "--parity-update" in said_by(written, means, images())


def test_of_something_else(written):
    save_file({"weight": np.ones(3)}, path_of(written))
    assert "is no file of golden outputs" in said_by(written, means, images())


def test_a_golden_alone_is_no_comparison(written):
    parity = fixture_of(written)
    with pytest.raises(ParityError, match="golden outputs alone say nothing"):
        parity(parity.golden("mine"), parity.golden("mine"), images())


# ------------------------------------------------------------------ who writes them


def test_two_tests_cannot_both_write_one(written):
    said = said_by(written, wrong, images(), update=True)
    assert "is written by test_mine.py::test_they_agree" in said
    assert "write=False" in said


def test_one_that_does_not_write_is_held_to_them(written):
    before = path_of(written).read_bytes()
    parity = fixture_of(written, "test_mine.py::test_theirs", update=True)
    parity(also_means, parity.golden("mine", write=False), images())
    with pytest.raises(ParityError, match="differ"):
        parity(wrong, parity.golden("mine", write=False), images())
    assert path_of(written).read_bytes() == before


def test_a_program_that_says_nothing_writes_nothing(tmp_path):
    parity = fixture_of(tmp_path, update=True)
    for program in (lambda x: np.ones((2, 3)), lambda x: means(x) * np.nan):
        with pytest.raises(ParityError):
            parity(program, parity.golden("mine"), images())
    assert not path_of(tmp_path).exists()


def test_without_a_name_they_are_called_after_the_test_and_its_call(tmp_path):
    parity = fixture_of(tmp_path, "test_mine.py::TestIt::test_all[a/b c]", update=True)
    for factor in (1, 2):
        parity(lambda x, f=factor: means(x) * f, parity.golden(), images())
    second, first = sorted(path.name for path in (tmp_path / "golden").iterdir())
    assert re.fullmatch(r"test_mine\.TestIt\.test_all-a-b-c-[0-9a-f]{8}\.safetensors", first)
    assert second == first.replace(".safetensors", ".2.safetensors")
    parity = fixture_of(tmp_path, "test_mine.py::TestIt::test_all[a/b c]")
    parity(means, parity.golden(), images())
    with pytest.raises(ParityError, match="differ"):
        parity(means, parity.golden(), images())


# ------------------------------------------------------------------ digests


def test_a_digest_knows_inputs_in_any_type_and_order_of_axes():
    given = Given.of(images())
    assert digest(given) == digest(Given.of(images().astype(np.float64)))
    assert digest(given) == digest(Given.of(images().transpose(0, 2, 3, 1), NHWC))
    assert digest(given) != digest(Given.of(images().transpose(0, 2, 3, 1)))
    assert digest(given) != digest(Given.of({"x": images()}))
    assert digest(given) != digest(Given.of(np.nextafter(images(), np.float32(9))))


def test_a_digest_knows_which_input_is_which():
    one, two = images(), images(seed=1)
    assert digest(Given.of([one, two])) != digest(Given.of([two, one]))
    assert digest(Given.of({"a": one, "b": two})) == digest(Given.of({"b": two, "a": one}))
