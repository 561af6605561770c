"""A minival is held out of what there is to train on, where there is a val besides."""

import json
import struct
from collections import Counter

import pytest

import efficientnet_rosetta as rosetta
from efficientnet_rosetta.common._util.crc32c import crc32c, masked
from efficientnet_rosetta.common.backends.registry import get_backend
from efficientnet_rosetta.common.errors import FileError, UsageError
from efficientnet_rosetta.common.images.datasets import read_data, read_folder
from efficientnet_rosetta.common.training.recipes import RECIPES, get_recipe, sized
from efficientnet_rosetta.common.training.v2_recipes import MINIVAL


@pytest.fixture
def folder(tmp_path):
    """100 images of a class and 2 of another to train on, one each to validate on."""
    for split, name, count in (
        ("train", "ant", 100),
        ("train", "bee", 2),
        ("val", "ant", 1),
        ("val", "bee", 1),
    ):
        place = tmp_path / split / name
        place.mkdir(parents=True)
        for number in range(count):
            (place / f"{number:03}.png").touch()
    return tmp_path


def test_a_share_of_each_class_is_held_out(folder):
    plain, found = read_folder(folder), read_folder(folder, minival=0.05)
    assert not plain.minival
    assert found.val == plain.val
    assert Counter(sample.label for sample in found.minival) == {0: 5, 1: 1}  # one at least
    assert sorted(map(str, (*found.train, *found.minival))) == sorted(map(str, plain.train))
    assert read_folder(folder, minival=0.05) == found
    assert read_folder(folder, minival=0.05, seed=1).minival != found.minival
    alone = folder / "train" / "bee" / "001.png"
    alone.unlink()
    assert Counter(s.label for s in read_folder(folder, minival=0.05).minival) == {0: 5}


def test_what_was_held_out_of_a_folder_without_a_split_is_a_minival_already(folder):
    found = read_folder(folder / "train", 0.05, minival=0.05)
    assert len(found.val) == 6
    assert not found.minival


def shard(path, records):
    """Records without an image: what is read here is where they begin."""
    body = b"x"
    length = struct.pack("<Q", len(body))
    record = length + struct.pack("<I", masked(crc32c(length))) + body
    path.write_bytes((record + struct.pack("<I", masked(crc32c(body)))) * records)


@pytest.mark.parametrize(("shards", "held"), [(1024, 20), (50, 1), (2, 1)])
def test_the_first_shards_are_held_out(tmp_path, shards, held):
    """20 of 1,024, as the released code has it (google/automl, efficientnetv2/datasets.py)."""
    for number in range(shards):
        shard(tmp_path / f"train-{number:05}-of-{shards:05}", 2)
    shard(tmp_path / "validation-00000-of-00001", 3)
    found = read_data(tmp_path, minival=MINIVAL)
    assert (len(found.train), len(found.minival), len(found.val)) == (
        2 * (shards - held),
        2 * held,
        3,
    )
    assert {record.path.name for record in found.minival} == {
        f"train-{number:05}-of-{shards:05}" for number in range(held)
    }


def test_of_a_single_shard_some_records_are_held_out(tmp_path):
    shard(tmp_path / "train-00000-of-00001", 100)
    shard(tmp_path / "validation-00000-of-00001", 3)
    found = read_data(tmp_path, minival=MINIVAL)
    assert (len(found.train), len(found.minival)) == (98, 2)


# ------------------------------------------------------------------ a run


@pytest.fixture
def fitted(monkeypatch):
    """The trainings that were to be made."""
    plans = []

    def fit(training, weights, run, progress=False):
        plans.append(training)

    monkeypatch.setattr(get_backend("torch"), "fit", fit)
    return plans


def train(folder, out, **options):
    scaling = {"width": 0.1, "depth": 0.1, "image_size": 32, "batch": 4}
    return rosetta.train(folder, backend="torch", out=out, **{**scaling, **options})


def test_a_run_chooses_by_its_minival_and_keeps_how_large_that_is(folder, fitted, tmp_path):
    train(folder, tmp_path / "run")
    (plan,) = fitted
    assert plan.selection is plan.minival
    assert len(plan.minival.samples) == 3
    assert len(plan.val.samples) == 2
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [settings[part] for part in ("train", "minival", "val")] == [99, 3, 2]
    (folder / "train" / "bee" / "002.png").touch()
    with pytest.raises(FileError, match="has 100 images to train on and 2 to validate"):
        rosetta.train(resume=tmp_path / "run")


def test_a_recipe_without_one_chooses_by_val(folder, fitted, tmp_path):
    train(folder, tmp_path / "run", recipe="cosine")
    (plan,) = fitted
    assert plan.minival is None
    assert plan.selection is plan.val


# ------------------------------------------------------------------ recipes by size


def test_a_recipe_by_size_is_that_of_the_preset(folder, fitted, tmp_path):
    options = {"preset": "v2-s", "image_size": 96, "width": 0.1, "depth": 0.1}
    train(folder, tmp_path / "code", recipe="v2", **options)
    train(folder, tmp_path / "paper", recipe="v2-paper", **options)
    code, paper = fitted
    assert (code.recipe.name, paper.recipe.name) == ("v2-s", "v2-paper-s")
    assert json.loads((tmp_path / "code" / "run.json").read_text())["recipe"] == "v2-s"
    # A quarter of the published resolution.
    assert [code.batches(epoch).size[0] for epoch in (0, 349)] == [43, 75]
    assert [paper.batches(epoch).size[0] for epoch in (0, 349)] == [32, 75]
    assert (code.network.dialect.momentum, paper.network.dialect.momentum) == (0.9, 0.99)
    assert [phase.dropout for phase in code.phases] == [0.2] * 4
    assert [phase.dropout for phase in paper.phases] == pytest.approx([0.1, 0.5 / 3, 0.7 / 3, 0.3])


def test_a_recipe_by_size_that_a_network_does_not_have_is_one_line(folder, tmp_path):
    with pytest.raises(UsageError, match="recipe v2-paper has nothing for v2-b0; choose from v2-p"):
        train(folder, tmp_path / "run", preset="v2-b0", recipe="v2-paper")
    with pytest.raises(UsageError, match="recipe v2 differs by size; choose from v2-b0, v2-b1"):
        get_recipe("v2")
    assert sized("official", "b0") == "official"
    assert all(sized("v2", name) == name for name in RECIPES if name.count("-") == 1)
