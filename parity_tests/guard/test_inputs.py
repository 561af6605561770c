"""Inputs that are made from what programs say that they take."""

import types

import numpy as np
import pytest
from PIL import Image

from efficientnet_rosetta.common.errors import FileError, UsageError
from efficientnet_rosetta.common.guard.inputs import inputs_for
from efficientnet_rosetta.common.guard.program import NCHW, Input
from efficientnet_rosetta.common.images.decode import PHOTOGRAPH


def saying(*inputs, name="a program", takes=None):
    return types.SimpleNamespace(name=name, inputs=inputs or None, takes=takes)


LAST = Input("x", (None, None, None, 3), "float32")
FIRST = Input("images", (None, 3, None, None), "float32")
FIXED = Input("pixels", (1, 32, 40, 3), "uint8")
IDS = Input("ids", (None, None), "int64")
MASK = Input("mask", (None, None), "int64")


def shapes(givens):
    return [tuple(array.shape for array in given.arrays) for given in givens]


@pytest.mark.parametrize(
    ("programs", "made"),
    [
        ([saying(LAST)], [((2, 3, 64, 64),), ((1, 3, 57, 61),)]),
        ([saying(), saying(FIRST)], [((2, 3, 64, 64),), ((1, 3, 57, 61),)]),
        ([saying(FIRST), saying(Input("x", (None, 64, None, 3), "float32"))],
         [((2, 3, 64, 64),), ((1, 3, 64, 61),)]),
        ([saying(FIXED), saying(LAST)], [((1, 3, 32, 40),)] * 2),
        ([saying(Input("x", (4, 10), "float32"))], [((4, 10),)] * 2),
        ([saying(IDS, MASK)], [((2, 16),) * 2, ((1, 11),) * 2]),
        ([saying(FIRST, Input("scale", (), "float32"))],
         [((2, 3, 64, 64), ()), ((1, 3, 57, 61), ())]),
        ([saying(Input("x", (None, 5, 5, 5, None), "float32"))],
         [((2, 5, 5, 5, 16),), ((1, 5, 5, 5, 11),)]),
        ([saying(Input("x", (1, 2, 9, 7), "float32"))] * 2, [((1, 2, 9, 7),)] * 2),
        ([saying()], [((2, 3, 64, 64),), ((1, 3, 57, 61),)]),
    ],
)  # fmt: skip
def test_numbers_of_examples_and_sizes_are_those_that_all_take(programs, made):
    assert shapes(inputs_for(programs, size=64)) == made


def test_there_is_something_in_them():
    mixed = saying(FIRST, Input("bytes", (None, 8, 8, 3), "uint8"), Input("b", (None, 6), "bool"))
    images, counts, flags = inputs_for([mixed], size=32, batch=3)[0].arrays
    assert [array.dtype.name for array in (images, counts, flags)] == ["float32", "uint8", "bool"]
    photograph, ramps, noise = images
    assert np.abs(np.diff(photograph, axis=2)).mean() < np.abs(np.diff(noise, axis=2)).mean() / 3
    assert np.allclose(np.diff(ramps, 2, axis=2), 0, atol=1e-5)
    assert not np.allclose(ramps[0], ramps[0].T)
    assert (counts.min(), counts.max()) == (0, 255)
    assert (np.diff(counts[1].astype(int), axis=2) > 0).all()
    ids, mask, places, kinds = inputs_for(
        [
            saying(
                IDS,
                MASK,
                Input("position_ids", (None, None), "int32"),
                Input("token_type_ids", (None, None), "int32"),
            )
        ]
    )[0].arrays
    assert ids.dtype == np.int64
    assert set(np.unique(ids)) <= set(range(10))
    assert len(np.unique(ids)) > 5
    assert mask.tolist() == [[1] * 12 + [0] * 4, [1] * 8 + [0] * 8]
    assert places.tolist() == [list(range(16))] * 2
    assert kinds.tolist() == [[0] * 8 + [1] * 8] * 2


def test_the_same_seed_makes_the_same():
    made = [inputs_for([saying(IDS)], seed=seed)[0].arrays[0] for seed in (0, 0, 1)]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize(
    ("others", "by_name"),
    [
        ([], True),
        ([saying(MASK, IDS)], True),
        ([saying(Input("a", (None, None), "int64"), Input("b", (None, 16), "int64"))], False),
        ([saying()], False),
        ([saying(takes=("mask", "ids", "rest"))], True),
        ([saying(takes=("x", "y"))], False),
    ],
)
def test_several_inputs_are_given_by_name_where_all_programs_call_them_alike(others, by_name):
    for given in inputs_for([saying(IDS, MASK), *others]):
        assert list(given.kwargs) == (["ids", "mask"] if by_name else [])
        assert len(given.args) == (0 if by_name else 2)
        assert given.layout == NCHW


def pictures(folder, count):
    for place in range(count):
        size = (20 + place, 30)
        colour = (40 * place, 255 - 40 * place, 7)
        Image.new("RGB", size, colour).save(folder / f"{place}.png")
    return folder


def test_an_image_and_a_folder_of_them(tmp_path):
    (given,) = inputs_for([saying(LAST)], size=32, path=PHOTOGRAPH)
    assert shapes([given]) == [((1, 3, 32, 32),)]
    folder = pictures(tmp_path, 5)
    givens = inputs_for([saying(FIRST)], size=16, path=folder)
    assert shapes(givens) == [((2, 3, 16, 16),), ((2, 3, 16, 16),), ((1, 3, 16, 16),)]
    means = [image[0].mean() for given in givens for image in given.args[0]]
    assert means == sorted(set(means))
    # A program of three images at once is given the first ones again at the end.
    fixed = saying(Input("x", (3, 3, 16, 16), "float32"), MASK)
    givens = inputs_for([fixed], path=folder)
    assert shapes(givens) == [((3, 3, 16, 16), (3, 16))] * 2
    assert np.array_equal(givens[1].kwargs["x"][2], givens[0].kwargs["x"][0])
    # Those that say nothing are given three channels.
    assert shapes(inputs_for([saying()], path=PHOTOGRAPH)) == [((1, 3, 224, 224),)]


def test_arrays_of_files(tmp_path):
    one, other = np.arange(6.0).reshape(2, 3), np.arange(4).reshape(2, 2)
    np.save(tmp_path / "one.npy", one)
    np.savez(tmp_path / "named.npz", mask=other, ids=one)
    np.savez(tmp_path / "plain.npz", one, other)
    (given,) = inputs_for([saying()], path=tmp_path / "one.npy")
    assert np.array_equal(given.args[0], one)
    (given,) = inputs_for([saying(IDS, MASK)], path=tmp_path / "named.npz")
    assert not given.args
    assert np.array_equal(given.kwargs["ids"], one)
    (given,) = inputs_for([saying(IDS, MASK)], path=tmp_path / "plain.npz")
    assert np.array_equal(given.args[1], other)
    with pytest.raises(FileError, match=r"one\.npy: holds arr_0; a program takes ids and mask"):
        inputs_for([saying(IDS, MASK)], path=tmp_path / "one.npy")
    with pytest.raises(FileError, match=r"named\.npz: holds mask and ids; a program takes images"):
        inputs_for([saying(FIRST, LAST)], path=tmp_path / "named.npz")


@pytest.mark.parametrize(
    ("programs", "settings", "message"),
    [
        (
            [saying(name="f"), saying(name="g")],
            {},
            "f and g say nothing of their inputs; give these",
        ),
        (
            [saying(IDS, name="f"), saying(IDS, MASK, name="g")],
            {},
            "f takes ids, g takes ids and ma",
        ),
        (
            [saying(LAST, name="f"), saying(Input("y", (None, 1, 9, 9), "float32"), name="g")],
            {},
            r"f takes \(\?, 3, \?, \?\) as x, g takes \(\?, 1, 9, 9\) as y; give inputs that both",
        ),
        ([saying(LAST)], {"size": 90_000}, "which no memory is made for"),
        ([saying(LAST)], {"batch": 0}, "batch is 0 and size is None; they must be at least 1"),
        ([saying(IDS)], {"path": "a.png"}, "a.png: a program takes ids, of which 0 are images"),
        ([saying(LAST)], {"path": "none.png"}, "none.png: no such file"),
        ([saying(LAST)], {"path": "none.npy"}, "none.npy: no such file"),
    ],
)
def test_what_cannot_be_made_is_one_line(programs, settings, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UsageError, FileError), match=message) as caught:
        inputs_for(programs, **settings)
    assert "\n" not in str(caught.value)


def test_a_file_that_holds_no_array_is_one_line(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(FileError, match=r"text\.npy: cannot be read as an array"):
        inputs_for([saying(LAST)], path=tmp_path / "text.npy")
